"""Bad input of a study: each a clear error of the command, and what an earlier run wrote is still there."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fgnet_plugin.cli import main

Fgnet = Callable[..., tuple[int, str]]
OUT = {"summarize": "summary", "sample": "coding", "calibrate": "c.json", "estimate": "e.csv", "contrast": "contrast"}


@pytest.fixture
def fgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fgnet:
    """The command in this process: exit status and standard error; beside the tables of a small study."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = [f"{kind}/P{i}.mp4" for i in range(6) for kind in ("neutral", "film")]
    rows = pd.DataFrame({"input": np.repeat(names, 30), "frame": np.tile(range(30), len(names))})
    rows["time"] = rows["frame"] / 10
    rows["AU12"] = rng.random(len(rows)).round(3)
    rows.to_csv("fex.csv", index=False)
    rows.assign(AU12=rows["AU12"].where(rows["input"] != "neutral/P3.mp4")).to_csv("faceless.csv", index=False)
    rows.iloc[::4][["input", "frame"]].assign(AU12=1).to_csv("labels.csv", index=False)
    rows.iloc[::4][["input", "frame"]].assign(AU12=1, input="other.mp4").to_csv("others.csv", index=False)
    rows.iloc[::4][["input", "frame"]].assign(AU99=1).to_csv("unknown.csv", index=False)
    pd.DataFrame({"recording": "film/P1.mp4", "start": [0, 1], "end": [1.5, 2]}).to_csv("overlapping.csv", index=False)
    pd.DataFrame({"recording": ["P9.mp4"], "start": [0], "end": [1]}).to_csv("nobody.csv", index=False)
    pd.DataFrame({"recording": ["film/P1.mp4"], "subject": ["one"]}).to_csv("people.csv", index=False)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fgnet", *arguments])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
        return code, " ".join(capsys.readouterr().err.split())

    return run


WHO = "--folders", "condition/subject=file"
MADE = "--weights", "xgb", "--face-model", "retinaface", "--landmark-model", "mobilefacenet"
TELL = "tell it with a column, --pattern, --folders or --manifest"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["summarize", "fex.csv", "--by", "person"], "whose recordings these are is not known"),
        (["summarize", "fex.csv", "--baseline", "quantile:0.1"], "neutral/P0.mp4: whose recordings these are is not known"),
        (["sample", "fex.csv"], f"no column 'subject', which is to say who is filmed: {TELL}"),
        (["calibrate", "fex.csv", "labels.csv", *MADE], "neither the labels nor the scores have a column 'subject'."),
        (["estimate", "fex.csv", "labels.csv"], f"no column 'subject': {TELL}"),
        (
            ["contrast", "fex.csv", "labels.csv", "--folders", "subject"],
            "no column 'condition', which is to say in which condition",
        ),
        (["sample", "fex.csv", "--manifest", "people.csv"], "11 recordings have no row in people.csv: neutral/P0.mp4"),
        (["sample", "fex.csv", "--pattern", "(?P<subject>S.)"], "12 recordings do not fit the pattern"),
        (["contrast", "fex.csv", "labels.csv", *WHO, "--pattern", "(?P<subject>P.)"], "subject is told twice"),
        (
            ["summarize", "fex.csv", "--by", "trial", "--trials", "overlapping.csv"],
            "trials 1 (0 to 1.5 s) and 2 (1 to 2 s) overlap",
        ),
        (["summarize", "fex.csv", "--by", "trial", "--trials", "nobody.csv"], "nobody.csv has no trial of any recording"),
        (["summarize", "fex.csv", "--aus", "AU99"], "neutral/P0.mp4 has no AU99; it has AU12"),
        (["sample", "fex.csv", *WHO, "--aus", "AU99"], "no scores of AU99; it has those of AU12"),
        (["estimate", "fex.csv", "labels.csv", *WHO, "--aus", "AU99"], "no labels and scores of AU99; there are of AU12"),
        (["contrast", "fex.csv", "labels.csv", *WHO, "--aus", "AU99"], "no labels and scores of AU99; there are of AU12"),
        (["calibrate", "fex.csv", "unknown.csv", *WHO, *MADE], "AU99"),
        (["calibrate", "fex.csv", "others.csv", *WHO, *MADE], "other.mp4"),
        (["estimate", "fex.csv", "others.csv", *WHO], "other.mp4"),
        (["contrast", "fex.csv", "others.csv", *WHO], "other.mp4"),
        (["calibrate", "fex.csv", "labels.csv", *WHO, *MADE], "6 people with it, 0 without"),
        (
            ["summarize", "faceless.csv", *WHO, "--baseline", "clips:neutral/P3"],
            "has no frame with a face; choose another neutral",
        ),
        (["summarize", "fex.csv", *WHO, "--baseline", "clips:calm"], "no recording has 'calm' in its name"),
        (["summarize", "fex.csv", *WHO, "--calibration", "labels.csv"], "fex.csv does not say which weights"),
        (
            ["contrast", "fex.csv", "labels.csv", *WHO, "--calibration", "labels.csv", *MADE],
            "labels.csv is a damaged calibration",
        ),
        (["contrast", "fex.csv", "labels.csv", *WHO, "--conditions", "film,calm"], "no row has the condition 'calm'"),
    ],
)
def test_bad_input_is_said_and_nothing_is_lost(arguments: list[str], says: str, fgnet: Fgnet) -> None:
    out = Path(OUT[arguments[0]])
    kept = out if out.suffix else out / ("long.csv" if arguments[0] == "summarize" else "contrast.csv")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("earlier")
    replaced = ["--overwrite"] if arguments[0] in ("summarize", "contrast") else []
    code, error = fgnet(*arguments, *replaced, "--out", str(out))
    assert (code, "Traceback" in error) == (1, False), error
    assert says in error, error
    assert kept.read_text() == "earlier"
