"""Errors that name the file and say what to do."""


class CheckpointError(ValueError):
    """A checkpoint file is missing, damaged, of another kind, or does not fit the architecture."""


class DownloadError(RuntimeError):
    """Weights could not be fetched; the message says how to fetch them in a browser."""


class InputError(ValueError):
    """A picture, video, table or array that cannot be used; the message names it and says what to do."""


class OutputError(OSError):
    """A file that cannot be written; the message names it, and `errno` and `filename` are as in the system's error."""

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


class SkippedInput(UserWarning):
    """An input that is left out, or the rest of it, because it can't be read.

    Args:
        message: which and why.
        path: of the input.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path
