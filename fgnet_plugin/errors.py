"""Errors that name the file and say what to do."""


class CheckpointError(ValueError):
    """A checkpoint file is missing, damaged, of another kind, or does not fit the architecture."""


class DownloadError(RuntimeError):
    """Weights could not be fetched; the message says how to fetch them in a browser."""


class InputError(ValueError):
    """A picture, video, table or array that cannot be used; the message names it and says what to do."""
