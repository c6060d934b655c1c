"""The network's classes at a small size: shapes, modes, gradients, precision, input checks."""

import dataclasses
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL
from torch import Tensor

from fgnet_plugin import action_units
from fgnet_plugin.network import FGNet, FGNetConfig, decode, scores, small_config
from fgnet_plugin.ops.resample import resize


def test_forward_and_predict_agree(small_net: FGNet, small_faces: Tensor) -> None:
    prediction = small_net.predict(small_faces)
    as_float = (small_faces.float() / 255 - 0.5) / 0.5
    heatmaps = small_net(as_float)
    assert heatmaps.shape == (8, 3, 16, 16)
    torch.testing.assert_close(prediction.heatmaps, heatmaps.detach())
    torch.testing.assert_close(small_net.predict(as_float).heatmaps, prediction.heatmaps)
    torch.testing.assert_close(prediction.activations, heatmaps.detach().clamp(-1, 1).mean((2, 3)))
    assert prediction.aus == small_net.aus == ("AU01", "AU06", "AU12")
    assert torch.equal(prediction.present, prediction.scores > 0.5)
    assert prediction.to("meta").heatmaps.device.type == "meta"
    assert prediction.heatmaps.std(0).max() > 1e-3  # the pictures are told apart


def test_scores_are_monotone_and_centred() -> None:
    activations = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    found = scores(activations)
    assert (found.diff() > 0).all()
    assert scores(torch.zeros(1)).item() == 0.5
    assert scores(torch.tensor([-0.3, -0.1, 0.1, 0.3])).tolist() == pytest.approx([0.008, 0.168, 0.832, 0.992], abs=1e-3)


def test_decode_clamps_first() -> None:
    heatmap = torch.zeros(1, 1, 2, 2)
    heatmap[0, 0, 0, 0] = 5.0
    assert decode(heatmap).item() == 0.25


def test_batches_and_modes_leave_the_result_alone(small_net: FGNet, small_faces: Tensor) -> None:
    expected = small_net.predict(small_faces).heatmaps
    assert not expected.requires_grad
    small_net.train()
    in_threes = small_net.predict(small_faces, batch_size=3).heatmaps
    assert (in_threes - expected).abs().max() < 1e-5 * (expected.max() - expected.min())
    assert all(module.training for module in small_net.modules())
    assert torch.is_grad_enabled()
    assert small_net.predict(small_faces[:0]).scores.shape == (0, 3)


def test_one_face_of_any_batch_is_the_same(small_net: FGNet, small_faces: Tensor) -> None:
    together = small_net.predict(small_faces).heatmaps
    alone = torch.cat([small_net.predict(face[None]).heatmaps for face in small_faces])
    assert (together - alone).abs().max() < 1e-5 * (together.max() - together.min())


def test_training_reaches_every_part(small_net: FGNet, small_faces: Tensor) -> None:
    small_net.train()
    faces = small_faces.float() / 127.5 - 1
    first, second = small_net(faces), small_net(faces)
    assert not torch.equal(first, second), "dropout should differ between two passes"
    first.square().mean().backward()
    without = {name for name, p in small_net.named_parameters() if p.grad is None}
    assert without == {name for name, _ in small_net.named_parameters() if name.startswith("generator.to_rgb.")}
    zero = {name for name, p in small_net.named_parameters() if p.grad is not None and not p.grad.any()}
    assert zero == set()


def test_training_lowers_a_loss(small_net: FGNet, small_faces: Tensor) -> None:
    faces, target = small_faces.float() / 127.5 - 1, torch.full((8, 3, 16, 16), 0.3)
    optimizer = torch.optim.AdamW(small_net.parameters(), lr=1e-3)
    small_net.train()
    losses = []
    for _ in range(12):
        loss = F.mse_loss(small_net(faces), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    # What detection keeps of the weights between calls must follow them.
    torch.testing.assert_close(small_net.eval().predict(small_faces).heatmaps, small_net(faces).detach(), atol=1e-4, rtol=1e-4)


def test_resized_maps_are_the_full_ones_resized(small_net: FGNet, small_faces: Tensor) -> None:
    with torch.no_grad():
        styles = small_net.generator.mapping(small_net.encoder(small_faces.float() / 127.5 - 1))
        full, fitted = small_net.generator(styles), small_net.generator(styles, max_size=16)
        for whole, ours in zip(full, fitted, strict=True):
            torch.testing.assert_close(ours, resize(whole, min(whole.shape[-1], 16)), atol=2e-5, rtol=0)


def test_rgb_image(small_net: FGNet, small_faces: Tensor) -> None:
    """The image against the definition: one ToRGB after another, each on its resolution's map and style row."""
    with torch.no_grad():
        styles = small_net.generator.mapping(small_net.encoder(small_faces.float() / 127.5 - 1))
        maps = small_net.generator(styles)
        image = small_net.generator.image(maps, styles)
        assert image.shape == (8, 3, 128, 128)
        expected = torch.zeros(8, 3, 2, 2)
        for i, (layer, feature_map) in enumerate(zip(small_net.generator.to_rgb, maps, strict=True)):
            style = F.linear(styles[:, max(1, 2 * i + 1)], layer.modulation.weight / 32**0.5, layer.modulation.bias)
            weight = layer.weight[None, :, :, 0, 0] * style[:, None] / feature_map.shape[1] ** 0.5  # [B, 3, C]
            stuffed = torch.zeros(8, 3, 2 * expected.shape[2], 2 * expected.shape[2])
            stuffed[:, :, ::2, ::2] = expected
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
            kernel = (torch.outer(taps, taps) / 16).expand(3, 1, 4, 4)
            upsampled = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), kernel, groups=3)
            expected = upsampled + torch.einsum("bchw,boc->bohw", feature_map, weight) + layer.bias[:, None, None]
    torch.testing.assert_close(image, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_small_configs(size: int) -> None:
    torch.manual_seed(0)
    net = FGNet(small_config(("AU06", "AU12"), size, width=32)).eval()
    assert net.predict(torch.zeros(2, 3, size, size, dtype=torch.uint8)).heatmaps.shape == (2, 2, 64, 64)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_is_an_argument(precision: str, small_net: FGNet, small_faces: Tensor) -> None:
    expected = small_net.predict(small_faces)
    found = small_net.prepare(precision).predict(small_faces)
    assert small_net.interpreter.readout.weight.dtype == getattr(torch, precision)
    assert found.heatmaps.dtype == torch.float32
    assert 0 < (found.activations - expected.activations).abs().max() < 0.02


@pytest.mark.parametrize("layout", [True, False])
def test_layout_changes_nothing(layout: bool, small_net: FGNet, small_faces: Tensor) -> None:
    expected = small_net.predict(small_faces).heatmaps
    assert (small_net.prepare(channels_last=layout).predict(small_faces).heatmaps - expected).abs().max() < 1e-4


def test_works_inside_inference_mode_and_after(small_net: FGNet, small_faces: Tensor) -> None:
    with torch.inference_mode():
        small_net(small_faces.float() / 127.5 - 1)
    small_net(small_faces.float() / 127.5 - 1).sum().backward()


FACES = torch.zeros(1, 3, 64, 64)


@pytest.mark.parametrize(
    ("faces", "error", "says"),
    [
        (FACES.numpy(), TypeError, r"torch tensor, got ndarray.*from_numpy"),
        (FACES.int(), TypeError, r"uint8 in \[0, 255\] or floating point"),
        (FACES[0], ValueError, r"faces\[None\]"),
        (FACES.permute(0, 2, 3, 1), ValueError, r"permute\(0, 3, 1, 2\)"),
        (FACES[:, :1], ValueError, r"shape \[B, 3, 64, 64\], got \[1, 1, 64, 64\]"),
        (FACES[..., :32], ValueError, r"64×64 px, got 64×32"),
        (FACES + 255, ValueError, r"\[-1, 1\], got \[255, 255\]; pixel values in \[0, 255\] go in as uint8"),
        (FACES - 1.5, ValueError, r"must lie in \[-1, 1\]"),
        (FACES * float("nan"), ValueError, "NaN"),
        (FACES + float("inf"), ValueError, r"must lie in \[-1, 1\]"),
    ],
)
def test_bad_faces_are_refused(small_net: FGNet, faces: Tensor, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        small_net.predict(faces)


@pytest.mark.parametrize("size", [32, 128])
def test_forward_refuses_other_sizes_too(size: int, small_net: FGNet) -> None:
    with pytest.raises(ValueError, match=f"64×64 px, got {size}×{size}"):
        small_net(torch.zeros(1, 3, size, size))
    with pytest.raises(TypeError, match="predict takes uint8"):
        small_net(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_faces_from_0_to_1_bring_a_warning(small_net: FGNet) -> None:
    with pytest.warns(UserWarning, match="black is -1 here"):
        small_net.predict(torch.rand(1, 3, 64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_net.predict(torch.rand(1, 3, 64, 64), validate=False)
        small_net.predict(2 * torch.rand(1, 3, 64, 64) - 1)


def test_one_nan_pixel_is_found(small_net: FGNet) -> None:
    faces = torch.zeros(3, 3, 64, 64)
    faces[1, 2, 5, 7] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        small_net.predict(faces)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"aus": ()}, "at least one AU"),
        ({"aus": "AU12"}, "a sequence of names"),
        ({"aus": ("AU12", 3)}, "must be names"),
        ({"encoder_units": (1, 0, 1, 1)}, "at least 1"),
        ({"squeeze_reduction": 0}, "at least 1"),
        ({"aus": ("AU01", "AU01")}, "none twice"),
        ({"image_size": 100}, "power of two"),
        ({"heatmap_size": 256}, "exceeds generator_size"),
        ({"generator_size": 64}, "has 5 resolutions"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(SMALL, **changes)
    assert FGNetConfig.from_json(SMALL.to_json()) == SMALL


def test_float64_is_a_reference(small_net: FGNet, small_faces: Tensor) -> None:
    faces = small_faces[:2].double() / 127.5 - 1
    found = small_net(faces.float()).detach()
    expected = small_net.double()(faces)
    assert expected.dtype == torch.float64
    assert 0 < (found - expected).abs().max() < 1e-3 * (expected.max() - expected.min())


def test_gradients_are_those_of_finite_differences(small_net: FGNet, small_faces: Tensor) -> None:
    net, faces = small_net.double().eval(), small_faces[:1].double() / 127.5 - 1
    probe = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layers = (f"generator.layers.{name}" for name in ("3.weight", "9.bias", "9.noise_strength", "10.weight"))
    names = ["encoder.middle.weights.1", "generator.mapping.layers.0.weight", *layers, "interpreter.blocks.1.conv.weight"]
    (net(faces) * probe).sum().backward()
    for name in names:
        parameter, step = net.get_parameter(name), 1e-6
        assert parameter.grad is not None
        at = torch.unravel_index(parameter.grad.abs().argmax(), parameter.shape)
        values = []
        for change in (step, -2 * step):
            parameter.data[at] += change
            values.append((net(faces) * probe).sum().item())
        parameter.data[at] += step
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(parameter.grad[at].item(), rel=1e-4), name


def test_weights_changed_behind_autograds_back_count(small_net: FGNet, small_faces: Tensor) -> None:
    """As averaging of weights does it: detection must keep nothing of the old ones."""
    import copy

    before = small_net.predict(small_faces).heatmaps
    for layer in small_net.generator.layers:
        layer.weight.data.mul_(3)  # demodulation undoes it
    torch.testing.assert_close(small_net.predict(small_faces).heatmaps, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(copy.deepcopy(small_net).predict(small_faces).heatmaps, before, atol=1e-4, rtol=1e-4)


def test_au_names() -> None:
    for corpus, count in (("BP4D", 12), ("disfa", 8)):
        aus = action_units.corpus_aus(corpus)
        assert len(aus) == count
        assert [action_units.au_name(action_units.au_number(au)) for au in aus] == list(aus)
    for wrong in ("AU1", "12", "AU99", "AUxx"):
        with pytest.raises(ValueError, match="action unit"):
            action_units.au_number(wrong)
    with pytest.raises(ValueError, match="unknown corpus 'CK'"):
        action_units.corpus_aus("CK")


def test_unknown_precision_is_refused(small_net: FGNet) -> None:
    with pytest.raises(ValueError, match="float32, bfloat16, float16"):
        small_net.prepare("float8")


def test_the_network_needs_only_torch() -> None:
    """Importing and running it loads none of the other dependencies."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"typer", "gdown", "platformdirs", "requests", "skimage", "feat", "kornia", "pandas"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import torch, fgnet_plugin
from fgnet_plugin.network import small_config
net = fgnet_plugin.FGNet(small_config(("AU12",), 64, 32))
print(net.predict(torch.zeros(1, 3, 64, 64)).scores.shape)
fgnet_plugin.load, fgnet_plugin.save
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch.Size([1, 1])" in done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fgnet_plugin; print([m for m in ('torch', 'numpy', 'safetensors', 'typer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
