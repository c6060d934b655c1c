"""Losses and FID on networks whose weights users have: LPIPS, ArcFace's IR-SE-50, Inception; here of random weights."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

pytest.importorskip("lightning", reason="the extra `train` is not installed")

from test_pretraining import CONFIG, generator_settings, quiet
from test_starts import Hostile
from toy_training import toy_corpus
from typer.testing import CliRunner

from fgnet_plugin import CheckpointError
from fgnet_plugin.cli.app import app
from fgnet_plugin.network.encoder import Encoder
from fgnet_plugin.training.config.pretraining import Reconstruction, read_encoder, read_generator
from fgnet_plugin.training.models.face_recognition import FaceRecognition, trunk_names
from fgnet_plugin.training.models.lpips import Lpips
from fgnet_plugin.training.models.start import encoder_start
from fgnet_plugin.training.stages import reconstruction_loss as losses

RNG = torch.Generator()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test draws its own numbers, whichever others have run."""
    RNG.manual_seed(0)


def random_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights that keep activations at about 1, variances of BatchNorm positive."""
    state, random = {}, torch.Generator().manual_seed(1)
    for name, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:])))
        state[name] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = 0.5 + torch.rand(shape, generator=random)
    return state


def backbone(net: str, path: Path) -> dict[str, Tensor]:
    """A file laid out as torchvision's; the layers that LPIPS does not look at are left out."""
    import torchvision

    with torch.device("meta"):
        layers = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net](weights=None).features
    state = random_state({f"features.{name}": tuple(tensor.shape) for name, tensor in layers.state_dict().items()})
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, path)
    return state


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alex") / "alexnet.pth"
    backbone("alex", path)
    return path


def arcface(path: Path) -> dict[str, Tensor]:
    """A file laid out as model_ir_se50.pth, of the sizes of `CONFIG`."""
    with torch.device("meta"):
        encoder = Encoder(CONFIG).state_dict()
    shapes = {theirs: tuple(encoder[ours].shape) for ours, theirs in trunk_names(CONFIG).items()}
    width = CONFIG.encoder_channels[-1]
    leaves = ("weight", "bias", "running_mean", "running_var")
    shapes |= {f"output_layer.{i}.{leaf}": (width,) for i in (0, 4) for leaf in leaves}
    shapes |= {"output_layer.3.weight": (width, width * 49), "output_layer.3.bias": (width,)}
    state = random_state(shapes)
    torch.save(state | {"output_layer.0.num_batches_tracked": torch.tensor(7)}, path)
    return state


@pytest.fixture(scope="module")
def ir_se50(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    path = tmp_path_factory.mktemp("arcface") / "model_ir_se50.pth"
    return path, arcface(path)


def arcface_reference(state: dict[str, Tensor], faces: Tensor) -> Tensor:
    """What pSp computes of faces of 256 px, operation by operation, with a file's own names."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, *(state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")))

    x = F.adaptive_avg_pool2d(faces[:, :, 35:223, 32:220], (112, 112))
    x = norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1")
    x = F.prelu(x, state["input_layer.2.weight"])
    for i in range(4):  # a unit in each group, of stride 2
        unit, beside = f"body.{i}.res_layer", F.max_pool2d(x, 1, 2)
        if f"body.{i}.shortcut_layer.0.weight" in state:
            beside = norm(F.conv2d(x, state[f"body.{i}.shortcut_layer.0.weight"], stride=2), f"body.{i}.shortcut_layer.1")
        out = F.conv2d(norm(x, f"{unit}.0"), state[f"{unit}.1.weight"], padding=1)
        out = F.conv2d(F.prelu(out, state[f"{unit}.2.weight"]), state[f"{unit}.3.weight"], stride=2, padding=1)
        out = norm(out, f"{unit}.4")
        gates = F.relu(F.conv2d(out.mean((2, 3), keepdim=True), state[f"{unit}.5.fc1.weight"]))
        x = out * torch.sigmoid(F.conv2d(gates, state[f"{unit}.5.fc2.weight"])) + beside
    x = F.linear(norm(x, "output_layer.0").flatten(1), state["output_layer.3.weight"], state["output_layer.3.bias"])
    x = norm(x, "output_layer.4")
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def test_lpips_is_torchmetrics_of_the_same_weights(net: str, tmp_path: Path) -> None:
    from torchmetrics.functional.image import lpips as theirs

    state = backbone(net, tmp_path / "backbone.pth")
    ours = Lpips(net, tmp_path / "backbone.pth")
    with torch.device("meta"):
        reference = theirs._LPIPS(pretrained=False, net=net, pnet_rand=True)
    keys = [key for key in reference.state_dict() if key.startswith("net.")]
    filled = {key: state[f"features.{'.'.join(key.split('.')[2:])}"] for key in keys}
    lin = {f"lin{i}.model.1.weight": ours.get_buffer(f"linear{i}") for i in range(5)}
    lin |= {f"lins.{i}.model.1.weight": ours.get_buffer(f"linear{i}") for i in range(5)}
    reference.load_state_dict(filled | lin, assign=True)
    reference.scaling_layer = theirs.ScalingLayer()
    one, other = (torch.rand(2, 3, 64, 64, generator=RNG) * 2 - 1 for _ in range(2))
    expected = reference.eval()(one, other).flatten().detach()
    assert torch.allclose(ours(one, other), expected, rtol=1e-4)
    assert (ours(one, one) == 0).all()
    # The linear weights may be given, too; a distance is linear in them.
    doubled = {f"lin{i}.model.1.weight": 2 * ours.get_buffer(f"linear{i}") for i in range(5)}
    torch.save(doubled, tmp_path / "lin.pth")
    assert torch.allclose(Lpips(net, tmp_path / "backbone.pth", tmp_path / "lin.pth")(one, other), 2 * expected, rtol=1e-4)


def test_embeddings_are_those_of_psps_identity_loss(ir_se50: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = ir_se50
    net = FaceRecognition(path, CONFIG)
    faces = torch.rand(3, 3, 256, 256, generator=RNG) * 2 - 1
    assert torch.allclose(net(faces), arcface_reference(state, faces), atol=1e-5)
    small = F.avg_pool2d(faces, 4)
    assert net(small).norm(dim=1) == pytest.approx(torch.ones(3))
    live = small.clone().requires_grad_(True)
    assert net.difference(live, small).abs().max() < 1e-6
    other = net.difference(live, small.roll(1, 0))
    expected = 1 - F.cosine_similarity(net(small), net(small.roll(1, 0)))
    assert torch.allclose(other, expected, atol=1e-6)
    assert ((other > 1e-4) & (other < 2)).all()
    other.sum().backward()
    assert live.grad is not None
    assert live.grad.abs().sum() > 0


def test_files_that_do_not_fit_are_named(alex: Path, ir_se50: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    _, state = ir_se50
    with pytest.raises(CheckpointError, match=r"no-such\.pth: no such file; .*torch\.save\(torchvision\.models\.alexnet"):
        Lpips("alex", tmp_path / "no-such.pth")
    with pytest.raises(CheckpointError, match=r"(?s)alexnet\.pth: does not fit.*features\.2\.weight is missing"):
        Lpips("vgg", alex)
    with pytest.raises(CheckpointError, match=r"alexnet\.pth: no weights of LPIPS with alexnet; it holds features\.0\.weight"):
        Lpips("alex", alex, alex)
    with pytest.raises(CheckpointError, match=r"no-such\.pth: no such file; it is model_ir_se50\.pth"):
        FaceRecognition(tmp_path / "no-such.pth")
    partial_state = {name: tensor for name, tensor in state.items() if name != "output_layer.3.weight"}
    partial_state["output_layer.4.bias"] = torch.full((16,), torch.nan)
    torch.save(partial_state, tmp_path / "partial.pth")
    with pytest.raises(CheckpointError, match=r"(?s)partial\.pth: does not fit.*output_layer\.3\.weight is missing"):
        FaceRecognition(tmp_path / "partial.pth", CONFIG)
    torch.save(state | {"output_layer.4.bias": torch.full((16,), torch.nan)}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match=r"nan\.pth.*\n.*output_layer\.4\.bias holds NaN"):
        FaceRecognition(tmp_path / "nan.pth", CONFIG)
    torch.save({"features.0.weight": Hostile(tmp_path / "executed")}, tmp_path / "hostile.pth")
    for load in (partial(Lpips, "alex"), FaceRecognition):
        with pytest.raises(CheckpointError, match=r"hostile\.pth: refused"):
            load(tmp_path / "hostile.pth")
    assert not (tmp_path / "executed").exists()


def test_weights_and_files_go_together() -> None:
    published = read_encoder("encoder-psp").loss
    assert (published.pixels, published.lpips, published.identity, published.structure, published.features) == (
        1,
        0.8,
        0.1,
        0,
        0,
    )
    for changes, says in (
        ({"lpips": 0.8}, "lpips and lpips_backbone go together"),
        ({"identity_weights": "a.pth"}, "identity and identity_weights go together"),
        ({"identity": -1.0, "identity_weights": "a.pth"}, "must not be negative"),
    ):
        with pytest.raises(ValueError, match=says):
            Reconstruction(**changes)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 toy faces, 64 px."""
    folder = tmp_path_factory.mktemp("toy")
    toy_corpus(folder, n=16)
    return folder / "Toy"


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file laid out as pt_inception-2015-12-05-6726825d.pth."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(module.FeatureExtractorInceptionV3, "to", lambda self, *_: self)
        with torch.device("meta"):
            net = module.FeatureExtractorInceptionV3("inception-v3-compat", ["64"])
    state = random_state({name: tuple(tensor.shape) for name, tensor in net.state_dict().items()})
    counts = {name: torch.tensor(0) for name in state if name.endswith("num_batches_tracked")}
    torch.save(state | counts, path)
    return path


@pytest.fixture
def first_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """FID of the network's first 64 maps of 64 px, which takes a moment instead of minutes."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    from fgnet_plugin.training.metrics import inception_distance

    monkeypatch.setattr(inception_distance, "FEATURES", 64)
    monkeypatch.setattr(NoTrainInceptionV3, "INPUT_IMAGE_SIZE", 64)


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of the Gaussians with the features' means and covariances, in closed form."""
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shift = one.mean(0) - other.mean(0)
    return float(shift @ shift + np.trace(a + b) - 2 * np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum())


@pytest.mark.usefixtures("first_maps")
def test_fid_is_the_distance_of_two_gaussians(inception: Path) -> None:
    from fgnet_plugin.training.metrics.inception_distance import inception_distance

    metric, features = inception_distance(inception), []
    for mean, spread, real in ((110, 30, True), (140, 50, False)):
        pictures = (torch.randn(90, 3, 32, 32, generator=RNG) * spread + mean).clamp(0, 255).to(torch.uint8)
        metric.update(pictures, real=real)
        features.append(metric.inception(pictures).double().numpy())
    assert float(metric.compute()) == pytest.approx(frechet_distance(*features), rel=1e-3)
    metric.reset()  # the real ones are kept
    metric.update(pictures, real=False)
    assert float(metric.compute()) == pytest.approx(frechet_distance(*features), rel=1e-3)


@pytest.mark.usefixtures("first_maps")
def test_fid_of_two_folders(inception: Path, toy: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i, size in enumerate((64, 64, 80)):
        (tmp_path / "noise").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, 64, 3), dtype=np.uint8)).save(tmp_path / "noise" / f"{i}.png")
    run = partial(CliRunner().invoke, app)
    same = run(["train", "fid", str(toy), str(toy), "--weights", str(inception)])
    assert same.output.strip() in ("FID 0.00, of 16 and 16 pictures", "FID -0.00, of 16 and 16 pictures")
    other = run(["train", "fid", str(toy), str(tmp_path / "noise"), "--weights", str(inception), "--batch-size", "2"])
    assert float(other.output.split()[1].rstrip(",")) > 0.1
    assert "of 16 and 3 pictures" in other.output
    (tmp_path / "noise" / "3.png").write_bytes(b"text")
    for folder, weights, says in (
        (tmp_path / "noise", inception, r"3\.png: not an image"),
        (tmp_path / "empty", inception, r"empty: holds 0 pictures"),
        (toy, tmp_path / "no-such.pth", r"no-such\.pth: no such file; it is pt_inception"),
    ):
        with pytest.raises(ValueError, match=says):
            run(["train", "fid", str(toy), str(folder), "--weights", str(weights)], catch_exceptions=False)


def test_inception_files_that_are_none(inception: Path, tmp_path: Path) -> None:
    """torch-fidelity itself would run what is in them."""
    from fgnet_plugin.training.metrics.inception_distance import inception_distance

    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not Inception as FID has it; it holds conv\.weight"):
        inception_distance(tmp_path / "other.pth")
    state = torch.load(inception, weights_only=True, mmap=True)
    torch.save({"Conv2d_1a_3x3.conv.weight": state["Conv2d_1a_3x3.conv.weight"]}, tmp_path / "first.pth")
    with pytest.raises(CheckpointError, match=r"(?s)first\.pth: does not fit.*Conv2d_2a_3x3"):
        inception_distance(tmp_path / "first.pth")
    torch.save({"Conv2d_1a_3x3.conv.weight": Hostile(tmp_path / "executed")}, tmp_path / "hostile.pth")
    with pytest.raises(CheckpointError, match=r"hostile\.pth: refused"):
        inception_distance(tmp_path / "hostile.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.usefixtures("first_maps")
def test_trainings_with_all_of_them(
    inception: Path,
    toy: Path,
    alex: Path,
    ir_se50: tuple[Path, dict[str, Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A generator chosen by FID, and an encoder with pSp's losses that starts from ArcFace's trunk."""
    more = [*generator_settings(tmp_path / "generator", toy), f"fid_weights={inception}", "optimiser.batches_per_epoch=1"]
    generator = train_generator_once(more)
    rows = [row for row in csv.DictReader((tmp_path / "generator" / "metrics.csv").open()) if row["val_fid"]]
    best = min(rows, key=lambda row: float(row["val_fid"]))
    from fgnet_plugin.checkpoints.pretrained import load_pretrained
    from fgnet_plugin.training.train import train_encoder

    found = load_pretrained(generator)
    assert found.training["validation"]["fid"] == pytest.approx(float(best["val_fid"]))
    assert found.training["step"] == int(best["step"])

    path, state = ir_se50
    monkeypatch.setattr(losses, "FaceRecognition", lambda path: FaceRecognition(path, CONFIG))
    more = {"data.rendered": "null", "data.folder": toy, "data.val_fraction": 0.25, "optimiser.epochs": 1, "latent": "w"}
    more |= {"optimiser.batch_size": 4, "optimiser.batches_per_epoch": 1, "start_from": generator, "start_encoder": path}
    more |= {"loss.features": 0, "loss.lpips": 0.8, "loss.lpips_backbone": alex, "loss.identity": 0.1, "optimiser.lr": 1e-9}
    settings = quiet(tmp_path / "encoder", **more, **{"loss.identity_weights": path})
    trained = load_pretrained(train_encoder(read_encoder("encoder-small", settings))).parts["encoder"]
    assert torch.allclose(trained["stem.0.weight"], state["input_layer.0.weight"], atol=1e-6)
    mean = found.parts["moments"]["style_mean"]
    assert torch.allclose(trained["latent_average"], mean.expand_as(trained["latent_average"]))
    saved = torch.load(tmp_path / "encoder" / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("judges") for name in saved)

    terms = [
        Reconstruction(1, 0, 0),
        Reconstruction(1, 0, 0, lpips=0.8, lpips_backbone=str(alex), identity=0.1, identity_weights=str(path)),
    ]
    one, other = (torch.rand(2, 3, 64, 64, generator=RNG) * 2 - 1 for _ in range(2))
    plain, whole = (losses.reconstruction_loss(one, other, term, others=losses.judges(term)) for term in terms)
    net = FaceRecognition(path, CONFIG)
    assert torch.allclose(whole, plain + 0.8 * Lpips("alex", alex)(one, other) + 0.1 * net.difference(one, other))


def train_generator_once(settings: list[str]) -> Path:
    from fgnet_plugin.training.train import train_generator

    return train_generator(read_generator("generator-small", settings))


def test_a_trunk_that_does_not_fit(ir_se50: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, state = ir_se50
    begun, licence = encoder_start(str(path), CONFIG)
    assert set(begun) == set(trunk_names(CONFIG))
    assert licence == ""
    assert torch.equal(begun["groups.1.0.gate.excite.weight"], state["body.1.res_layer.5.fc2.weight"])
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("body.3.")}, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match=r"(?s)cut\.pth: does not fit.*body\.3\.res_layer"):
        encoder_start(str(tmp_path / "cut.pth"), CONFIG)


def test_the_mean_style_is_that_of_many_codes() -> None:
    from fgnet_plugin.checkpoints.pretrained import style_moments
    from fgnet_plugin.network.generator import Generator

    torch.manual_seed(0)
    generator = Generator(CONFIG)
    with torch.no_grad():
        styles = generator.mapping(torch.randn(100_000, CONFIG.style_dim))
    mean, spread = styles.mean(0), float(styles.std()) / 100_000**0.5
    assert (style_moments(generator)["style_mean"] - mean).abs().max() < 6 * spread
    assert torch.equal(style_moments(generator)["style_mean"], style_moments(generator)["style_mean"])
