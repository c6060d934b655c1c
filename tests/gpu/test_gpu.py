"""The network on a GPU: ``make gpu``. FGNET_DEVICE=cpu rehearses the same tests without one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN, SMALL
from gpu_device import DEVICE, MARKS
from torch import Tensor

from fgnet_plugin import load
from fgnet_plugin.network import FGNet, normalize

WEIGHTS = Path(__file__).parents[2] / "weights"

pytestmark = [*MARKS, pytest.mark.usefixtures("plain_float32")]


@pytest.fixture(scope="module")
def net(full_checkpoint: Path) -> FGNet:
    return load(full_checkpoint, device=DEVICE)


def share(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu() - expected).abs().max() / (expected.max() - expected.min()))


def test_generator_and_interpreter_meet_the_reference(net: FGNet) -> None:
    golden = np.load(GOLDEN / "reference_seed1.npz")
    latent, expected = torch.from_numpy(golden["latent"]).to(DEVICE), torch.from_numpy(golden["heatmaps"])
    with torch.no_grad():
        heatmaps = net.interpreter(net.generator(net.generator.mapping(latent), net.config.heatmap_size))
    assert share(heatmaps, expected) < 2e-4


def test_latent_codes_agree_with_the_cpu_on_a_small_network(
    small_checkpoint: Path, small_net: FGNet, small_faces: Tensor
) -> None:
    expected, found = small_net.predict(small_faces), load(small_checkpoint, device=DEVICE).predict(small_faces)
    assert found.heatmaps.device.type == DEVICE.type
    assert share(found.heatmaps, expected.heatmaps) < 1e-3


def test_end_to_end_on_golden_pictures(net: FGNet, full_net: FGNet, crops: Tensor) -> None:
    """The trunk amplifies rounding (docs/numerics.md): decisions are compared, deviations printed."""
    expected, found = full_net.predict(crops), net.predict(crops)
    clear = expected.activations.abs() > 0.02
    agreement = (found.present.cpu() == expected.present)[clear].float().mean().item()
    print(
        f"\nfloat32, {DEVICE} against CPU: heatmaps {share(found.heatmaps, expected.heatmaps):.1e}, decisions {agreement:.2%}"
    )
    assert agreement >= 0.99


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_the_decisions(precision: str, net: FGNet, full_checkpoint: Path, crops: Tensor) -> None:
    if DEVICE.type == "cpu" and precision == "float16":
        pytest.skip("float16 on a CPU is tested in test_golden.py")
    expected, found = net.predict(crops), load(full_checkpoint, DEVICE, precision).predict(crops)
    clear = expected.activations.abs() > 0.02
    agreement = (found.present == expected.present)[clear].float().mean().item()
    change = (found.activations - expected.activations).abs().max()
    print(f"\n{precision}: {agreement:.2%} of {int(clear.sum())} pairs, largest change {change:.1e}")
    assert agreement >= 0.99


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_decisions_where_the_trunk_is_in_tf32(
    precision: str, full_net: FGNet, full_checkpoint: Path, crops: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's default, and so what users get. Trained weights keep their decisions; formula weights lose a few
    (docs/numerics.md), how many is printed.
    """
    if DEVICE.type == "cpu" and precision == "float16":
        pytest.skip("float16 on a CPU is tested in test_golden.py")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    trained = load(WEIGHTS / "fgnet-rendered.safetensors")
    small = torch.nn.functional.interpolate(crops.float(), size=64, mode="area").to(torch.uint8)
    for name, expected_of, found_of, faces in (
        ("fgnet-rendered", trained, load(WEIGHTS / "fgnet-rendered.safetensors", DEVICE, precision), small),
        ("formula weights", full_net, load(full_checkpoint, DEVICE, precision), crops),
    ):
        expected, found = expected_of.predict(faces), found_of.predict(faces)
        clear = expected.activations.abs() > 0.02
        agreement = (found.present.cpu() == expected.present)[clear].float().mean().item()
        print(f"\n{name}, {precision}, TF32: {agreement:.2%} of {int(clear.sum())} pairs")
        if name == "fgnet-rendered":
            assert clear.sum() >= 60
            assert agreement >= 0.99


def test_forward_does_not_wait_for_the_device(net: FGNet, crops: Tensor) -> None:
    faces = normalize(crops[:2].to(DEVICE))
    with torch.no_grad():
        net(faces)  # what is kept between calls is made in the first
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            net(faces)
        finally:
            if DEVICE.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    net = FGNet(SMALL).to(DEVICE).prepare().train()
    faces, target = torch.rand(8, 3, 64, 64, device=DEVICE) * 2 - 1, torch.full((8, 3, 16, 16), 0.3, device=DEVICE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        with torch.autocast(DEVICE.type, torch.bfloat16):
            heatmaps = net(faces)
        loss = torch.nn.functional.mse_loss(heatmaps.float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_faces_of_whole_frames_are_read_as_on_the_cpu() -> None:
    from photos import read_photo

    from fgnet_plugin.faces.finder import FaceFinder
    from fgnet_plugin.inference.au_model import AUModel

    photo = read_photo("skimage/astronaut")
    landmarks = FaceFinder().find([photo])[0].landmarks
    expected = AUModel("fgnet-rendered").read([photo, photo], [landmarks, landmarks.new_empty(0, 68, 2)])
    found = AUModel("fgnet-rendered", DEVICE, precision="float32").read(
        [photo, photo], [landmarks, landmarks.new_empty(0, 68, 2)]
    )
    assert found.prediction.heatmaps.device.type == DEVICE.type
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)
