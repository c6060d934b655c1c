"""`fgnet sample`, `calibrate`, `apply-calibration` and `estimate`, one after the other, on rendered people with known AUs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from photos import feat_path

from fgnet_plugin.cli import main
from fgnet_plugin.measures import made_by

STUDY = Path(__file__).parents[1] / "measures" / "files" / "rendered_people.csv"
Fgnet = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fgnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fgnet:
    """The command in this process and a folder with fex.csv, what it was made by, and truth.csv."""
    monkeypatch.chdir(tmp_path)
    study = pd.read_csv(STUDY)
    rows = pd.DataFrame({"input": study["subject"] + ".mp4", "frame": study["face"], "subject": study["subject"]})
    rows["condition"] = (study["face"] % 2).map({0: "alone", 1: "together"})
    rows.join(study[["AU12", "AU25"]]).to_csv("fex.csv", index=False)
    rows.join(study[["AU12_label", "AU25_label"]].set_axis(["AU12", "AU25"], axis=1)).to_csv("truth.csv", index=False)
    models = {"au_model": "fgnet-rendered", "face_model": "bundled", "landmark_model": "bundled"}
    digest = made_by("fgnet-rendered", "bundled", "bundled").weights
    Path("fex.csv.run").write_text(json.dumps({"checkpoint": digest, "models": models}) + "\nfinished\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fgnet", *arguments])
        try:
            main()
            code = 0
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 0
        return code, *capsys.readouterr()

    return run


def test_from_a_sheet_to_an_interval(fgnet: Fgnet) -> None:
    code, out, err = fgnet("sample", "fex.csv", "--subject", "subject", "--half-width", "0.05", "--no-crops", "--seed", "4")
    assert (code, err) == (0, "")
    key = pd.read_csv("coding/key.csv", dtype={"face": str})
    assert f"({len(key)} faces)" in out
    assert 200 < len(key) < 2400
    code, _, err = fgnet("sample", "fex.csv", "--subject", "subject", "--no-crops")
    assert (code, "is there already" in err) == (1, True)
    # The coders know the truth.
    truth = pd.read_csv("truth.csv")
    sheet = key[["face", "input", "frame"]].merge(truth)[["face", "AU12", "AU25"]]
    sheet.to_csv("coding/sheet.csv", index=False)
    codes = "coding/sheet.csv", "--key", "coding/key.csv", "--subject", "subject"
    code, out, err = fgnet("calibrate", "fex.csv", *codes, "--out", "c.json", "--plot", "reliability.png", "--threshold", "0.8")
    assert (code, err) == (0, "")
    assert "AU12" in out
    assert Path("reliability.png").stat().st_size > 10_000
    code, out, err = fgnet("apply-calibration", "fex.csv", "c.json", "--out", "p.parquet", "--sets")
    assert (code, err, out) == (0, "", "table: p.parquet (2400 rows)\n")
    table = pd.read_parquet("p.parquet")
    assert set(table["AU12_set"]) == {"present", "absent", "undecided"}
    known = truth["AU12"].notna()
    assert table["AU12"][known].mean() == pytest.approx(truth["AU12"][known].mean(), abs=0.02)
    code, out, err = fgnet("estimate", "fex.csv", *codes, "--predictor", "condition", "--out", "e.csv")
    assert (code, err) == (0, "")
    found = pd.read_csv("e.csv").set_index(["AU", "term"])
    contrast = found.loc[("AU12", "condition: together − alone")]
    together = pd.read_csv("fex.csv")["condition"] == "together"
    real = truth["AU12"][known & together].mean() - truth["AU12"][known & ~together].mean()
    assert contrast["low"] < real < contrast["high"]
    assert contrast["high"] - contrast["low"] < contrast["coded_only_high"] - contrast["coded_only_low"]


def test_what_is_refused(fgnet: Fgnet) -> None:
    fgnet("calibrate", "fex.csv", "truth.csv", "--subject", "subject", "--out", "c.json")
    run = Path("fex.csv.run")
    said = run.read_text()
    run.unlink()
    code, _, err = fgnet("apply-calibration", "fex.csv", "c.json")
    assert (code, "fex.csv does not say which weights" in err) == (1, True)
    options = "--weights", "fgnet-rendered", "--face-model", "bundled", "--landmark-model"
    assert fgnet("apply-calibration", "fex.csv", "c.json", *options, "bundled")[0] == 0
    code, _, err = fgnet("apply-calibration", "fex.csv", "c.json", *options, "bundled")
    assert (code, "holds a table already" in err) == (1, True)
    code, _, err = fgnet("apply-calibration", "fex.csv", "c.json", *options, "mobilefacenet", "--overwrite")
    assert (code, "scores of other weights or face models mean something else" in err) == (1, True)
    code, _, err = fgnet("apply-calibration", "fex.csv", "c.json", "--weights", "fgnet-rendered", "--overwrite")
    assert (code, "give all three" in err) == (2, True)
    run.write_text(said)
    code, _, err = fgnet("apply-calibration", "fex.csv", "c.json", *options, "mobilefacenet", "--overwrite")
    assert (code, "was made otherwise" in err) == (1, True)
    for arguments, says in {
        ("apply-calibration", "fex.csv", "truth.csv", "--out", "other.csv"): "truth.csv is a damaged calibration",
        ("calibrate", "fex.csv", "none.csv", "--subject", "subject"): "none.csv",
        ("calibrate", "fex.csv", "truth.csv", "--subject", "person"): "column 'person'",
        ("calibrate", "fex.csv", "truth.csv", "--subject", "subject", "--threshold", "best"): "youden, f1 or a number",
        ("calibrate", "fex.csv", "truth.csv", "--subject", "subject", "--method", "beta"): "'isotonic' or 'platt'",
        ("estimate", "fex.csv", "truth.csv", "--subject", "subject", "--predictor", "age"): "no column 'age'",
        ("sample", "fex.csv", "--subject", "subject", "--half-width", "0.01"): "can't give ±0.01",
        ("sample", "fex.csv", "--subject", "subject", "--aus", "AU99"): "no scores of AU99",
    }.items():
        code, _, err = fgnet(*arguments)
        assert code in (1, 2), arguments
        assert says in err.replace("\n", " "), err


def test_faces_again(fgnet: Fgnet) -> None:
    clip = str(feat_path("single_face.mp4"))
    assert fgnet("detect", clip, "--offline", "--skip-frames", "36", "--out", "clip.csv")[0] == 0
    code, out, err = fgnet("sides", "clip.csv")
    assert (code, err, out) == (0, "", "table: sides.csv (2 rows)\n")
    assert pd.read_csv("sides.csv")[["AU12_left", "AU12_right"]].notna().all(axis=None)
    code, out, err = fgnet("uncertainty", "clip.csv", "--passes", "2", "--out", "u.parquet")
    assert (code, err, out) == (0, "", "table: u.parquet (2 rows)\n")
    assert (pd.read_parquet("u.parquet")["AU12_spread"] > 0).all()
    code, _, err = fgnet("uncertainty", "clip.csv", "--passes", "2", "--au-model", "fgnet-rendered-1")
    assert (code, "of other weights than fgnet-rendered-1" in err) == (0, True)
    code, _, err = fgnet("sides", "clip.csv")
    assert (code, "sides.csv holds a table already" in err) == (1, True)
    code, _, err = fgnet("sides", "truth.csv", "--out", "x.csv")
    assert (code, "no column x_0" in err) == (1, True)


def test_subjects_and_conditions_by_folders(fgnet: Fgnet) -> None:
    """A paired study whose folders tell who and in which condition: from a sheet to a contrast and its figure."""
    for name in ("fex.csv", "truth.csv"):
        rows = pd.read_csv(name)
        rows["input"] = rows["condition"] + "/" + rows["input"]
        rows = rows.sort_values(["input", "frame"])
        rows["time"] = rows["frame"] / 5
        rows.drop(columns=["subject", "condition", "AU25"]).to_csv(name, index=False)
    who = "--folders", "condition/subject=file"
    assert fgnet("sample", "fex.csv", *who, "--count", "600", "--no-crops")[0] == 0
    key, truth = pd.read_csv("coding/key.csv", dtype={"face": str}), pd.read_csv("truth.csv")
    key[["face", "input", "frame"]].merge(truth)[["face", "AU12"]].to_csv("coding/sheet.csv", index=False)
    codes = "coding/sheet.csv", "--key", "coding/key.csv"
    people = pd.DataFrame({"recording": truth["input"].unique()})
    people["subject"] = people["recording"].str.split("/").str[-1]
    people.to_csv("people.csv", index=False)
    told = "--manifest", "people.csv", "--pattern", "^(?P<condition>[a-z]+)/"
    code, _, err = fgnet("calibrate", "fex.csv", *codes, *told, "--method", "platt", "--out", "c.json")
    assert (code, err) == (0, "")
    code, out, err = fgnet("estimate", "fex.csv", *codes, *who, "--predictor", "condition")
    assert (code, err, "condition: together − alone" in out) == (0, "", True)
    contrast = "contrast", "fex.csv", *codes, *who, "--calibration", "c.json", "--conditions", "together,alone"
    code, out, err = fgnet(*contrast)
    assert (code, err) == (0, "")
    assert "120 people, 120 of them coded\ndifferences from 'together', within people:" in out
    found = pd.read_csv("contrast/contrast.csv").set_index("AU").loc["AU12"]
    means = truth.assign(condition=truth["input"].str.split("/").str[0]).groupby("condition")["AU12"].mean()
    assert found["low"] < means["alone"] - means["together"] < found["high"]
    assert found["high"] - found["low"] < found["coded_only_high"] - found["coded_only_low"]
    assert Path("contrast/contrast.png").stat().st_size > 10_000
    assert len(pd.read_csv("contrast/people.csv")) == 120 * 2
    code, _, err = fgnet(*contrast)
    assert (code, "contrast holds a contrast already; --overwrite replaces it" in err) == (1, True)
    code, out, err = fgnet("summarize", "fex.csv", *who, "--by", "person", "--calibration", "c.json")
    assert (code, err) == (0, "")
    long = pd.read_csv("summary/long.csv").query("AU == 'AU12'")
    assert long["mean"].mean() == pytest.approx(means.mean(), abs=0.03)
    code, _, err = fgnet("summarize", "fex.csv", "--calibration", "c.json", "--threshold", "0.4", "--out", "other")
    assert (code, "a calibration has its own thresholds" in err) == (1, True)


def test_detect_with_uncertainty(fgnet: Fgnet) -> None:
    clip = str(feat_path("single_face.mp4"))
    assert fgnet("detect", clip, "--offline", "--skip-frames", "36", "--out", "clip.csv")[0] == 0
    assert fgnet("uncertainty", "clip.csv", "--passes", "2")[0] == 0
    code, out, err = fgnet("detect", "--offline", "--resume", "--uncertainty", "2", "--out", "clip.csv")
    assert (code, err) == (0, "")
    assert "uncertainty: clip_uncertainty.csv" in out
    pd.testing.assert_frame_equal(pd.read_csv("clip_uncertainty.csv"), pd.read_csv("uncertainty.csv"), atol=1e-5)
    Path("clip_uncertainty.csv").rename("other_uncertainty.csv")
    for expected, arguments, says in (
        (1, ("--out", "other.csv"), "other_uncertainty.csv is there already"),
        (2, ("--out", "new.csv", "--columns", "aus"), "--uncertainty needs landmarks"),
        (2, ("--out", "new.csv", "--estimate"), "leave one of them out"),
        (2, ("--out", "folder"), "--uncertainty is for a table"),
    ):
        code, _, err = fgnet("detect", clip, "--offline", "--uncertainty", "2", *arguments)
        assert code == expected, arguments
        assert says in " ".join(err.replace("│", " ").split())
        assert not Path("new.csv").exists()
