"""Tables as recordings, trials, and summaries of studies that are made up so that their answers are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import feat_path

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.baseline import BaselineBuilder, read_neutral
from fgnet_plugin.measures.codebook import make_codebook
from fgnet_plugin.measures.design import from_pattern
from fgnet_plugin.measures.recordings import read_recordings, recording_names
from fgnet_plugin.measures.steps import Steps
from fgnet_plugin.measures.summary import MEASURES, summarize
from fgnet_plugin.measures.trials import read_trials


def rows(name: str, au12: object, rate: float = 10.0, **more: object) -> pd.DataFrame:
    table = pd.DataFrame({"input": name, "AU12": au12, **more})
    return table.assign(frame=range(len(table)), time=np.arange(len(table)) / rate)


def pulses(present: int, absent: int, times: int) -> np.ndarray:
    return np.tile(np.repeat([0.1, 0.9], [absent, present]), times)


def test_a_recording_becomes_a_row_with_known_answers() -> None:
    found = summarize(rows("a.mp4", np.append(pulses(5, 15, 15), 0.1), AU06=0.2)).long.set_index("AU").loc["AU12"]
    assert found["base_rate"] == pytest.approx(75 / 301)
    assert found["mean"] == pytest.approx((75 * 0.9 + 226 * 0.1) / 301)
    assert found["sd"] == pytest.approx(np.append(pulses(5, 15, 15), 0.1).std())
    assert (found["events"], found["max"], found["known_share"]) == (15, 0.9, 1)
    assert found["events_per_minute"] == pytest.approx(15 / (30.1 / 60))
    assert found["event_duration"] == pytest.approx(0.5)


def test_a_rate_that_varies_weighs_nothing() -> None:
    """Twice the frames while smiling, as a camera gives in better light."""
    time = np.concatenate([np.arange(0, 5, 0.1), np.arange(5, 10, 0.05)])
    table = pd.DataFrame({"input": "a.mp4", "frame": range(len(time)), "time": time, "AU12": np.where(time < 5, 0.0, 1.0)})
    found = summarize(table).long
    assert found["base_rate"].item() == pytest.approx(0.5)
    assert found["mean"].item() == pytest.approx(0.5)


def test_every_nth_frame_and_photos_can_be_summarised_too() -> None:
    sparse = summarize(rows("a.mp4", [0.1, 0.9, 0.9, 0.1], rate=0.5)).long
    assert sparse["base_rate"].item() == pytest.approx(0.5)
    assert sparse["seconds"].item() == pytest.approx(8)
    photos = pd.concat([pd.DataFrame({"input": f"{i}.jpg", "frame": [0], "AU12": [0.1 + 0.4 * i]}) for i in range(3)])
    found = summarize(photos).long
    assert found["base_rate"].tolist() == [0, 1, 1]
    assert found["events_per_minute"].isna().all()


def people(subjects: int, lift: float, seconds: int = 20) -> pd.DataFrame:
    """Recordings of people in two conditions; each has their own resting score, and smiles more in one of them."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(subjects):
        rest = rng.uniform(0.05, 0.3)
        for condition in ("film", "talk"):
            rate = 0.2 + lift * (condition == "talk")
            smiling = np.arange(10 * seconds) % 20 < 20 * rate
            found.append(rows(f"P{i:02}_{condition}.mp4", rest + np.where(smiling, 0.6, 0.0), AU04=0.01))
    return pd.concat(found, ignore_index=True)


PATTERN = r"(?P<subject>P\d+)_(?P<condition>\w+)\."


def test_people_times_conditions_become_that_many_rows() -> None:
    table = people(6, 0.3)
    factors = from_pattern(recording_names(table), PATTERN)
    found = summarize(table, by="person", factors=factors)
    assert found.unit == ["subject", "condition"]
    wide = found.wide()
    assert len(wide) == 12
    assert wide.groupby("condition")["AU12_base_rate"].mean().to_dict() == pytest.approx({"film": 0.2, "talk": 0.5})
    assert set(wide) == {"subject", "condition", *(f"{au}_{measure}" for au in ("AU12", "AU04") for measure in MEASURES)}


def test_pooling_two_recordings_of_a_person_is_as_one_recording() -> None:
    one, other = pulses(5, 5, 5), pulses(10, 40, 4)
    parts = pd.concat([rows("P1_a_1.mp4", one), rows("P1_a_2.mp4", other)])
    pooled = summarize(parts, by="person", factors=from_pattern(recording_names(parts), r"(?P<subject>P\d)")).long
    both = np.concatenate([one, other])
    [found] = pooled.to_dict("records")
    assert found["mean"] == pytest.approx(both.mean())
    assert found["sd"] == pytest.approx(both.std())
    assert found["base_rate"] == pytest.approx((both > 0.5).mean())
    assert found["events"] == 9


def test_a_baseline_takes_off_what_differs_between_people() -> None:
    table = people(6, 0.3)
    factors = from_pattern(recording_names(table), PATTERN)
    plain = summarize(table, factors=factors).long.query("AU == 'AU12' and condition == 'film'")
    corrected = summarize(table, factors=factors, baseline=BaselineBuilder(quantile=0.1)).long
    corrected = corrected.query("AU == 'AU12' and condition == 'film'")
    assert plain["mean"].std() > 0.05
    assert corrected["mean"].std() < 1e-6
    assert corrected["mean"].mean() == pytest.approx(0.2 * 0.6)
    assert corrected["base_rate"].tolist() == plain["base_rate"].tolist()


def test_a_neutral_clip_is_the_baseline_of_its_person() -> None:
    table = pd.concat([rows("P1_neutral.mp4", [0.3] * 20), rows("P1_film.mp4", [0.5] * 20)])
    names = recording_names(table)
    neutral = BaselineBuilder(neutral=read_neutral(names, pattern="neutral"))
    found = summarize(table, factors=from_pattern(names, r"(?P<subject>P\d)"), baseline=neutral).long
    assert found["mean"].tolist() == pytest.approx([0.0, 0.2], abs=1e-6)


def test_trials_are_rows_and_their_frames_only() -> None:
    table = rows("a.mp4", np.repeat([0.1, 0.9, 0.1], [50, 30, 20]))
    trials = read_trials(["a.mp4"], pd.DataFrame({"onset": [0, 5], "duration": 3, "trial_type": ["calm", "joy"]}))
    found = summarize(table, by="trial", trials=trials)
    assert found.long[["trial", "trial_type", "frames", "base_rate"]].to_dict("records") == [
        {"trial": 1, "trial_type": "calm", "frames": 30, "base_rate": 0.0},
        {"trial": 2, "trial_type": "joy", "frames": 30, "base_rate": 1.0},
    ]
    late = read_trials(["a.mp4"], pd.DataFrame({"start": [1, 20], "end": [2, 21]}))
    with pytest.warns(UserWarning, match=r"trial 2 \(20 to 21 s\) has no frames; the recording lasts from 0 to 9.9 s"):
        found = summarize(table, by="trial", trials=late)
    assert found.long["frames"].tolist() == [10, 0]
    assert np.isnan(found.long["base_rate"].iloc[1])


def test_trials_of_psychopy_and_of_bids_are_read(tmp_path: Path) -> None:
    log = pd.DataFrame({"participant": 7, "movie.started": [None, 3.0, 12.5], "movie.stopped": [None, 10.0, 20.0]})
    with pytest.warns(UserWarning, match="1 row without a number in the column movie.started"):
        [(name, trials)] = read_trials(["P7.mp4"], log, shift=-3).items()
    assert (name, trials["start"].tolist(), trials["end"].tolist()) == ("P7.mp4", [0, 9.5], [7, 17])
    several = log.assign(**{"text.started": 1, "text.stopped": 2})
    with pytest.raises(InputError, match=r"several routines.*--trial-start movie.started"):
        read_trials(["P7.mp4"], several)
    assert len(read_trials(["P7.mp4"], several[1:], start="movie.started", end="movie.stopped")["P7.mp4"]) == 2
    path = tmp_path / "sub-01_task-x_events.tsv"
    path.write_text("onset\tduration\ttrial_type\n5\t1\tb\n0\t2\ta\n")
    found = read_trials(["v/sub-02_task-x.mp4", "v/sub-01_task-x.mp4"], path)
    assert list(found) == ["v/sub-01_task-x.mp4"]
    assert found["v/sub-01_task-x.mp4"]["trial_type"].tolist() == ["a", "b"]


def test_bad_trials_are_refused() -> None:
    with pytest.raises(InputError, match=r"trials 1 \(0 to 6 s\) and 2 \(5 to 7 s\) overlap"):
        read_trials(["a.mp4"], pd.DataFrame({"start": [5, 0], "end": [7, 6]}))
    with pytest.raises(InputError, match="trial 1 ends at 1 s and starts at 2 s"):
        read_trials(["a.mp4"], pd.DataFrame({"start": [2], "end": [1]}))
    with pytest.raises(InputError, match="neither onset and duration"):
        read_trials(["a.mp4"], pd.DataFrame({"when": [2]}))
    with pytest.raises(InputError, match="has no column 'begin'; it has start, end"):
        read_trials(["a.mp4"], pd.DataFrame({"start": [2], "end": [3]}), start="begin", end="end")
    with pytest.raises(InputError, match="row 0 has a start, but no number in the column end"):
        read_trials(["a.mp4"], pd.DataFrame({"start": [2], "end": [None]}))
    with pytest.raises(InputError, match="does not say of which recording"):
        read_trials(["a.mp4", "b.mp4"], pd.DataFrame({"start": [2], "end": [3]}))
    with pytest.warns(UserWarning, match="1 row is of no recording"), pytest.raises(InputError, match="no trial of any"):
        read_trials(["a.mp4"], pd.DataFrame({"recording": "z", "start": [2], "end": [3]}))
    with pytest.raises(InputError, match="needs a table of trials"):
        summarize(rows("a.mp4", [0.1]), by="trial")


def test_openface_tables_are_read(tmp_path: Path) -> None:
    path = feat_path("OpenFace_Test.csv")
    [read] = read_recordings(path)
    table = pd.read_csv(path, skipinitialspace=True)
    assert read.name == "OpenFace_Test"
    assert np.allclose(read.scores["AU12"], table["AU12_r"] / 5)
    assert np.array_equal(read.present["AU12"], table["AU12_c"])
    assert read.time.tolist() == table["timestamp"].tolist()
    found = summarize(path).long.set_index("AU")
    assert found.loc["AU28", "base_rate"] == pytest.approx(table["AU28_c"].mean(), abs=0.02)
    smoothed = summarize(path, steps=Steps(smooth="median", window=0.01)).long.set_index("AU")
    assert smoothed.loc["AU12", "base_rate"] == found.loc["AU12", "base_rate"]  # OpenFace's own decision


def test_of_several_faces_the_largest_is_used_and_said() -> None:
    table = pd.DataFrame({"input": "a.mp4", "frame": [0, 0, 1], "AU12": [0.1, 0.9, 0.2], "FaceRectX": 0, "FaceRectY": 0})
    table = table.assign(FaceRectWidth=[10, 50, 50], FaceRectHeight=[10, 50, 50])
    with pytest.warns(UserWarning, match="1 row is of further faces in 1 frame; the largest"):
        [read] = read_recordings(table, rate=10)
    assert read.scores["AU12"].tolist() == [0.9, 0.2]
    assert read.further_faces == 1


def test_tables_are_read_recording_by_recording_with_names_as_they_are(tmp_path: Path) -> None:
    table = pd.concat([rows("001", [0.1] * 3, subject="007"), rows("NA", [0.2] * 3, subject="NA")])
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet", table):
        found = summarize(path).long
        assert found[["subject", "recording"]].to_numpy().tolist() == [["007", "001"], ["NA", "NA"]]


def test_a_recording_without_a_face_is_a_row_of_what_is_missing() -> None:
    found = summarize(pd.concat([rows("a.mp4", [0.9] * 5), rows("b.mp4", [np.nan] * 5)]))
    assert found.long["known_share"].tolist() == [1, 0]
    assert found.long["base_rate"].isna().tolist() == [False, True]
    assert found.exclusions["no_face"].tolist() == [0, 5, 5]


def test_bad_tables_are_refused(tmp_path: Path) -> None:
    one = rows("a.mp4", [0.1] * 4)
    with pytest.raises(InputError, match=r"a.mp4: whose recordings these are is not known"):
        summarize(one, baseline=BaselineBuilder(quantile=0.1))
    with pytest.raises(InputError, match="whose recordings these are is not known"):
        summarize(one, by="person")
    with pytest.raises(InputError, match=r"a.mp4 has no AU99; it has AU12"):
        summarize(one, aus=["AU99"])
    with pytest.raises(InputError, match=r"has no seconds.*--rate"):
        summarize(one.drop(columns="time"))
    with pytest.raises(InputError, match="has no AUs"):
        summarize(one.drop(columns="AU12"))
    with pytest.raises(InputError, match=r"the recording a.mp4 is in two places of it: sort its rows by input"):
        summarize(pd.concat([one, rows("b.mp4", [0.1]), one]))
    with pytest.raises(InputError, match=r"the recording a.mp4 is in table 1, too"):
        summarize([one, one])
    with pytest.raises(InputError, match="the column subject holds several values"):
        summarize(one.assign(subject=["a", "a", "b", "b"]))
    with pytest.raises(InputError, match=r"table 1, a.mp4: times go back at row 2"):
        summarize(one.assign(time=[0, 0.2, 0.1, 0.3]))
    with pytest.raises(InputError, match="1 frame has the time of the one before"):
        summarize(one.assign(time=[0, 0.1, 0.1, 0.3]))
    (tmp_path / "broken.csv").write_text("input,frame,time,AU12\na.mp4,0,0,lots\n")
    with pytest.raises(InputError, match=r"broken\.csv.*AU12"):
        summarize(tmp_path / "broken.csv")
    (tmp_path / "empty.csv").write_text("input,frame,time,AU12\n")
    with pytest.raises(InputError, match=r"empty\.csv has no rows"):
        summarize(tmp_path / "empty.csv")


def test_the_codebook_explains_every_column() -> None:
    table = people(2, 0.3)
    found = summarize(table, factors=from_pattern(recording_names(table), PATTERN), steps=Steps(fill=0.3))
    book = make_codebook(found)
    assert not book["meaning"].eq("").any()
    for name, of in {"long.csv": found.long, "wide.csv": found.wide(), "events.csv": found.events}.items():
        assert book.loc[book["file"] == name, "column"].tolist() == list(of)
    assert all(len(column) <= 64 and column.replace("_", "").isalnum() for column in book["column"])  # as SPSS wants names
