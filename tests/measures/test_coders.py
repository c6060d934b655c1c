"""Events to ELAN and BORIS and back: the same frames, and codings as people make them."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pympi import Eaf

from fgnet_plugin.cli.app import main
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.coders import is_coding, read_codings, write_codings
from fgnet_plugin.measures.coding import Coding, code_recording, frame_labels, label_recordings
from fgnet_plugin.measures.recordings import read_recordings

FORMATS = [".eaf", ".boris", ".tsv"]


def table(name: str = "a clip.mp4", rate: float = 29.97, step: int = 1, seed: int = 0) -> pd.DataFrame:
    """Scores that come and go, such as a detector's; AU04 is never present."""
    random, n = np.random.default_rng(seed), 400
    smooth = np.stack([np.convolve(random.normal(size=n), np.ones(15) / 5, "same") for _ in range(2)], 1)
    frames = np.arange(n) * step
    scores = pd.DataFrame(1 / (1 + np.exp(-3 * smooth)), columns=["AU06", "AU12"])
    return pd.DataFrame({"input": name, "frame": frames, "time": 0.021 + frames / rate}).assign(AU04=0.1).join(scores)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("rate", "step"), [(29.97, 1), (25, 1), (239.76, 1), (30, 5)])
def test_round_trip_is_equal_to_the_frame(suffix: str, rate: float, step: int, tmp_path: Path) -> None:
    [recording] = read_recordings(table(rate=rate, step=step))
    coding = code_recording(recording, min_duration=0, min_gap=0)
    expected = frame_labels(coding, recording)
    for event in coding.events.itertuples():
        assert expected[event.AU][event.first_row : event.last_row + 1].all()
    assert {au: (expected[au].diff() == 1).sum() + expected[au].iloc[0] for au in coding.aus} == {
        au: (coding.events["AU"] == au).sum() for au in coding.aus
    }
    write_codings([coding], tmp_path / f"x{suffix}")
    [back] = read_codings(tmp_path / f"x{suffix}")
    labels = frame_labels(back, recording)
    assert set(back.aus) == {"AU06", "AU12"} | ({"AU04"} if suffix != ".tsv" else set())
    for au in back.aus:
        np.testing.assert_array_equal(labels[au], expected[au])
    assert len(back.events) == len(coding.events) > 8


@pytest.mark.parametrize("suffix", [".boris", ".tsv"])
def test_several_recordings(suffix: str, tmp_path: Path) -> None:
    recordings = list(read_recordings(pd.concat([table("s1/a.mp4"), table("s2/b.mp4", seed=1)])))
    codings = [code_recording(recording) for recording in recordings]
    write_codings(codings, tmp_path / f"x{suffix}")
    labels, said = label_recordings(read_codings(tmp_path / f"x{suffix}"), recordings)
    assert said == []
    expected = pd.concat([frame_labels(coding, recording) for coding, recording in zip(codings, recordings, strict=True)])
    pd.testing.assert_frame_equal(
        labels[["input", "frame", "AU12"]], expected[["input", "frame", "AU12"]].reset_index(drop=True)
    )
    labels, said = label_recordings(read_codings(tmp_path / f"x{suffix}")[1:], recordings)
    assert labels["input"].unique().tolist() == ["s2/b.mp4"]
    assert said == ["s1/a.mp4 has no coding, and is left out"]
    with pytest.raises(InputError, match=r"an \.eaf is of one recording"):
        write_codings(codings, tmp_path / "x.eaf")
    with pytest.raises(InputError, match="none of the codings is of a recording"):
        label_recordings(read_codings(tmp_path / f"x{suffix}"), list(read_recordings(table("c.mp4"))) * 2)


def test_what_a_coder_makes_in_elan(tmp_path: Path) -> None:
    eaf = Eaf(author="a coder")
    eaf.remove_tier("default")
    for tier in ("au 12", "AU4 brow", "codes", "talk"):
        eaf.add_tier(tier)
    eaf.add_annotation("au 12", 400, 1000, "strong")
    eaf.add_annotation("codes", 0, 200, "6+L12C")
    eaf.add_annotation("codes", 300, 500, "look again")
    eaf.add_annotation("talk", 0, 1000, "well, hello")
    eaf.to_file(str(tmp_path / "x.eaf"))
    with pytest.warns(UserWarning, match="names no AU") as warned:
        [coding] = read_codings(tmp_path / "x.eaf")
    assert [re.sub(".*: ", "", str(warning.message)) for warning in warned] == [
        "1 annotation of the tier 'codes' names no AU, and is left out",
        "1 annotation of the tier 'talk' names no AU, and is left out",
    ]
    assert coding.aus == ("AU04", "AU06", "AU12")
    assert coding.events.to_numpy().tolist() == [["AU06", 0.0, 0.2], ["AU12", 0.0, 0.2], ["AU12", 0.4, 1.0]]
    [recording] = read_recordings(table(rate=25))
    labels, said = label_recordings([coding], [recording])
    assert said == ["the coding names no video, and is taken for one of a clip.mp4"]
    assert labels["AU12"].head(30).tolist() == [1.0] * 4 + [0.0] * 5 + [1.0] * 15 + [0.0] * 6
    assert not labels["AU04"].any()


def test_people_are_not_mixed(tmp_path: Path) -> None:
    eaf = Eaf()
    eaf.add_tier("AU12", part="Ann")
    eaf.add_tier("AU06", part="Bob")
    eaf.to_file(str(tmp_path / "x.eaf"))
    with pytest.raises(InputError, match=r"several participants \(Ann, Bob\)"):
        read_codings(tmp_path / "x.eaf")
    write_codings(
        [Coding("a.mp4", ("AU12",), pd.DataFrame({"AU": "AU12", "onset": [0, 2], "offset": [1, 3]}))], tmp_path / "x.tsv"
    )
    (tmp_path / "y.tsv").write_text((tmp_path / "x.tsv").read_text().replace("No focal subject", "Ann", 1))
    with pytest.raises(InputError, match=r"several subjects \(Ann, No focal subject\)"):
        read_codings(tmp_path / "y.tsv")


def test_what_a_coder_makes_in_boris(tmp_path: Path) -> None:
    """Behaviors of their own, an event of one moment, and a state without an end."""
    coding = Coding("a clip.mp4", ("AU04", "AU12"), pd.DataFrame({"AU": ["AU12"], "onset": [1.0], "offset": [2.0]}))
    write_codings([coding], tmp_path / "x.boris")
    project = json.loads((tmp_path / "x.boris").read_text())
    project["behaviors_conf"]["2"] = project["behaviors_conf"]["0"] | {"code": "AU 45", "type": "Point event"}
    project["behaviors_conf"]["3"] = project["behaviors_conf"]["0"] | {"code": "talks"}
    [events] = [observation["events"] for observation in project["observations"].values()]
    events += [[0.5, "", "AU 45", "", ""], [0.1, "", "talks", "", ""], [3.0, "", "AU12", "", "", 75], [3.5, "", "AU12", "", ""]]
    (tmp_path / "x.boris").write_text(json.dumps(project))
    with pytest.warns(UserWarning, match="behaviors that are no AUs are left out: talks"):
        [back] = read_codings(tmp_path / "x.boris")
    assert back.aus == ("AU04", "AU12", "AU45")
    assert back.events.to_numpy().tolist() == [["AU12", 1.0, 2.0], ["AU12", 3.0, 3.5], ["AU45", 0.5, 0.5]]
    [recording] = read_recordings(table(rate=25).assign(time=lambda rows: rows["frame"] / 25))
    assert np.flatnonzero(frame_labels(back, recording)["AU45"]).tolist() == [12]
    del events[-1]
    (tmp_path / "x.boris").write_text(json.dumps(project))
    with pytest.raises(InputError, match="AU12 has a start without an end"):
        read_codings(tmp_path / "x.boris")


def test_older_exports_of_boris_and_tables_of_frames(tmp_path: Path) -> None:
    """As BORIS 6 wrote it; commas for tabs, as its .csv has them."""
    header = "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s)"
    rows = [
        "o1,a clip.mp4,10,25,No focal subject,AU12,STATE,1.800,2.125,0.325",
        "o1,a clip.mp4,10,25,No focal subject,p,POINT,3,3,NA",
    ]
    (tmp_path / "x.csv").write_text("\n".join([header, *rows]))
    assert is_coding(tmp_path / "x.csv")
    with pytest.warns(UserWarning, match="left out: p"):
        [coding] = read_codings(tmp_path / "x.csv")
    assert (coding.recording, coding.aus, coding.events["offset"].tolist()) == ("a clip.mp4", ("AU12",), [2.125])
    (tmp_path / "x.csv").write_text("\n".join([header, rows[0].replace("2.125", "NA")]))
    with pytest.raises(InputError, match="line 2 has no start or no stop"):
        read_codings(tmp_path / "x.csv")
    table().to_csv(tmp_path / "frames.csv")
    assert not is_coding(tmp_path / "frames.csv")


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_are_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_codings([code_recording(next(read_recordings(table())))], path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 20], b"\x00\xff" * 50, b"<a/>", b"{}", b"[1]", b'{"behaviors_conf": 3}'):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_codings(path)


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fgnet", *map(str, arguments)])
        try:
            main()
        except SystemExit as done:
            return done.code if isinstance(done.code, int) else 0
    return 0


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A coder takes away one event; `compare` counts its frames as wrong, and no others."""
    pytest.importorskip("feat", reason="py-feat is not installed")
    monkeypatch.chdir(tmp_path)
    table().to_csv("fex.csv", index=False)
    assert run("events", "fex.csv", "--out", "x.eaf", "--min-duration", "0", "--min-gap", "0") == 0
    assert run("events", "fex.csv", "--out", "x.eaf") == 1
    assert "perhaps with a coder's work" in capsys.readouterr().err
    [coding] = read_codings("x.eaf")
    eaf = Eaf("x.eaf", suppress_version_warning=True)
    start, end, _ = max(eaf.get_annotation_data_for_tier("AU12"), key=lambda entry: entry[1] - entry[0])
    eaf.remove_annotation("AU12", (start + end) // 2)
    eaf.to_file("x.eaf")
    assert run("labels", "x.eaf", "--fex", "fex.csv") == 0
    labels = pd.read_csv("labels.csv")
    [recording] = read_recordings("fex.csv")
    gone = frame_labels(coding, recording)["AU12"].sum() - labels["AU12"].sum()
    assert gone == pytest.approx((end - start) / 1000 * 29.97, abs=0.1)
    accuracy = []
    for file, out in (("x.eaf", "elan.csv"), ("labels.csv", "table.csv")):
        assert run("compare", "fex.csv", "--labels", file, "--threshold", "0.4", "--out", out) == 0
        accuracy.append(pd.read_csv(out.replace(".csv", "-accuracy.csv")).set_index("AU"))
    pd.testing.assert_frame_equal(*accuracy)
    assert accuracy[0].loc["AU12", "n"] == 400
    assert accuracy[0].loc["AU12", "f1"] < accuracy[0].loc["AU06", "f1"] < 1
    assert run("events", "fex.csv", "--out", "folder") == 0
    assert [path.name for path in Path("folder").iterdir()] == ["a clip.eaf"]
    assert run("events", "fex.csv", "--out", "x.txt") == 1
