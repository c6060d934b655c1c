"""What tables say of how they were made."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from in_process import without_ray
from photos import feat_path

from fgnet_plugin import OfflineDetector, provenance
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.cli.app import main
from fgnet_plugin.errors import InputError
from fgnet_plugin.scale import detect_dataset, read_dataset
from fgnet_plugin.version import __version__

FACE = feat_path("single_face.jpg")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two photos and their tables, x.csv and x.parquet."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(FACE, folder / "photos" / name)
    detector = OfflineDetector()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for out in ("x.csv", "x.parquet"):
            fex = detector.detect(["photos/a.jpg", "photos/b.jpg"], save=out, relative_to="photos", progress_bar=False)
    fex.to_pickle(folder / "fex.pkl")
    return folder


def test_what_a_saved_table_says(study: Path) -> None:
    made = provenance(study / "x.csv")
    assert made["table"] == str(study / "x.csv")
    assert made["sha256"] == hashlib.sha256((study / "x.csv").read_bytes()).hexdigest()
    assert (made["finished"], made["unknown"]) == (True, [])
    assert made["begun"].endswith("+00:00")
    assert made["versions"]["fgnet-plugin"] == __version__
    assert {"python", "torch", "numpy"} <= set(made["versions"])
    assert made["weights"] == {"name": "fgnet-rendered", "digest": read_info(resolve("fgnet-rendered")).digest}
    assert made["models"]["face_model"] == "bundled"
    assert made["settings"]["precision"] == "float32"
    digest = hashlib.sha256(Path(FACE).read_bytes()).hexdigest()
    about = {"kind": "image", "bytes": Path(FACE).stat().st_size, "frames": None, "sha256": digest, "state": "unchanged"}
    assert made["inputs"] == [{"input": name, **about} for name in ("a.jpg", "b.jpg")]
    json.dumps(made)


def test_parquet_and_memory_tell_the_settings_alone(study: Path, tmp_path: Path) -> None:
    whole = provenance(study / "x.parquet")
    shutil.copy(study / "x.parquet", tmp_path)
    fex = pd.read_pickle(study / "fex.pkl")
    tables = tmp_path / "x.parquet", fex, fex[fex["input"] == "a.jpg"]
    fex.to_parquet(tmp_path / "again.parquet")
    for made in (*map(provenance, tables), provenance(pd.read_parquet(tmp_path / "again.parquet"))):
        assert made["unknown"] == []
        for name in ("versions", "weights", "models", "settings"):
            assert made[name] == whole[name]
        assert [entry["input"] for entry in made["inputs"]] == ["a.jpg", "b.jpg"]
    assert {entry["state"] for entry in provenance(tmp_path / "x.parquet")["inputs"]} == {"not found"}


def test_inputs_that_were_changed(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(study, folder)
    run = folder / "x.csv.run"
    run.write_text(run.read_text().replace(json.dumps(str(study)), json.dumps(str(folder))))
    times = (folder / "photos" / "a.jpg").stat()
    with (folder / "photos" / "a.jpg").open("ab") as file:
        file.write(b"more")
    (folder / "photos" / "b.jpg").unlink()
    os.utime(folder / "photos" / "a.jpg", (times.st_atime, times.st_mtime))
    made = provenance(folder / "x.csv", hashes=False)
    assert [(entry["state"], entry["sha256"]) for entry in made["inputs"]] == [("changed", None), ("not found", None)]
    assert made["unknown"] == ["the hashes of 1 input as read by the run: it was changed since, such as a.jpg"]


def test_foreign_and_damaged_tables(tmp_path: Path) -> None:
    (tmp_path / "openface.csv").write_text("frame, timestamp, confidence, success, AU12_r\n1, 0, 1, 1, 0.5\n")
    made = provenance(tmp_path / "openface.csv")
    assert (made["weights"], made["versions"], made["inputs"], made["finished"]) == (None, {}, [], None)
    assert made["unknown"] == [
        "how the table was made: there is no openface.csv.run beside it",
        "the version of OpenFace, by whose columns the table is known; it does not note one",
    ]
    table = pd.DataFrame({"AU12": [0.5]})
    table.to_parquet(tmp_path / "x.parquet")
    assert len(provenance(tmp_path / "x.parquet")["unknown"]) == 1
    for name, content in (("y.parquet", b"PAR1"), ("y.csv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            provenance(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        provenance(tmp_path / "none.csv")
    table.attrs["fgnet_run"] = "{"
    with pytest.raises(InputError, match="damaged"):
        provenance(table)


def test_a_run_of_an_older_version(study: Path, tmp_path: Path) -> None:
    run = json.loads((study / "x.csv.run").read_text().splitlines()[0])
    for name in ("begun", "versions", "modified"):
        del run["about"][name]
    (tmp_path / "x.csv.run").write_text(json.dumps(run) + "\n")
    made = provenance(tmp_path / "x.csv")
    assert (made["finished"], made["begun"], made["sha256"]) == (False, None, None)
    assert {entry["state"] for entry in made["inputs"]} == {"unknown"}
    assert len(made["unknown"]) == 2


def test_tables_of_each_input_and_annotated_ones(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    for suffix in (".csv", ".parquet"):
        options = {"save": tmp_path / f"all{suffix}", "per_input": tmp_path / "each", "relative_to": "photos"}
        OfflineDetector().detect(["photos/a.jpg", "photos/b.jpg"], progress_bar=False, **options)
        made, whole = provenance(tmp_path / "each" / f"b{suffix}"), provenance(study / "x.csv")
        assert [entry["input"] for entry in made["inputs"]] == ["b.jpg"]
        assert made["unknown"] == []
        for name in ("versions", "weights", "models", "settings"):
            assert made[name] == whole[name]
    assert provenance(tmp_path / "each" / "b.csv")["inputs"] == whole["inputs"][1:]


def test_annotated_tables(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    before = provenance(study / "x.csv")
    for name, table in (("y.csv", "x.parquet"), ("y.parquet", "x.csv")):
        command = [
            "fgnet",
            "annotate",
            table,
            "--source",
            "photos",
            "--au-model",
            "fgnet-rendered-1",
            "--out",
            str(tmp_path / name),
        ]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit, match="0"):
            main()
        made = provenance(tmp_path / name)
        assert made["weights"] == {"name": "fgnet-rendered-1", "digest": read_info(resolve("fgnet-rendered-1")).digest}
        assert made["models"] == before["models"] | {"au_model": "fgnet-rendered-1"}
        assert made["settings"]["annotated"]["au_model"] == "fgnet-rendered"
        assert (made["versions"], made["unknown"]) == (before["versions"], [])


def test_datasets(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder, the file of a recording, and what is read of it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.chdir(study)
    (study / "photos" / "c.jpg").write_text("no picture")
    with without_ray():
        report = detect_dataset([f"photos/{name}.jpg" for name in "abc"], tmp_path / "corpus", detector=OfflineDetector)
    assert list(report.failed) == ["photos/c.jpg"]
    (study / "photos" / "c.jpg").unlink()
    whole = provenance(study / "x.csv")
    made = provenance(tmp_path / "corpus")
    inputs = [{**entry, "input": f"photos/{entry['input']}"} for entry in whole["inputs"]]
    assert made["inputs"] == inputs
    assert (made["table"], made["sha256"], made["finished"]) == (str(tmp_path / "corpus"), None, False)
    assert made["unknown"] == ["what 1 input holds that could not be read, such as photos/c.jpg"]
    read = provenance(read_dataset(tmp_path / "corpus", ["photos/b.jpg"]))
    assert read["inputs"] == inputs[1:]
    (part,) = (tmp_path / "corpus").glob("recording=a-*/*.parquet")
    assert [entry["input"] for entry in provenance(part)["inputs"]] == ["photos/a.jpg"]
    for told in (made, read, provenance(part)):
        assert (told["weights"], told["models"]) == (whole["weights"], whole["models"])
        assert told["settings"] == whole["settings"] | {"time": True}
        assert told["versions"].items() >= {"fgnet-plugin": __version__, "torch": whole["versions"]["torch"]}.items()
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="other is no dataset"):
        provenance(tmp_path / "other")


def test_on_the_command_line(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["fgnet", "provenance", str(study / "x.csv"), *more])
        with pytest.raises(SystemExit, match="0"):
            main()
        printed = capsys.readouterr().out
        if more:
            assert json.loads(printed) == provenance(study / "x.csv")
        else:
            assert f"versions: fgnet-plugin {__version__}, python " in printed
            assert "weights: fgnet-rendered, SHA-256 of the tensors " in printed
            assert "  a.jpg: unchanged, " in printed
            assert "unknown" not in printed
