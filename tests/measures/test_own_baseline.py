"""A person's own baseline, and whose recordings are whose."""

import numpy as np
import pandas as pd
import pytest

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.baseline import BaselineBuilder, read_neutral
from fgnet_plugin.measures.design import from_folders, from_pattern, from_table, match_names
from fgnet_plugin.measures.recordings import Recording, read_recordings


def recording(name: str, scores: list[float] | np.ndarray) -> Recording:
    rows = pd.DataFrame({"input": name, "frame": range(len(scores)), "AU12": scores})
    [read] = read_recordings(rows, rate=10)
    return read


def test_a_neutral_stretch_is_taken_off() -> None:
    read = recording("P1.mp4", np.repeat([0.2, 0.7], 20))
    builder = BaselineBuilder(neutral={"P1.mp4": [(0.0, 1.95)]})
    builder.add(read, "P1")
    made = builder.build()
    found = made.apply(read, "P1", "difference")
    assert found.scores["AU12"].tolist() == pytest.approx([0.0] * 20 + [0.5] * 20, abs=1e-6)
    assert found.present.equals(read.present)
    assert found.attrs["baseline"] == {
        "scale": "difference", "source": "median of neutral stretches", "subject": "P1", "frames": 20,
    }  # fmt: skip
    logits = made.apply(read, "P1", "logit").scores["AU12"]
    assert logits.iloc[-1] == pytest.approx(np.log(0.7 / 0.3) - np.log(0.2 / 0.8), abs=1e-5)
    assert made.apply(read, "P1", "z").scores["AU12"].isna().all()  # a neutral face that does not move has no spread


def test_a_low_quantile_is_of_all_recordings_of_a_person() -> None:
    one, other = recording("a.mp4", np.linspace(0.5, 0.9, 50)), recording("b.mp4", np.linspace(0.1, 0.5, 50))
    builder = BaselineBuilder(quantile=0.1)
    builder.add(one, "P1")
    builder.add(other, "P1")
    builder.add(recording("c.mp4", np.full(50, 0.3)), "P2")
    made = builder.build()
    both = np.concatenate([one.scores["AU12"], other.scores["AU12"]])
    assert made.centre["AU12"].to_dict() == pytest.approx({"P1": np.quantile(both, 0.1), "P2": 0.3})
    z = made.apply(one, "P1", "z").scores["AU12"]
    assert z.iloc[0] == pytest.approx((0.5 - np.quantile(both, 0.1)) / both.std(ddof=1), rel=1e-5)


def test_a_neutral_clip_without_a_face_is_named() -> None:
    builder = BaselineBuilder(neutral=read_neutral(["P1_neutral.mp4", "P1_film.mp4"], pattern="neutral"))
    with pytest.raises(InputError, match=r"the baseline of P1: P1_neutral.mp4 has no frame with a face"):
        builder.add(recording("P1_neutral.mp4", [np.nan] * 5), "P1")
    late = BaselineBuilder(neutral={"a.mp4": [(50.0, 60.0)]})
    with pytest.raises(InputError, match=r"the baseline of P1: a.mp4, 50 to 60 s has no frames"):
        late.add(recording("a.mp4", [0.1] * 5), "P1")


def test_a_subject_without_a_neutral_stretch_is_named_and_few_frames_are_said() -> None:
    builder = BaselineBuilder(neutral={"a.mp4": [(0.0, 0.3)]})
    builder.add(recording("a.mp4", [0.1] * 20), "P1")
    with pytest.warns(UserWarning, match="the baseline of P1 is made of 4 frames only"):
        made = builder.build()
    with pytest.raises(InputError, match="no baseline of the subject 'P2'"):
        made.apply(recording("b.mp4", [0.1]), "P2")
    builder = BaselineBuilder(neutral={"a.mp4": [(0.0, 5.0)]})
    builder.add(recording("b.mp4", [0.1] * 20), "P2")
    with pytest.raises(InputError, match=r"1 subject has no baseline.*a neutral stretch: P2"):
        builder.build()


def test_neutral_stretches_are_read_from_a_table() -> None:
    table = pd.DataFrame({"recording": ["P1", "P1", "P2.mp4"], "start": [0, 5, 1], "end": [2, 6, 3]})
    assert read_neutral(["x/P1.mp4", "x/P2.mp4"], table) == {"x/P1.mp4": [(0, 2), (5, 6)], "x/P2.mp4": [(1, 3)]}
    with pytest.raises(InputError, match=r"no recording is called P2.mp4"):
        read_neutral(["x/P1.mp4"], table)
    with pytest.raises(InputError, match="ends at 2 s and starts at 5 s"):
        read_neutral(["P1.mp4"], pd.DataFrame({"recording": ["P1"], "start": [5], "end": [2]}))
    with pytest.raises(InputError, match="no recording has 'calm' in its name"):
        read_neutral(["P1.mp4"], pattern="calm")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="either a quantile or neutral"):
        BaselineBuilder()
    with pytest.raises(ValueError, match="quantile must lie between 0 and 1"):
        BaselineBuilder(quantile=10)


NAMES = ["study/sad/P07.mp4", "study/happy/P07.mp4"]


def test_factors_come_from_a_pattern_from_folders_or_from_a_table() -> None:
    expected = [("P07", "sad"), ("P07", "happy")]
    pattern = from_pattern(NAMES, r"(?P<condition>\w+)/(?P<subject>P\d+)")
    folders = from_folders(NAMES, ["condition", "subject=file"])
    manifest = pd.DataFrame({"input": ["sad/P07", "happy/P07"], "subject": "P07", "condition": ["sad", "happy"], "age": [3, 4]})
    for found in (pattern, folders, from_table(NAMES, manifest)):
        assert list(found[["subject", "condition"]].itertuples(index=False, name=None)) == expected
    assert from_pattern(["d/sub-01_ses-02_task-rest_video.mp4"], "bids").to_dict("records") == [
        {"subject": "01", "condition": "rest", "session": "02"}
    ]


def test_factors_that_cannot_be_told_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 recording does not fit the pattern.*happy/P07"):
        from_pattern(NAMES, r"(?P<subject>sad)")
    with pytest.raises(InputError, match="names 'person'; what can be told is subject"):
        from_pattern(NAMES, r"(?P<person>P\d+)")
    with pytest.raises(InputError, match="not a regular expression"):
        from_pattern(NAMES, "(")
    with pytest.raises(InputError, match=r"1 recording has no row in the manifest: study/happy/P07.mp4"):
        from_table(NAMES, pd.DataFrame({"input": ["sad/P07"], "subject": ["P07"]}))
    with pytest.raises(InputError, match="has 2 rows for study/sad"):
        from_table(NAMES[:1], pd.DataFrame({"input": ["sad/P07"] * 2, "subject": ["P07", "P08"]}))
    with pytest.raises(InputError, match="needs a column recording"):
        from_table(NAMES, pd.DataFrame({"who": ["P07"], "subject": ["P07"]}))
    with pytest.raises(InputError, match="needs columns subject, group, condition or session"):
        from_table(NAMES, pd.DataFrame({"input": ["P07"], "age": [4]}))
    with pytest.raises(InputError, match="2 recordings have fewer than 4 folders"):
        from_folders(NAMES, ["group", "-", "session", "subject"])
    with pytest.warns(UserWarning, match="no recording for 1 of its rows, such as P99"):
        from_table(["P07.mp4"], pd.DataFrame({"input": ["P07", "P99"], "subject": ["P07", "P99"]}))


def test_names_are_matched_by_as_many_folders_as_they_tell() -> None:
    names = ["a.mp4", "s1/a.mp4", "C:\\data\\s2\\b.mp4", "001"]
    assert match_names(["x/s1/a.mp4", "x/s3/a.mp4", "b.mp4", "001.mp4", "c.mp4"], names) == {
        "x/s1/a.mp4": [1], "x/s3/a.mp4": [0], "b.mp4": [2], "001.mp4": [3], "c.mp4": [],
    }  # fmt: skip
