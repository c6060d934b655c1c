"""A study by the command line, from clips of rendered people to a contrast and its figure, at a smaller size."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from in_process import without_ray
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from fgnet_plugin.cli.app import app

EXAMPLE = Path(__file__).parents[1] / "examples" / "made_up_study.py"


@pytest.mark.slow
def test_made_up_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("made_up_study", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def fgnet(folder: Path, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            done = CliRunner().invoke(app, arguments, catch_exceptions=False)
            assert done.exit_code == 0, done.output

    monkeypatch.setattr(example, "fgnet", fgnet)
    monkeypatch.setattr(sys, "argv", ["made_up_study.py", "--people", "10", "--frames", "6", "--out", str(tmp_path)])
    with without_ray():
        example.main()
    truth = pd.read_csv(tmp_path / "truth.csv")
    assert len(truth) == 10 * 2 * 6
    flow = pd.read_csv(tmp_path / "summary" / "exclusions.csv").iloc[-1]
    assert flow["frames"] > len(truth)  # some clips end without a face
    assert flow["no_face"] >= flow["frames"] - len(truth)
    assert flow["used"] > 0.8 * len(truth)

    found = pd.read_csv(tmp_path / "contrast" / "contrast.csv").set_index("AU")
    smile = found.loc["AU12"]
    real = truth.groupby("condition")["AU12"].mean()
    assert smile["low"] < real["together"] - real["alone"] < smile["high"]
    assert (smile["reference"], smile["condition"], smile["people"], smile["coded_people"]) == ("alone", "together", 10, 10)
    rare = found.loc[["AU10", "AU15", "AU20"]]
    assert not rare["tested"].any()
    assert rare[["difference", "p", "p_corrected"]].isna().all(axis=None)
    picture = np.asarray(Image.open(tmp_path / "contrast" / "contrast.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50

    # The files are what mixed models, in Python and in R, need: a row for each person and condition, and no other cells.
    long = pd.read_csv(tmp_path / "calibrated" / "long.csv")
    assert long.groupby("AU").size().eq(20).all()
    assert long[["subject", "condition", "AU"]].map(lambda cell: isinstance(cell, str)).all(axis=None)
    smiles = long[long["AU"] == "AU12"].dropna(subset="mean")
    fit = smf.mixedlm("mean ~ condition", smiles, groups="subject").fit()
    means = smiles.groupby("condition")["mean"].mean()
    assert fit.params["condition[T.together]"] == pytest.approx(means["together"] - means["alone"], abs=1e-4)
    assert means.sum() == pytest.approx(real.sum(), abs=0.15)  # of probabilities: how often
