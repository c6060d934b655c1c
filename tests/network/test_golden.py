"""The published architecture at full size against numbers that the published code printed (tests/golden/README.md)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import GOLDEN
from torch import Tensor

from fgnet_plugin import load
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.checkpoints import published
from fgnet_plugin.network import FGNet, FGNetConfig, decode, normalize
from fgnet_plugin.ops import conv_of_upsampled

TOLERANCE = 2e-4  # of a quantity's range; the golden README asks for 1e-3


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "reference_seed1.npz"))


@pytest.fixture(scope="module", autouse=True)
def _several_threads() -> Iterator[None]:
    """With a single one torch sums in another order, which the trunk amplifies (docs/numerics.md)."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, 2))
    yield
    torch.set_num_threads(before)


def deviation(ours: Tensor, theirs: np.ndarray) -> float:
    """Largest difference as a share of the reference's range."""
    reference = torch.from_numpy(theirs)
    return float((ours.detach() - reference).abs().max() / (reference.max() - reference.min()))


def test_layout_is_the_published_one(golden_keys: dict[str, dict[str, list[int]]]) -> None:
    ours = published.shapes(FGNetConfig(aus=corpus_aus("BP4D")))
    assert ours == {part: {name: tuple(shape) for name, shape in keys.items()} for part, keys in golden_keys.items()}


def test_every_stage_meets_the_reference(
    full_net: FGNet, golden_faces: Tensor, golden: dict[str, np.ndarray], record_property: Callable[[str, object], None]
) -> None:
    with torch.no_grad():
        latent = full_net.encoder(normalize(golden_faces))
        styles = full_net.generator.mapping(latent)
        maps = full_net.generator(styles)
        heatmaps = full_net(normalize(golden_faces))
    found = {"latent": deviation(latent, golden["latent"]), "styles": deviation(styles, golden["styles"])}
    for i, feature_map in enumerate(maps):
        found[f"feature{i}"] = deviation(feature_map[:, :4, :4, :4], golden[f"feature{i}_corner"])
        assert feature_map.mean().item() == pytest.approx(golden["feature_mean"][i], rel=1e-4)
        assert feature_map.std(correction=0).item() == pytest.approx(golden["feature_std"][i], rel=1e-4)
    found["heatmaps"] = deviation(heatmaps, golden["heatmaps"])
    found["activations"] = float((decode(heatmaps) - torch.from_numpy(golden["au_mean"][:, :12])).abs().max())
    print("\nlargest deviation, as a share of the range:", {name: f"{value:.1e}" for name, value in found.items()})
    record_property("deviation", found)
    assert max(found.values()) < TOLERANCE, found


def test_predict_gives_the_published_decision(full_net: FGNet, golden_faces: Tensor, golden: dict[str, np.ndarray]) -> None:
    prediction = full_net.predict(golden_faces)
    published_means = torch.from_numpy(golden["au_mean"][:, :12])
    assert prediction.aus == corpus_aus("BP4D")
    assert torch.equal(prediction.present, published_means > 0)
    torch.testing.assert_close(prediction.activations, published_means, atol=1e-4, rtol=0)


def from_golden_latent(net: FGNet, golden: dict[str, np.ndarray]) -> Tensor:
    """Heatmaps of the first picture from the reference's latent code, so that only generator and interpreter are on trial."""
    latent = torch.from_numpy(golden["latent"][:1])
    with torch.no_grad():
        return net.interpreter(net.generator(net.generator.mapping(latent), net.config.heatmap_size))


@contextmanager
def without_noise(net: FGNet) -> Iterator[None]:
    strengths = [layer.noise_strength.data.clone() for layer in net.generator.layers]
    for layer in net.generator.layers:
        layer.noise_strength.data.zero_()
    try:
        yield
    finally:
        for layer, strength in zip(net.generator.layers, strengths, strict=True):
            layer.noise_strength.data.copy_(strength)


@contextmanager
def swapped_style_rows(net: FGNet) -> Iterator[None]:
    """Each resolution's two convolutions read each other's style row."""
    original = net.generator.mapping.forward
    order = [0, *(row for pair in range(1, net.config.n_layers, 2) for row in (pair + 1, pair)), net.config.n_styles - 1]
    net.generator.mapping.forward = lambda z: original(z)[:, order[: z.shape[1]]]  # type: ignore[method-assign]
    try:
        yield
    finally:
        del net.generator.mapping.forward


@contextmanager
def corners_not_aligned(net: FGNet) -> Iterator[None]:
    """Torch's bilinear interpolation with align_corners off: the interpreter's upsampling, and the 256 and 512 px maps."""
    original = F.interpolate
    conv_of_upsampled._bands.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "interpolate", lambda *args, **kwargs: original(*args, **{**kwargs, "align_corners": False}))
        try:
            yield
        finally:
            conv_of_upsampled._bands.cache_clear()


@pytest.fixture(scope="module")
def _intact(full_net: FGNet, golden: dict[str, np.ndarray]) -> None:
    assert deviation(from_golden_latent(full_net, golden), golden["heatmaps"][:1]) < 1e-5


@pytest.mark.usefixtures("_intact")
@pytest.mark.parametrize("mutation", [without_noise, swapped_style_rows, corners_not_aligned])
def test_a_wrong_generator_or_interpreter_is_noticed(
    mutation: Callable[[FGNet], AbstractContextManager[None]], full_net: FGNet, golden: dict[str, np.ndarray]
) -> None:
    with mutation(full_net):
        assert deviation(from_golden_latent(full_net, golden), golden["heatmaps"][:1]) > 10 * TOLERANCE
    assert deviation(from_golden_latent(full_net, golden), golden["heatmaps"][:1]) < 1e-5


def test_a_missing_latent_average_is_noticed(full_net: FGNet, golden_faces: Tensor, golden: dict[str, np.ndarray]) -> None:
    average = full_net.encoder.latent_average.clone()
    full_net.encoder.latent_average.zero_()
    try:
        with torch.no_grad():
            heatmaps = full_net(normalize(golden_faces))
    finally:
        full_net.encoder.latent_average.copy_(average)
    assert deviation(heatmaps, golden["heatmaps"]) > 10 * TOLERANCE


@pytest.mark.slow
def test_a_face_does_not_depend_on_its_batch(full_net: FGNet, crops: Tensor) -> None:
    together = full_net.predict(crops[:4]).heatmaps
    alone = torch.cat([full_net.predict(face[None]).heatmaps for face in crops[:4]])
    assert (together - alone).abs().max() < 1e-5 * (together.max() - together.min())


@pytest.fixture(scope="module")
def activations(full_net: FGNet, crops: Tensor) -> Tensor:
    """Of four faces, alone in float32."""
    return full_net.predict(crops[:4]).activations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "channels_last", "faces"),
    [("float32", True, 4), ("bfloat16", None, 4), ("float16", None, 2)],
)
def test_layout_and_precision_keep_the_decisions(
    precision: str, channels_last: bool | None, faces: int, activations: Tensor, full_checkpoint: Path, crops: Tensor
) -> None:
    expected = activations[:faces]
    net = load(full_checkpoint, precision=precision, channels_last=channels_last)
    found = net.predict(crops[:faces]).activations
    clear = expected.abs() > 0.02
    agreement = ((found > 0) == (expected > 0))[clear].float().mean().item()
    print(
        f"\n{precision}: {agreement:.2%} of {int(clear.sum())} pairs, largest difference {(found - expected).abs().max():.1e}"
    )
    assert agreement >= 0.99
