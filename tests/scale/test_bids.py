"""Derivatives of the Brain Imaging Data Structure. Once by hand, the official validator (3.0.2) found no error in one."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from in_process import without_ray
from photos import feat_path

from fgnet_plugin import OfflineDetector
from fgnet_plugin.cli.app import main
from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.measures import from_pattern
from fgnet_plugin.scale import detect_dataset, export_bids, read_dataset

pytest.importorskip("ray", reason="Ray is not installed")
NAMES = "sub-01_ses-2_task-rest_video", "sub-02_ses-2_task-rest_run-1_video", "sub-02_ses-2_task-rest_run-2_video"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BIDS dataset with three recordings, the dataset of their scores, and a table of them."""
    folder = tmp_path_factory.mktemp("bids")
    paths = []
    for name in NAMES:
        place = folder / name.split("_")[0] / "ses-2" / "beh" / f"{name}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        paths.append(str(shutil.copy(feat_path("single_face.jpg"), place)))
    with without_ray():
        detect_dataset(paths, folder / "corpus", detector=OfflineDetector)
    OfflineDetector().detect(paths, save=folder / "fex.csv", progress_bar=False)
    return folder


def test_a_dataset(study: Path) -> None:
    out = study / "derivatives" / "fgnet"
    written = export_bids(study / "corpus", out, raw=study)
    assert [path.relative_to(out).as_posix() for path in written] == [
        f"{name[:6]}/ses-2/beh/{name.removesuffix('_video')}_desc-fgnet_beh.tsv" for name in NAMES
    ]
    rows = pd.read_csv(written[0], sep="\t", na_values="n/a")
    fex = pd.DataFrame(read_dataset(study / "corpus"))
    known = [name for name in fex if name.startswith("AU") and fex[name].notna().any()]
    assert rows[known].to_numpy("float32").tolist() == fex.loc[[0], known].to_numpy("float32").tolist()
    assert list(rows)[:2] == ["frame", "FaceRectX"]
    assert not {"AU05", "anger", "x_0", "Identity_1", "input"} & set(rows)
    about = json.loads(written[0].with_suffix(".json").read_text())
    assert set(rows) <= set(about)
    assert about["TaskName"] == "rest"
    assert about["Sources"] == [f"bids:raw:sub-01/ses-2/beh/{NAMES[0]}.jpg"]
    assert about["Weights"]["Name"] == "fgnet-rendered"
    assert len(about["Weights"]["SHA256"]) == 64
    assert "torch" in about["Versions"]
    assert about["AU12"]["Description"] == "score of the action unit: lip corner puller"
    root = json.loads((out / "dataset_description.json").read_text())
    assert (root["DatasetType"], root["DatasetLinks"]) == ("derivative", {"raw": "../../"})
    assert (out / "participants.tsv").read_text() == "participant_id\nsub-01\nsub-02\n"


def test_a_table_and_told_factors(study: Path, tmp_path: Path) -> None:
    inputs = list(pd.read_csv(study / "fex.csv")["input"])
    written = export_bids(study / "fex.csv", tmp_path / "a", columns=["AU12"])
    assert pd.read_csv(written[0], sep="\t").columns.tolist() == ["frame", "AU12"]
    factors = from_pattern(inputs, r"sub-(?P<subject>\d+)_").assign(condition="x")
    with pytest.raises(
        InputError, match=r"run-1_video\.jpg and .*run-2_video\.jpg would both be sub-02_ses-1_task-x_desc-fgnet_beh\.tsv"
    ):
        export_bids(study / "fex.csv", tmp_path / "b", factors=factors.assign(session="1"))
    assert not (tmp_path / "b").exists()
    assert len(export_bids(study / "fex.csv", tmp_path / "b", factors=factors.assign(session=["1", "1", "2"]))) == 3


def test_what_is_refused(study: Path, tmp_path: Path) -> None:
    table = pd.read_csv(study / "fex.csv")
    for wrong, said in (
        ({"input": "film.mp4"}, r"film.mp4: its name has no sub-…; say whose"),
        ({"input": "sub-1.mp4"}, r"sub-1.mp4: its name has no task-…; give --task"),
        ({"input": ["sub-1_task-a.mp4", "sub-2_task-a.mp4", "sub-1_task-a.mp4"]}, "rows of sub-1_task-a.mp4 are in two places"),
    ):
        table.assign(**wrong).to_csv(tmp_path / "x.csv", index=False)
        with pytest.raises(InputError, match=said):
            export_bids(tmp_path / "x.csv", tmp_path / "out")
    with pytest.raises(InputError, match=r"is not in .*, which was said to hold"):
        export_bids(study / "fex.csv", tmp_path / "out", raw=tmp_path)
    with pytest.raises(InputError, match="AU12_r"):
        export_bids(study / "fex.csv", tmp_path / "out", columns=["AU12_r"])
    with pytest.raises(InputError, match="letters and digits"):
        export_bids(study / "fex.csv", tmp_path / "out", name="fg-net")
    with pytest.raises(FileNotFoundError):
        export_bids(tmp_path / "none.csv", tmp_path / "out")
    with pytest.raises(InputError, match="is no dataset"):
        export_bids(study / "sub-01", tmp_path / "out")
    with pytest.raises(OutputError, match="holds something already"):
        export_bids(study / "fex.csv", study)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv"]


def test_on_the_command_line(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["fgnet", "bids", str(study / "corpus"), "--out", str(tmp_path / "out"), "--pattern", "bids"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "run-1" in said.err
    monkeypatch.setattr(sys, "argv", ["fgnet", "bids", str(study / "fex.csv"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "(3 recordings)" in capsys.readouterr().out
