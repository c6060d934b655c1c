"""Networks at the start of a training: new, from a checkpoint, or from pretrained parts."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import load, read_info
from fgnet_plugin.checkpoints.pretrained import Pretrained, is_pretrained, load_pretrained, read_pretrained, style_moments
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.checkpoints.stylegan2_psp import LICENCE, read_starts
from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.network.generator import Generator
from fgnet_plugin.training.config.detector import Model


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


def face_size(model: Model) -> int:
    """Side of the faces that a model reads, px."""
    if model.baseline:
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


def _take(net: FGNet, weights: dict[str, Tensor]) -> None:
    """Copies whole parts' weights into a network; the other parts stay as they are."""
    unknown = net.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
