"""Version of the package, in a module of its own so that every part can record it without importing the root."""

__version__ = "0.1.0"
