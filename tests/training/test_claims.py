"""The claims' script: its grid, its summary, and a rehearsal from corpora to table and plot."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from fgnet_plugin.network import small_config
from fgnet_plugin.network.generator import Generator

SCRIPT = Path(__file__).parents[2] / "examples" / "claims.py"


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["claims"] = module  # its dataclasses look for their module
    spec.loader.exec_module(module)
    return module


def test_the_grid_is_complete_and_fair(claims: ModuleType) -> None:
    jobs = claims.grid(claims.FULL, claims.COLOURS, 3)
    assert len({job.folder(Path()) for job in jobs}) == len(jobs) == 3 * 2 * 3 * 3
    for samples, (epochs, batches) in claims.FULL.budget.items():
        assert epochs * batches == 600
        assert batches <= -(-samples // 16)
    assert len(set(claims.SEEDS.values())) == 3
    last, first = (claims.Job(claims.FULL, claims.SCRATCH, "A", n, 0).settings(Path(), "") for n in (4800, 100))
    assert "data.csv.samples=null" in last
    assert "data.csv.samples=100" in first


def test_the_summary_averages_directions_then_seeds(claims: ModuleType) -> None:
    rows = []
    values = {
        ("A", "A", 0): 0.8,
        ("B", "B", 0): 0.6,
        ("A", "A", 1): 0.9,
        ("B", "B", 1): 0.9,
        ("A", "B", 0): 0.5,
        ("B", "A", 0): 0.7,
    }
    for (trained, tested, seed), value in values.items():
        row = {"system": claims.SCRATCH, "trained_on": trained, "tested_on": tested, "samples": "all", "seed": str(seed)}
        rows += [row | {"au": "mean", "auc": str(value), "f1": str(value / 2)}, row | {"au": "AU01", "auc": "0.1", "f1": ""}]
    within, across = claims.summarise(claims.FULL, rows)
    assert (within["test"], within["labelled_faces"], within["seeds"]) == ("within", 4800, 2)
    assert within["auc"] == pytest.approx((0.7 + 0.9) / 2)
    assert within["auc_sd"] == pytest.approx(0.1414, abs=1e-3)
    assert within["f1"] == pytest.approx(0.4)
    assert (across["auc"], across["auc_sd"]) == (pytest.approx(0.6), "")


def test_only_the_start_differs(claims: ModuleType, tmp_path: Path) -> None:
    """Pretrained parts that come with the package have the sizes of what they are compared with; others are refused."""
    from fgnet_plugin.checkpoints.pretrained import save_pretrained
    from fgnet_plugin.checkpoints.registry import resolve

    claims.check_sizes(str(resolve("pretrained-rendered")))
    other = small_config(("AU12",), 64, 32)
    path = save_pretrained(tmp_path / "other.safetensors", other, {"generator": Generator(other)}, {})
    with pytest.raises(ValueError, match=r"other sizes than claims\.yaml.*style_dim: 32, was 64"):
        claims.check_sizes(str(path))


@pytest.mark.slow
def test_a_rehearsal(tmp_path: Path) -> None:
    systems = ["FG-Net from scratch", "ResNet-18 from scratch"]
    options = [
        "--rehearsal",
        "--out",
        tmp_path / "out",
        "--docs",
        tmp_path / "docs",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--systems",
        *systems,
    ]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 of 8" in done.stdout
    rows = list(csv.DictReader((tmp_path / "docs" / "claims.csv").open()))
    assert {(row["system"], row["labelled_faces"], row["test"]) for row in rows} == {
        (system, samples, test) for system in systems for samples in ("20", "48") for test in ("within", "across")
    }
    assert all(0 <= float(row["auc"]) <= 1 for row in rows)
    assert "8 trainings" in (tmp_path / "docs" / "claims.md").read_text()
    assert Image.open(tmp_path / "docs" / "claims.png").width > 800
    assert (tmp_path / "out" / "evaluation" / "report.html").is_file()
