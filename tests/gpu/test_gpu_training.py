"""Alignment, targets and training on a GPU: ``make gpu``. FGNET_DEVICE=cpu rehearses the same tests without one."""

from pathlib import Path

import pytest
import torch
from gpu_device import DEVICE, MARKS

pytestmark = MARKS


def needs(*modules: str) -> None:
    """Skip where the extra `train` is not installed as a whole."""
    for name in modules:
        pytest.importorskip(name)


def test_alignment_agrees_with_the_cpu() -> None:
    pytest.importorskip("kornia")
    from fgnet_plugin.alignment import align_faces

    generator = torch.Generator().manual_seed(0)
    photos = torch.randint(0, 256, (2, 3, 300, 400), generator=generator, dtype=torch.uint8)
    photos = torch.nn.functional.avg_pool2d(photos.float(), 5, 1, 2).round().to(torch.uint8)
    landmarks = torch.stack(
        [torch.tensor([200.0, 150.0]), torch.tensor([60.0, 50.0])]  # inside, and across the border
    )[:, None] + 40 * torch.rand(2, 68, 2, generator=generator)
    expected, found = align_faces(photos, landmarks), align_faces(photos.to(DEVICE), landmarks)
    assert found.faces.device.type == DEVICE.type
    difference = (found.faces.cpu().int() - expected.faces.int()).abs()
    assert difference.max() <= 2
    assert (difference > 0).float().mean() < 0.01
    maps = torch.rand(2, 3, 32, 32, generator=generator)
    for there, here in zip(found.heatmaps_to_photo(maps.to(DEVICE)), expected.heatmaps_to_photo(maps), strict=True):
        assert (there.cpu() - here).abs().max() < 1e-3


def test_targets_agree_with_the_cpu() -> None:
    from fgnet_plugin.training.data.heatmap_targets import heatmap_loss, heatmap_targets

    generator = torch.Generator().manual_seed(0)
    landmarks = 60 + 130 * torch.rand(4, 68, 2, generator=generator)
    labels = torch.randint(0, 2, (4, 3), generator=generator).float()
    labels[0, 1] = float("nan")
    aus = ("AU01", "AU06", "AU12")
    expected = heatmap_targets(landmarks, labels, aus)
    found = heatmap_targets(landmarks.to(DEVICE), labels.to(DEVICE), aus)
    assert (found.heatmaps.cpu() - expected.heatmaps).abs().max() < 1e-5
    maps = torch.randn(4, 3, 128, 128, generator=generator)
    losses = heatmap_loss(maps, *expected), heatmap_loss(maps.to(DEVICE), *found).cpu()
    assert torch.allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_short_training_runs_and_its_export_loads(precision: str, tmp_path: Path) -> None:
    needs("lightning", "pydantic", "cv2", "numba")
    from fgnet_plugin import load
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    settings = [
        f"trainer.out={tmp_path / 'out'}",
        f"trainer.accelerator={'gpu' if DEVICE.type == 'cuda' else 'cpu'}",
        f"trainer.precision={precision}",
        "trainer.workers=0",
        "data.rendered.faces_per_epoch=128",
        "data.rendered.val_faces=32",
        "optimiser.epochs=2",
    ]
    train_detector(read_detector("rendered-ci", settings), False)
    log = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert log[0].startswith("step,")
    net = load(tmp_path / "out" / "fgnet.safetensors", device=DEVICE)
    assert net.predict(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).scores.isfinite().all()


def small(out: Path, *more: str) -> list[str]:
    """Overrides for a few steps of any stage."""
    fixed = [f"trainer.out={out}", f"trainer.accelerator={'gpu' if DEVICE.type == 'cuda' else 'cpu'}", "trainer.workers=0"]
    fixed += ["data.rendered.faces_per_epoch=64", "data.rendered.val_faces=16", "optimiser.batch_size=16", "optimiser.epochs=2"]
    return [*fixed, "trainer.progress=false", "trainer.accumulate=2", *more]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_three_stages_one_after_another(precision: str, tmp_path: Path) -> None:
    """Generator (interrupted after an epoch), encoder, detector from both, each in micro-batches; losses stay finite."""
    needs("lightning", "pydantic", "cv2", "numba")
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.pretraining import read_encoder, read_generator
    from fgnet_plugin.training.train import train_detector, train_encoder, train_generator

    mode = f"trainer.precision={precision}"
    game = ["adversarial.r1_every=2", "adversarial.path_length_every=2", "trainer.checkpoint_every=1"]
    generator = train_generator(read_generator("generator-small", small(tmp_path / "generator", mode, *game)))
    again = train_generator(read_generator("generator-small", small(tmp_path / "generator", mode, *game)), resume=True)
    assert again == generator
    start = [f"start_from={generator}", "loss.structure=0.5"]
    encoder = train_encoder(read_encoder("encoder-small", small(tmp_path / "encoder", mode, *start)))
    start = [f"model.start_from={encoder}", "model.size=null", "model.architecture={}"]
    train_detector(read_detector("rendered-small", small(tmp_path / "detector", mode, *start)))
    start = ["model.baseline=resnet18", "model.architecture={}", "guide.labels=0", "guide.landmarks=0"]
    train_detector(read_detector("rendered-small", small(tmp_path / "baseline", mode, *start)))
    for stage in ("generator", "encoder", "detector", "baseline"):
        assert (tmp_path / stage / "last.ckpt").is_file()
        assert "nan" not in (tmp_path / stage / "metrics.csv").read_text().split("\n", 1)[1].split(",val", 1)[0]
