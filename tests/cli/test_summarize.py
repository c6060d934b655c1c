"""``fgnet summarize``: a study of 40 people in two conditions, from tables of frames to a row for each."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fgnet_plugin.cli.app import main
from fgnet_plugin.scale.reading import provenance
from fgnet_plugin.version import __version__

Fgnet = Callable[..., tuple[int, str, str]]
PATTERN = r"P(?P<subject>\d+)_(?P<condition>\w+)\."


@pytest.fixture
def fgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fgnet:
    """The command in this process and a folder of the test's own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fgnet", "summarize", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
        return code, *capsys.readouterr()

    return run


def write_study(path: Path, people: int = 40, seconds: int = 12) -> None:
    """People of different resting scores, who smile 30 % more of the time in one condition; some frames have no face."""
    rng = np.random.default_rng(0)
    tables = []
    for i in range(people):
        rest, own = rng.uniform(0.05, 0.3), rng.normal(0, 0.05)
        for condition, rate in (("alone", 0.2), ("together", 0.5)):
            smiling = np.arange(25 * seconds) % 50 < 50 * (rate + own)
            table = pd.DataFrame({"input": f"clips/P{i:02}_{condition}.mp4", "frame": range(25 * seconds)})
            table["time"] = table["frame"] / 25
            table["AU12"] = np.clip(rest + 0.6 * smiling + rng.normal(0, 0.02, len(table)), 0, 1)
            table["AU04"] = rest / 10
            table["FaceRectX"], table["FaceRectY"] = 50, 50
            table["FaceRectWidth"] = table["FaceRectHeight"] = np.where(table["frame"] < 5, 20, 100)
            table.loc[table["frame"] >= 25 * seconds - 3, ["AU12", "AU04"]] = np.nan
            tables.append(table)
    pd.concat(tables).to_csv(path, index=False)


def test_a_study_of_40_people_in_two_conditions(fgnet: Fgnet, tmp_path: Path) -> None:
    write_study(tmp_path / "fex.csv")
    code, out, error = fgnet(
        *("fex.csv", "--by", "person", "--pattern", PATTERN, "--baseline", "quantile:0.1", "--min-size", 50),
        *("--smooth", "median:0.2", "--fill", 0.1, "--out", "results"),
    )
    assert (code, error) == (0, "")
    assert "80 recordings, 24000 frames\n  240 frames excluded: no_face\n  400 frames excluded: min_size\n" in out
    assert "80 rows of subject, condition" in out
    wide = pd.read_csv("results/wide.csv", dtype={"subject": str})
    assert wide["subject"].iloc[0] == "00"
    paired = wide.pivot(index="subject", columns="condition", values="AU12_base_rate")
    lift = (paired["together"] - paired["alone"]).mean()
    assert lift == pytest.approx(0.3, abs=0.02)
    flow = pd.read_csv("results/exclusions.csv")
    assert flow.iloc[-1][["frames", "no_face", "min_size", "used"]].tolist() == [24000, 240, 400, 23360]
    long = pd.read_csv("results/long.csv")
    assert len(long) == 80 * 2
    book = pd.read_csv("results/codebook.csv")
    assert set(wide) == set(book.loc[book["file"] == "wide.csv", "column"])
    settings = json.loads(Path("results/settings.json").read_text())
    assert (settings["baseline"], settings["min_size"], settings["by"]) == ("quantile:0.1", 50, "person")
    assert len(pd.read_csv("results/events.csv")) == long["events"].sum()

    made = provenance("results/wide.csv")
    assert made["versions"] == {"fgnet-plugin": __version__}
    assert made["settings"]["summary"] == str(Path("results/settings.json"))
    assert (made["settings"]["baseline"], made["settings"]["tables"]) == ("quantile:0.1", ["fex.csv"])
    assert made["unknown"] == [
        "what made the scores that fgnet summarize read: fgnet provenance tells it of each of its tables (fex.csv)"
    ]
    Path("results/other.csv").write_text("AU12\n0.5\n")
    assert "other.csv.run" in provenance("results/other.csv")["unknown"][0]

    code, _, error = fgnet("fex.csv", "--out", "results")
    assert code == 1
    assert "results holds a summary already; --overwrite replaces it" in error


def test_trials_a_manifest_and_folders(fgnet: Fgnet, tmp_path: Path) -> None:
    write_study(tmp_path / "fex.csv", people=2)
    pd.DataFrame({"recording": ["P00", "P01"], "start": 0, "end": 5}).to_csv("trials.csv", index=False)
    code, _, error = fgnet("fex.csv", "--by", "trial", "--trials", "trials.csv", "--out", "none")
    assert code == 1
    assert "2 rows are of no recording" in error
    names = [f"P{i:02}_{condition}" for i in range(2) for condition in ("alone", "together")]
    pd.DataFrame({"recording": names, "start": 0, "end": 5}).to_csv("trials.csv", index=False)
    pd.DataFrame({"file": names, "subject": ["007", "007", "NA", "NA"]}).to_csv("people.csv", index=False)
    code, _, error = fgnet(
        *("fex.csv", "--by", "trial", "--trials", "trials.csv", "--manifest", "people.csv", "--folders", "session"),
        *("--aus", "AU12", "--out", "trials"),
    )
    assert (code, error) == (0, "")
    wide = pd.read_csv("trials/wide.csv", dtype=str, keep_default_na=False)
    assert wide[["subject", "session", "trial"]].to_numpy().tolist() == [
        ["007", "clips", "1"], ["007", "clips", "1"], ["NA", "clips", "1"], ["NA", "clips", "1"],
    ]  # fmt: skip
    assert set(wide["AU12_frames"]) == {"125"}
    assert "AU04_mean" not in wide


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "person"], "whose recordings these are is not known"),
        (["--baseline", "low"], "there is no file low"),
        (["--baseline", "quantile:x"], "--baseline needs a number after the colon, not 'x'"),
        (["--aus", "AU99"], "has no AU99; it has AU04, AU12"),
        (["--max-yaw", 20], "max_yaw can't be applied"),
        (["--smooth", "mean"], "method must be one of median, savgol, loess"),
        (["--pattern", PATTERN, "--folders", "subject"], "subject is told twice"),
        (["--speech"], "name the folder of the videos with --source"),
        (["--trials", "missing.csv"], "missing.csv"),
        (["--by", "face"], "by must be one of recording, trial, person"),
    ],
)
def test_what_can_not_be_done_is_said(arguments: list[object], message: str, fgnet: Fgnet, tmp_path: Path) -> None:
    write_study(tmp_path / "fex.csv", people=1, seconds=2)
    code, _, error = fgnet("fex.csv", *arguments)
    assert code in (1, 2)
    assert message in error
    assert not (tmp_path / "summary").exists()
