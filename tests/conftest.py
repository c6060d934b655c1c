"""Fixtures that several tests share: checkpoints by formula in the published files' layout, and real pictures."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from skimage import data

from fgnet_plugin import convert_published, load
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.checkpoints import published
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.utils.threads import core_count

SUMMARY = pytest.StashKey[list[str]]()
"""Lines that benchmarks want printed after everything else."""

GOLDEN = Path(__file__).parent / "golden"
HELPERS = Path(__file__).parent / "helpers"
sys.path.insert(0, str(GOLDEN))

LONG = {
    "test_a_short_training_beats_chance",
    "test_what_passes_with_made_up_weights_passes_after_register_and_with_our_detector",
    "test_the_published_training_takes_two_steps",
    "test_blocks_run",
    "test_a_rehearsal",
    "test_2000_frames_take_no_more_memory_than_200",
    "test_layout_and_precision_keep_the_decisions",
}
"""Names of tests that are begun first."""

SMALL = FGNetConfig(
    aus=("AU01", "AU06", "AU12"),
    image_size=64,
    generator_size=128,
    generator_channels=(32, 32, 32, 32, 24, 16),
    style_dim=32,
    mapping_layers=2,
    encoder_channels=(16, 16, 32, 32),
    encoder_units=(1, 1, 2, 1),
    heatmap_size=16,
)
"""The published layout at a size for quick tests; its last map is eight times larger than its heatmaps, as there."""


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores among pytest-xdist's workers: each, and each process that a test starts, gets its part as threads.

    Workers inherit the variable from the process that starts them. To set it in the worker would be too late for torch.
    """
    workers = config.getoption("numprocesses", None)
    if workers:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(core_count() // workers, 1)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take a minute and more: at the end, no worker waits for another that has just begun one."""
    items.sort(key=lambda item: item.originalname not in LONG if isinstance(item, pytest.Function) else True)


@pytest.fixture
def plain_float32() -> Iterator[None]:
    """float32 that is float32 on a GPU, without TF32; the same bits in each run, though cuDNN can add up in any order."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    cudnn.deterministic = True
    yield
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the benchmarks' table."""
    for line in config.stash.get(SUMMARY, []):
        terminalreporter.write_line(line)


def write_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """A folder of files that are dear to make: the first worker of a run that needs it writes it, the others wait and read.

    Args:
        factory: of this worker.
        name: of the folder.
        write: fills the empty folder that it is given.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers of this run; pytest removes it, as that of a single process
    folder, unfinished = base / name, base / f"{name}-unfinished"
    with FileLock(base / f"{name}.lock"):
        if not folder.exists():
            shutil.rmtree(unfinished, ignore_errors=True)  # left by a worker that failed
            unfinished.mkdir()
            write(unfinished)
            unfinished.rename(folder)
    return folder


def write_published(folder: Path, config: FGNetConfig, seed: int) -> tuple[Path, Path]:
    """model.pth and encoder.pt by formula, as the authors lay them out."""
    from formula_checkpoint import _normal, formula_state_dict

    parts = {
        part: {name: torch.from_numpy(np.asarray(array)) for name, array in formula_state_dict(part, shapes, seed).items()}
        for part, shapes in published.shapes(config).items()
    }
    average = torch.from_numpy(_normal("encoder.pt", "latent_avg", (config.n_styles, config.style_dim), seed))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(parts, folder / "model.pth")
    torch.save({"state_dict": {}, "opts": {"output_size": 1024}, "latent_avg": average}, folder / "encoder.pt")
    return folder / "model.pth", folder / "encoder.pt"


@pytest.fixture(scope="session")
def golden_keys() -> dict[str, dict[str, list[int]]]:
    """{part: {name: shape}} of a published model.pth."""
    return json.loads((GOLDEN / "checkpoint_keys.json").read_text())


@pytest.fixture(scope="session")
def full_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The published files at full size, by formula, seed 1. Tests must leave them as they are."""
    config = FGNetConfig(aus=corpus_aus("BP4D"))
    folder = write_once(tmp_path_factory, "full", lambda folder: write_published(folder, config, seed=1))
    return folder / "model.pth", folder / "encoder.pt"


@pytest.fixture(scope="session")
def full_checkpoint(full_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, converted."""

    def convert(folder: Path) -> None:
        convert_published(*full_files, "BP4D", folder / "fgnet.safetensors")

    return write_once(tmp_path_factory, "full-converted", convert) / "fgnet.safetensors"


@pytest.fixture(scope="session")
def full_net(full_checkpoint: Path) -> FGNet:
    """The same, loaded. Tests must leave it as it was."""
    return load(full_checkpoint)


@pytest.fixture(scope="session")
def golden_faces() -> torch.Tensor:
    """The two 256 px pictures of reference_seed1.npz, uint8 [2, 3, 256, 256]."""
    crops = np.stack([data.astronaut()[0:256, 96:352], data.coffee()[100:356, 150:406]])
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


@pytest.fixture(scope="session")
def crops(golden_faces: torch.Tensor) -> torch.Tensor:
    """Eight different pictures, uint8 [8, 3, 256, 256]."""
    cat, rocket = data.chelsea(), data.rocket()
    more = np.stack([cat[0:256, 100:356], rocket[100:356, 200:456]])
    four = torch.cat([golden_faces, torch.from_numpy(more).permute(0, 3, 1, 2)])
    return torch.cat([four, four.flip(3)])


@pytest.fixture
def small_files(tmp_path: Path) -> tuple[Path, Path]:
    """The published files at the small size."""
    return write_published(tmp_path / "published", SMALL, seed=3)


@pytest.fixture
def small_checkpoint(small_files: tuple[Path, Path], tmp_path: Path) -> Path:
    """The same, converted."""
    return convert_published(*small_files, "BP4D", tmp_path / "small.safetensors", config=SMALL)


@pytest.fixture
def small_net(small_checkpoint: Path) -> FGNet:
    """The same, loaded."""
    return load(small_checkpoint)


@pytest.fixture
def small_faces(crops: torch.Tensor) -> torch.Tensor:
    """Real pictures at the small size, uint8 [8, 3, 64, 64]."""
    return crops[:, :, ::4, ::4]


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up weights of all of py-feat's models, as its hub cache would have them; see `pyfeat_weights`."""
    pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)
    from pyfeat_weights import make_hub_cache

    return write_once(tmp_path_factory, "hub", make_hub_cache)
