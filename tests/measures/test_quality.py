"""Quality of frames, the rules that exclude some, and speech in sound tracks."""

import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from photos import feat_path
from scipy.signal import lfilter

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures import speech
from fgnet_plugin.measures.quality import Rules, exclude, flow, frame_quality, sharpness
from fgnet_plugin.measures.recordings import Recording, read_recordings
from fgnet_plugin.measures.sources import Sources
from fgnet_plugin.measures.speech import MOUTH_AUS, in_stretches, read_sound, speech_stretches

RATE = 16_000
SENTENCE = Path(__file__).parent / "files" / "spoken_sentence.wav"


def recording(**columns: object) -> Recording:
    defaults = {"input": "a.mp4", "frame": range(6), "time": np.arange(6) / 10, "AU04": 0.4, "AU12": 0.6, "AU25": 0.8}
    [read] = read_recordings(pd.DataFrame(defaults | columns))
    return read


BOXES = {"FaceRectX": [10, -20, 10, 80, 10, 10], "FaceRectY": 10, "FaceRectWidth": [40, 40, 10, 40, 40, 40]}
BOXES |= {"FaceRectHeight": BOXES["FaceRectWidth"], "FrameWidth": 100, "FrameHeight": 100}


def test_what_a_table_tells_of_a_face_is_measured() -> None:
    table = frame_quality(recording(**BOXES, Yaw=np.radians([0, 30, -60, 0, 0, 0]), FaceScore=[1, 1, 1, 1, 0.4, 1]))
    assert table["size"].tolist() == [40, 40, 10, 40, 40, 40]
    assert table["outside"].tolist() == pytest.approx([0, 0.5, 0, 0.5, 0, 0])
    assert table["yaw"].tolist() == pytest.approx([0, 30, -60, 0, 0, 0])
    assert table["face"].all()
    assert frame_quality(recording(Pitch=[0, 30, -60, 0, 0, 0]))["pitch"].tolist() == [0, 30, -60, 0, 0, 0]  # degrees already


def test_each_excluded_frame_counts_for_the_first_rule_that_it_breaks() -> None:
    absent = [0.1, 0.1, 0.1, 0.1, 0.1, np.nan]
    read = recording(**BOXES, AU04=absent, AU12=absent, AU25=absent, Yaw=np.radians([0, 0, -60, 0, 0, 0]))
    kept, counts = exclude(read, Rules(min_size=20, max_yaw=45, max_outside=0.25))
    assert counts.by_rule == {"no_face": 1, "min_size": 1, "max_yaw": 0, "max_outside": 2}
    assert counts.used == 2
    assert kept.scores["AU12"].notna().tolist() == [True, False, False, False, True, False]
    assert kept.attrs["quality"]["rules"] == "Rules(min_size=20, max_yaw=45, max_outside=0.25)"
    assert read.scores["AU12"].notna().sum() == 5  # the recording itself is as before


def test_the_flow_adds_up() -> None:
    one = exclude(recording(**BOXES), Rules(min_size=20))[1]
    other = exclude(recording(AU04=np.nan, AU12=np.nan, AU25=np.nan, FaceRectWidth=np.nan), Rules())[1]
    table = flow([one, other])
    assert table["recording"].tolist() == ["a.mp4", "a.mp4", "all"]
    assert table.loc[2, ["frames", "no_face", "min_size", "used"]].tolist() == [12, 6, 1, 5]
    assert (table["frames"] - table["no_face"] - table["min_size"]).tolist() == table["used"].tolist()
    assert table["speech"].isna().all()


def test_mouth_aus_are_unknown_while_somebody_talks() -> None:
    kept, counts = exclude(recording(), speech=np.array([[0.15, 0.35]]))
    assert kept.scores["AU25"].isna().tolist() == [False, False, True, True, False, False]
    assert kept.scores[["AU04", "AU12"]].notna().all(axis=None)
    assert (counts.used, counts.speech, counts.speech_known) == (6, 2, True)
    assert set(MOUTH_AUS) == {f"AU{n}" for n in (10, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28)}


def test_a_rule_about_what_the_table_lacks_is_refused() -> None:
    with pytest.raises(InputError, match=r"a.mp4: max_yaw can't be applied, as the table does not tell the yaw"):
        exclude(recording(), Rules(max_yaw=30))


def test_a_blurred_face_is_less_sharp(tmp_path: Path) -> None:
    from scipy.ndimage import gaussian_filter
    from skimage.data import astronaut

    sharp = astronaut()[:256, 96:352]
    frames = [sharp, gaussian_filter(sharp, (1, 1, 0)), gaussian_filter(sharp, (3, 3, 0))]
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=256, height=256, bit_rate=5_000_000)
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        file.mux(stream.encode())
    box = {"FaceRectX": 60, "FaceRectY": 40, "FaceRectWidth": 140, "FaceRectHeight": 160}
    [read] = read_recordings(pd.DataFrame({"input": str(tmp_path / "a.mp4"), "frame": range(3), "AU12": 0.5, **box}))
    found = sharpness(read)
    assert found[0] > 1.5 * found[1] > 3 * found[2]
    assert exclude(read, Rules(min_sharpness=float(found[1:].mean())), sharp=found)[1].by_rule["min_sharpness"] == 1


def vowels(seconds: float) -> np.ndarray:
    """Something that sounds as vowels do: pulses of a voice through the formants of five vowels, a syllable each 0.2 s."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time) + 10 * np.sin(2 * np.pi * 3 * time)
    voice = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0) + 0.01 * rng.normal(size=len(time))
    voice = lfilter([1], [1, -0.95], voice)
    formants = (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)
    syllables = []
    for start in range(0, len(voice), RATE // 5):
        sound = voice[start : start + RATE // 5]
        for formant, width in zip(formants[rng.integers(5)], (60, 90, 120), strict=True):
            radius = np.exp(-np.pi * width / RATE)
            sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], sound)
        syllables.append(sound / np.abs(sound).max() * np.sqrt(np.hanning(len(sound) + 2)[1:-1]))
    return 0.3 * np.concatenate(syllables)


def write_sound(path: Path, samples: np.ndarray) -> Path:
    """A file with a sound track of 48 kHz stereo, as cameras record."""
    wave = np.repeat(np.interp(np.arange(3 * len(samples)) / 3, np.arange(len(samples)), samples), 2)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=48_000, layout="stereo")
        for start in range(0, len(wave), 2048):
            part = (wave[start : start + 2048] * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, start // 2
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".wav", ".mp4"])
def test_speech_is_found_where_it_is(suffix: str, tmp_path: Path) -> None:
    quiet = np.zeros(2 * RATE)
    path = write_sound(tmp_path / f"talk{suffix}", np.concatenate([quiet, vowels(3), quiet]))
    found = speech_stretches(path, pad=0.1)
    inside = in_stretches(np.arange(0, 7, 0.1), found)
    assert inside[22:48].all()
    assert not inside[:17].any()
    assert not inside[53:].any()


def test_a_spoken_sentence_is_found_and_excludes_the_mouth(tmp_path: Path) -> None:
    """A woman reads "He was not an ill disposed young man"; its words are known to be from 0.21 to 2.74 s."""
    spoken, _ = read_sound(SENTENCE)
    hum = 0.002 * np.random.default_rng(0).normal(size=2 * RATE)
    write_sound(tmp_path / "a.mp4", np.concatenate([hum, spoken, hum, spoken, hum]))
    words = np.array([[2 + 0.21, 2 + 2.74], [4 + 2.99 + 0.21, 4 + 2.99 + 2.74]])
    found = speech_stretches(tmp_path / "a.mp4", pad=0.0)
    assert found.shape == (2, 2)
    assert np.abs(found - words).max() < 0.25

    aus = [f"AU{number:02d}" for number in (1, 2, 4, 6, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26, 28, 43)]
    table = pd.DataFrame({"input": "a.mp4", "frame": range(300), "time": np.arange(300) / 25, **dict.fromkeys(aus, 0.5)})
    [read] = read_recordings(table)
    kept, counts = exclude(read, speech=Sources(tmp_path).speech(read))
    talks, quiet = in_stretches(read.time, words), ~in_stretches(read.time, words + np.array([-0.35, 0.35]))
    unknown = [au for au in kept.scores if kept.scores.loc[talks, au].isna().mean() > 0.95]
    assert unknown == [f"AU{number}" for number in (10, 14, 15, 17, 18, 20, 23, 24, 25, 26, 28)]
    assert kept.scores[[au for au in kept.scores if au not in unknown]].notna().all(axis=None)
    assert kept.scores.loc[quiet].notna().all(axis=None)
    assert kept.attrs["quality"]["speech"] == "excluded from the mouth's AUs"
    assert counts.used == 300
    assert talks.sum() <= counts.speech < talks.sum() + 40


def test_noise_a_tone_and_silence_are_no_speech(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=2 * RATE)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    path = write_sound(tmp_path / "a.wav", np.concatenate([noise, tone, np.zeros(RATE)]))
    assert speech_stretches(path).shape == (0, 2)
    samples, start = read_sound(path)
    assert (len(samples), start) == (5 * RATE, 0.0)
    assert speech_stretches(feat_path("single_face.mp4")).shape == (0, 2)


def silent_video(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=64, height=64)
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())
    return path


def test_without_sound_it_is_said_and_nothing_is_excluded(tmp_path: Path) -> None:
    silent_video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4 has no sound track, so that speech can't be found"):
        speech_stretches(tmp_path / "a.mp4")
    with pytest.warns(UserWarning, match="no sound track.*none of its frames is excluded for speech"):
        assert Sources(tmp_path).speech(recording()) is None
    with pytest.raises(InputError, match="name the folder of the videos with --source"):
        Sources().speech(recording())


def test_without_silero_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    speech._model.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fgnet-plugin\[speech\]"'):
        speech_stretches(write_sound(tmp_path / "a.wav", np.zeros(RATE)))
