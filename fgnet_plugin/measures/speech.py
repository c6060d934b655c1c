"""Find where somebody talks, by Silero's voice activity detector on the sound track: talk moves the mouth's AUs."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_plugin.errors import InputError
from fgnet_plugin.media.container import av
from fgnet_plugin.media.images import check_file
from fgnet_plugin.utils.arrays import Floats

MOUTH_AUS = tuple(f"AU{number}" for number in (10, 14, 15, 16, 17, 18, *range(20, 29)))
"""AUs that talk itself moves: 10, 14 to 18 and 20 to 28. AU12 is not among them: it is seen while people talk, too."""
_RATE = 16_000  # samples a second, which the network was trained with


class NoSoundError(InputError):
    """A recording without a sound track."""


def speech_stretches(recording: str | Path, *, threshold: float = 0.5, pad: float = 0.1) -> Floats:
    """Find the stretches of a recording in which somebody talks. Who talks, it can't tell.

    Silero VAD with its own settings: speech lasts at least 0.25 s, and pauses of less than 0.1 s belong to it.

    Args:
        recording: video or sound file.
        threshold: probability of speech from which a stretch begins.
        pad: seconds that are added on both sides, as the mouth moves before the voice is heard.

    Returns:
        [n, 2] start and end in seconds on the clock of the video's frames, rising.

    Raises:
        FileNotFoundError, InputError: a file that is missing or can't be decoded; `NoSoundError` for one without a sound track.
        ModuleNotFoundError: silero-vad is not installed.

    Example:
        >>> speech_stretches("interview.mp4")  # doctest: +SKIP
        array([[ 0.4,  3.1],
               [ 5.2,  8.8]])
    """
    model = _model()
    from silero_vad import get_speech_timestamps
    from torch import from_numpy

    samples, start = read_sound(recording)
    found = get_speech_timestamps(from_numpy(samples), model, threshold=threshold, sampling_rate=_RATE, speech_pad_ms=30)
    stretches = np.array([(part["start"], part["end"]) for part in found], dtype=np.float64).reshape(-1, 2) / _RATE + start
    return stretches + np.array([-pad, pad])


def in_stretches(time: Floats, stretches: Floats) -> npt.NDArray[np.bool_]:
    """Return for each time [n] whether it is in one of the stretches [m, 2], ends included.

    Example:
        >>> in_stretches(np.array([0.0, 1.0, 2.0]), np.array([[0.5, 1.5]])).tolist()
        [False, True, False]
    """
    inside = np.zeros(len(time), dtype=bool)
    for start, end in stretches:
        inside |= (time >= start) & (time <= end)
    return inside


def read_sound(recording: str | Path) -> tuple[npt.NDArray[np.float32], float]:
    """Read a file's sound track: samples [n] in [-1, 1], mono at 16 kHz, and the time of the first in seconds.

    Raises:
        FileNotFoundError, InputError: a file that is missing or can't be decoded; `NoSoundError` for one without sound.
    """
    if av is None:
        raise InputError(f"{recording}: sound is decoded by PyAV, which is not installed; run: pip install av")
    check_file(recording, "recording")
    parts, start = [], None
    try:
        with av.open(str(Path(recording).absolute()), options={"protocol_whitelist": "file"}) as container:
            if not container.streams.audio:
                raise NoSoundError(f"{recording} has no sound track, so that speech can't be found in it")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
            for frame in container.decode(audio=0):
                start = frame.time if start is None else start
                parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
            parts += [part.to_ndarray().ravel() for part in resampler.resample(None)]
    except av.error.FFmpegError as error:
        raise InputError(f"{recording}: its sound track can't be decoded ({error})") from error
    samples = np.concatenate(parts).astype(np.float32) if parts else np.empty(0, np.float32)
    return samples, float(start or 0.0)


@cache
def _model() -> Any:
    try:
        from silero_vad import load_silero_vad
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'speech is found by silero-vad, which is not installed; run: pip install "fgnet-plugin[speech]"', name=error.name
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that TorchScript, in which the wheel brings its network, is an old format
        return load_silero_vad()
