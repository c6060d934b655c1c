"""Images and videos, decoded to RGB."""
