"""From a table of scores for each frame to numbers that a study can publish."""
