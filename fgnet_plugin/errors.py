"""Errors that name the file and say what to do."""


class CheckpointError(ValueError):
    """A checkpoint file is missing, damaged, of another kind, or does not fit the architecture.

    Example:
        >>> from fgnet_plugin import load
        >>> try:  # doctest: +ELLIPSIS
        ...     load("study/weights.safetensors")
        ... except CheckpointError as error:
        ...     print(error)
        study/weights.safetensors: no such file, and no weights of that name (there are ...)
    """


class DownloadError(RuntimeError):
    """Weights could not be fetched; the message says how to fetch them in a browser.

    Example:
        >>> from fgnet_plugin import Detector  # doctest: +SKIP
        >>> try:  # doctest: +SKIP
        ...     detector = Detector(au_model="fgnet")
        ... except DownloadError as error:
        ...     print(error)
    """


class InputError(ValueError):
    """A picture, video, table or array that cannot be used; the message names it and says what to do.

    Example:
        >>> from pathlib import Path
        >>> from fgnet_plugin.faces import read_photo
        >>> _ = Path("photo.jpg").write_text("this is no picture")
        >>> try:
        ...     read_photo("photo.jpg")
        ... except InputError as error:
        ...     print("left out:", error)
        left out: photo.jpg is not a readable image; export it as JPEG or PNG
    """


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
