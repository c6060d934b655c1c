"""What an installed wheel holds and how the command starts."""

import doctest
import importlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES_WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "fgnet_plugin").rglob("*.py")
    if re.search(r"^ *>>> (?!.*\+SKIP)", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("fgnet_plugin-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_weights_and_kernels_reach_the_wheel(installed: Path) -> None:
    data = installed / "fgnet_plugin" / "_data"
    assert (data / "weights" / "manifest.json").read_text() == (ROOT / "weights" / "manifest.json").read_text()
    assert {p.name for p in (data / "cuda").iterdir()} == {p.name for p in (ROOT / "cuda").iterdir()}
    training = installed / "fgnet_plugin" / "training"
    assert (training / "rendered" / "face_mesh.npz").is_file()
    assert (data / "weights" / "makehuman-heads.npz").is_file()
    assert {"published.yaml", "rendered-small.yaml"} <= {p.name for p in (training / "configs").iterdir()}
    assert "fgnet = fgnet_plugin.cli:main" in next(installed.glob("*.dist-info/entry_points.txt")).read_text()


def test_the_wheel_finds_its_data(installed: Path, tmp_path: Path) -> None:
    code = "import fgnet_plugin.checkpoints.registry as w; print(w.__file__); print(*w.manifest())"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        str(installed / "fgnet_plugin" / "checkpoints" / "registry.py"),
        "fgnet-bp4d",
        "fgnet-disfa",
        "fgnet-rendered",
        "fgnet-rendered-1",
        "pretrained-rendered",
    ]


@pytest.mark.parametrize("name", MODULES_WITH_EXAMPLES)
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of their own, where they may write."""
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_help_loads_no_torch() -> None:
    code = """
import sys
from fgnet_plugin.cli.app import app
app(["weights", "list"], standalone_mode=False)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stdout.startswith("fgnet-bp4d")


def test_without_py_feat_everything_but_the_detector_works() -> None:
    code = """
import sys
sys.modules["feat"] = sys.modules["pandas"] = None  # as if they were not installed
import fgnet_plugin, fgnet_plugin.inference.au_model, fgnet_plugin.faces, fgnet_plugin.media.video, fgnet_plugin.cli
fgnet_plugin.load("fgnet-rendered")
for name in ("Detector", "register", "annotate", "heatmaps"):
    try:
        getattr(fgnet_plugin, name)
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("py-feat is not installed; run: pip install 'fgnet-plugin[feat]'") for line in lines)
