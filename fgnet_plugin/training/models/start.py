"""Networks at the start of a training: new, from a checkpoint, or from pretrained parts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import load, read_info
from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.checkpoints.pretrained import Pretrained, is_pretrained, load_pretrained, read_pretrained, style_moments
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.checkpoints.stylegan2_psp import LICENCE, read_starts, read_stylegan2
from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.config.detector import Model
from fgnet_plugin.training.models.baseline import ENCODER, Baseline
from fgnet_plugin.training.models.discriminator import Discriminator
from fgnet_plugin.training.models.face_recognition import is_face_recognition, read_trunk


def generator_start(path: str) -> Pretrained:
    """The generator that an encoder is to invert: a file of the stage `generator`, or StyleGAN2's in rosinality's layout.

    Raises CheckpointError: no such file, another kind of file, damaged, or of other sizes.
    """
    if is_pretrained(path) or path.endswith(".safetensors"):
        return load_pretrained(path)
    config = FGNetConfig(ANY_AU)
    state = {name.removeprefix("generator."): tensor for name, tensor in read_starts(path, "", config).items()}
    generator = Generator(config).requires_grad_(False)
    generator.load_state_dict(state)
    architecture = {name: value for name, value in dataclasses.asdict(config).items() if name != "aus"}
    return Pretrained(architecture, {"generator": state, "moments": style_moments(generator)}, licence=LICENCE)


@dataclass(frozen=True)
class GanStart:
    """Weights that a generator's training goes on from."""

    generator: dict[str, Tensor]
    """Running weights; where a file has only the average, that."""
    average: dict[str, Tensor]
    """What is exported and shown."""
    discriminator: dict[str, Tensor] | None
    """None: the file has none, and the discriminator starts from random weights."""
    licence: str


def gan_start(path: str, config: FGNetConfig) -> GanStart:
    """Read what a generator's training starts from: StyleGAN2 in rosinality's layout, or a file of the stage `generator`.

    Raises CheckpointError: no such file, another kind of file, damaged, or of another architecture than `config`.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in Discriminator(config).state_dict().items()}
    if is_pretrained(path) or path.endswith(".safetensors"):
        found = load_pretrained(path)
        shapes = {name: tuple(tensor.shape) for name, tensor in Generator(config).state_dict().items()}
        raise_mismatches(Path(path), find_mismatches(found.parts.get("generator", {}), shapes, "generator: ", exactly=True))
        critic, licence = found.parts.get("discriminator"), found.licence
        generator = average = found.parts["generator"]
    else:
        theirs = read_stylegan2(Path(path), config)
        average, licence = theirs["g_ema"], LICENCE
        generator, critic = theirs.get("g", average), None
        if "d" in theirs:
            names = rosinality_names(config)
            critic = {ours: theirs["d"][name].flatten() if ours.endswith("bias") else theirs["d"][name]
                      for ours, name in names.items() if name in theirs["d"]}  # fmt: skip
    if critic is not None:
        raise_mismatches(Path(path), find_mismatches(critic, wanted, "discriminator: ", exactly=True))
    return GanStart(generator, average, critic, licence)


def rosinality_names(config: FGNetConfig) -> dict[str, str]:
    """Each tensor of `Discriminator` -> its name in rosinality's."""
    found = {"from_rgb.weight": "convs.0.0.weight", "from_rgb.bias": "convs.0.1.bias"}
    for i in range(len(config.generator_channels) - 1):
        ours, theirs = f"blocks.{i}", f"convs.{i + 1}"
        found |= {f"{ours}.conv1.weight": f"{theirs}.conv1.0.weight", f"{ours}.conv1.bias": f"{theirs}.conv1.1.bias"}
        found |= {f"{ours}.conv2.weight": f"{theirs}.conv2.1.weight", f"{ours}.conv2.bias": f"{theirs}.conv2.2.bias"}
        found[f"{ours}.shortcut.weight"] = f"{theirs}.skip.1.weight"
    found |= {"conv.weight": "final_conv.0.weight", "conv.bias": "final_conv.1.bias"}
    for ours, k in (("hidden", 0), ("logit", 1)):
        found |= {f"{ours}.{leaf}": f"final_linear.{k}.{leaf}" for leaf in ("weight", "bias")}
    return found


def encoder_start(path: str, config: FGNetConfig) -> tuple[dict[str, Tensor], str]:
    """Read the encoder that an encoder's training starts from: state dict of `Encoder`, and licence.

    Args:
        path: pSp's ``encoder.pt`` (``psp_ffhq_encode.pt``), or a file of the stage `encoder`: all of an encoder, its average
            latent code included. Or ArcFace's ``model_ir_se50.pth``, which pSp's own training starts from: stem and units only.
        config: the generator's architecture, which it must fit.

    Raises CheckpointError as `read_starts`, `load_pretrained` and `read_trunk` do.
    """
    if is_pretrained(path) or path.endswith(".safetensors"):
        found = load_pretrained(path)
        state = found.parts.get("encoder", {})
        shapes = {name: tuple(tensor.shape) for name, tensor in FGNet(config).encoder.state_dict().items()}
        raise_mismatches(Path(path), find_mismatches(state, shapes, "encoder: ", exactly=True))
        return state, found.licence
    if Path(path).is_file() and is_face_recognition(path):
        return read_trunk(path, config), ""
    state = read_starts("", path, config)
    return _under("encoder.", state), LICENCE


def face_size(model: Model) -> int:
    """Side of the faces that a model reads, px."""
    if model.baseline and model.baseline != ENCODER:
        return model.size or FGNetConfig(ANY_AU).image_size
    return start_config(model).image_size if model.start_from else model.config().image_size


def start_config(model: Model) -> FGNetConfig:
    """The architecture of the file that a model starts from; pretrained parts have no AUs, and AU12 stands for them."""
    path = resolve(model.start_from)
    return read_pretrained(path).config() if is_pretrained(path) else read_info(path).config


def detector(model: Model, aus: tuple[str, ...]) -> tuple[FGNet, str]:
    """The network as training starts with it, and the licence of its weights.

    Raises:
        ValueError: the interpreter of a checkpoint with other AUs, or of pretrained parts, which have none, is to be kept;
            a file is missing, damaged, or does not fit (CheckpointError).
    """
    if not model.start_from:
        net = FGNet(model.config(aus)).prepare(channels_last=True).train()
        if net.encoder.geometry is not None:
            net.encoder.geometry.mesh.load_state_dict(load_face_mesh().state_dict())
        starts = bool(model.stylegan2 or model.psp)
        if starts:
            _take(net, read_starts(model.stylegan2, model.psp, net.config))
        return net, LICENCE if starts else ""
    path = resolve(model.start_from)
    if is_pretrained(path):
        if not model.reset_interpreter:
            raise ValueError(f"{path} has no interpreter to go on with: leave out model.reset_interpreter")
        found = load_pretrained(path)
        net = FGNet(found.config(aus)).prepare(channels_last=True).train()
        for part in {"generator", "encoder"} & set(found.parts):
            _take(net, {f"{part}.{name}": tensor for name, tensor in found.parts[part].items()})
        return net, found.licence
    old = load(path, channels_last=True)
    if old.aus != aus and not model.reset_interpreter:
        raise ValueError(
            f"{path} has the AUs {' '.join(old.aus)}, the data {' '.join(aus)}: "
            "set model.reset_interpreter, or data.csv.aus to those of the checkpoint"
        )
    net = FGNet(dataclasses.replace(old.config, aus=aus)).prepare(channels_last=True)
    net.encoder.load_state_dict(old.encoder.state_dict())
    net.generator.load_state_dict(old.generator.state_dict())
    if not model.reset_interpreter:
        net.interpreter.load_state_dict(old.interpreter.state_dict())
    return net.train(), read_info(path).licence


def encoder_baseline(model: Model, aus: tuple[str, ...]) -> tuple[Baseline, str]:
    """The baseline ``encoder`` as training starts with it: the encoder of `detector`, and a new linear layer; the licence."""
    net, licence = detector(dataclasses.replace(model, baseline="", freeze=()), aus)
    baseline = Baseline(ENCODER, aus, net.config.image_size, sizes=net.config)
    baseline.encoder = net.encoder
    return baseline.train(), licence


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _take(net: FGNet, weights: dict[str, Tensor]) -> None:
    """Copies whole parts' weights into a network; the other parts stay as they are."""
    unknown = net.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
