"""``fgnet train evaluate``: several trainings tested within and across corpora, as tables, a figure and one HTML page."""
