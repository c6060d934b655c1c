"""Find the videos of recordings, for what the tables do not tell: speech, sharpness, glasses. Each is told once."""

from __future__ import annotations

import warnings
from pathlib import Path, PurePath

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.quality import glasses, sharpness
from fgnet_plugin.measures.recordings import Recording
from fgnet_plugin.measures.speech import NoSoundError, speech_stretches
from fgnet_plugin.utils.arrays import Floats


class Sources:
    """The videos of recordings.

    Args:
        folder: that holds them, by their paths or names; by default they are where the tables say.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._speech: dict[str, Floats | None] = {}
        self._sharpness: dict[str, Floats] = {}
        self._glasses: dict[str, Floats] = {}

    def path(self, recording: Recording) -> Path:
        """Return the video of a recording. Raises InputError where there is none."""
        name = recording.name.replace("\\", "/")
        places = [Path(name)] if self._folder is None else [self._folder / name, self._folder / PurePath(name).name]
        for place in places:
            if place.is_file():
                return place
        raise InputError(f"{recording.name} is not {places[-1]}: name the folder of the videos with --source")

    def speech(self, recording: Recording) -> Floats | None:
        """Find the stretches with speech, [n, 2] seconds; None, with a warning, for a recording without a sound track."""
        if recording.name not in self._speech:
            try:
                self._speech[recording.name] = speech_stretches(self.path(recording))
            except NoSoundError as error:
                warnings.warn(f"{error}; none of its frames is excluded for speech", stacklevel=2)
                self._speech[recording.name] = None
        return self._speech[recording.name]

    def sharpness(self, recording: Recording) -> Floats:
        """Measure how sharp the face is in each frame; see `quality.sharpness`."""
        if recording.name not in self._sharpness:
            self._sharpness[recording.name] = sharpness(recording, self.path(recording))
        return self._sharpness[recording.name]

    def glasses(self, recording: Recording) -> Floats:
        """Score glasses in each frame; see `quality.glasses`."""
        if recording.name not in self._glasses:
            self._glasses[recording.name] = glasses(recording, self.path(recording))
        return self._glasses[recording.name]
