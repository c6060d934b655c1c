"""Run FG-Net on the faces of whole frames, on any device."""
