"""The public names of the package can be imported, and the rule of which folder may import which is kept."""

import importlib
import inspect
import re
import runpy
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = {
    "fgnet_plugin": "CheckpointError Detector DownloadError FGNet FGNetConfig InputError OfflineDetector Prediction annotate "
    "compare convert_published heatmaps load overlay plot_faces plot_heatmaps plot_time_course provenance register save "
    "unregister verify __version__",
    "fgnet_plugin.alignment": "AlignedFaces Landmarks Padding align_faces align_for_network ffhq_square show_faces",
    "fgnet_plugin.checkpoints": "CheckpointInfo convert_published load read_info save verify",
    "fgnet_plugin.cli": "main",
    "fgnet_plugin.comparison": "Comparison compare",
    "fgnet_plugin.faces": "FaceFinder FoundFaces find_faces read_photo",
    "fgnet_plugin.measures": "BaselineBuilder Calibration Contrast Method Recording Rules Steps Summary Threshold "
    "agree_with_coders calibrate calibrated coding_plan coding_sheet conformal_sets contrast exclude fill_gaps find_events "
    "frame_quality from_folders from_pattern from_table glasses made_by make_codebook origin_of overlap "
    "prediction_powered read_codes read_coding_sheet read_neutral read_recordings read_trials resample "
    "sharpness smooth speech_stretches summarize synchrony with_factors write_coding_sheet",
    "fgnet_plugin.network": "FGNet FGNetConfig Prediction decode normalize scores small_config",
    "fgnet_plugin.report": "report",
    "fgnet_plugin.scale": "DifferentSettingsError Progress Report Status detect_dataset export_bids read_dataset status",
    "fgnet_plugin.training.students": "StudentSettings train_student",
    "fgnet_plugin.training.rendered": "AUS DOMAINS Domain HeadCorpus RenderedCorpus write_corpus",
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_can_be_imported(package: str) -> None:
    if package == "fgnet_plugin":
        pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
    module, names = importlib.import_module(package), PUBLIC[package].split()
    assert set(names) == set(module.__all__)
    for name in names:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_have_an_example(package: str) -> None:
    """Every function and class shows a typical use; `test_docstring_examples` runs those that need no files of a study."""
    if package == "fgnet_plugin":
        pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in PUBLIC[package].split()}
    described = [name for name, value in public.items() if inspect.isclass(value) or inspect.isroutine(value)]
    assert [name for name in described if "\n    Example:\n        >>> " not in (public[name].__doc__ or "")] == []


def test_modules_of_the_tests_have_names_of_their_own() -> None:
    """They are no packages: of two with one name, Python imports the one whose folder comes first."""
    names = sorted(path.name for path in Path(__file__).parent.rglob("*.py"))
    assert [name for name, after in pairwise(names) if name == after] == []


def test_the_package_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fgnet", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fgnet_plugin", run_name="__main__")
    assert ended.value.code in (None, 0)
    assert capsys.readouterr().out.startswith("fgnet-plugin ")


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("network/config.py", "from fgnet_plugin.training.train import train_detector", "A folder imports only"),
        ("training/train.py", "from fgnet_plugin.pyfeat.fex import Fex", "A folder imports only"),
        ("network/config.py", "import fgnet_plugin.network.fgnet", "No circle of imports"),
        ("training/train.py", "import feat", "Training and the network run without py-feat"),
        ("network/config.py", "import scipy", "The network and its operations need torch alone"),
        ("network/config.py", "", ""),
    ],
)
def test_an_import_against_the_rule_is_reported(file: str, line: str, contract: str, tmp_path: Path) -> None:
    """Without such a line, and so at the last of these cases, all contracts are kept."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "fgnet_plugin", tmp_path / "fgnet_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "fgnet_plugin" / file
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    # As the script lint-imports does, but of this copy of the package and not of the installed one.
    command = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports_command as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    broken = re.findall(r"^(.*) BROKEN\b", done.stdout, re.MULTILINE)
    assert done.returncode == bool(line), done.stdout + done.stderr
    assert any(name.startswith(contract) for name in broken) if contract else not broken
