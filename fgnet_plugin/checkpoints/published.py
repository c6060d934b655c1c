"""Read the authors' checkpoint files, and map their tensors to those of `FGNet`.

The layout was read off the published ``model.pth`` (parts ``interpreter``, ``g_all``, ``pspencoder``) and pSp's ``encoder.pt``.
"""

from __future__ import annotations

import math
import pickle
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNet, FGNetConfig
from fgnet_plugin.network.encoder import COARSE_ROWS, MIDDLE_ROWS
from fgnet_plugin.ops.resample import blur_kernel

PARTS = ("interpreter", "g_all", "pspencoder")
READOUT_CHANNELS = 32
"""Output channels of every published interpreter; only the first ones, one an AU, were trained."""
LATENT_AVERAGE = "encoder.latent_average"
UNTRAINED = {f"interpreter.readout.{leaf}": f"published.untrained_readout.{leaf}" for leaf in ("weight", "bias")}
"""Tensor of `FGNet` -> where a converted checkpoint keeps the other output channels, so that it can be exported again."""


@dataclass(frozen=True)
class PublishedTensors:
    """Tensors of one part, all of one shape, that are joined along their first axis to one tensor of `FGNet`."""

    part: str
    names: tuple[str, ...]
    shape: tuple[int, ...]


def sources(config: FGNetConfig) -> dict[str, PublishedTensors]:
    """Map each tensor name of `FGNet` to its published tensors, except ``encoder.latent_average``, which is in encoder.pt."""
    with torch.device("meta"):
        state = FGNet(config).state_dict()
    ours: dict[str, PublishedTensors] = {}

    def add(name: str, part: str, *theirs: str, shape: tuple[int, ...] | None = None) -> None:
        size = tuple(state[name].shape)
        if shape is None:
            shape = size if len(theirs) == 1 else (math.prod(size) // len(theirs) // math.prod(size[1:]), *size[1:])
        ours[name] = PublishedTensors(part, theirs, shape)

    def add_all(prefix: str, part: str, theirs: str) -> None:
        for name in state:
            if name.startswith(prefix + "."):
                add(name, part, theirs + name.removeprefix(prefix))

    _add_encoder(config, state, add, add_all)
    _add_generator(config, state, add)
    for i in range(config.n_maps):
        first = 1 if config.map_sizes[i] < config.heatmap_size else 0
        add_all(f"interpreter.blocks.{i}.conv", "interpreter", f"layer{i}.{first}")
        add_all(f"interpreter.blocks.{i}.norm", "interpreter", f"layer{i}.{first + 3}")
    for leaf in ("weight", "bias"):
        rest = tuple(state[f"interpreter.readout.{leaf}"].shape[1:])
        theirs = f"layer{config.n_maps - 1}.4.{leaf}"
        add(f"interpreter.readout.{leaf}", "interpreter", theirs, shape=(READOUT_CHANNELS, *rest))
    return ours


def _add_encoder(config: FGNetConfig, state: Mapping[str, Tensor], add: Any, add_all: Any) -> None:
    for i in range(3):
        add_all(f"encoder.stem.{i}", "pspencoder", f"input_layer.{i}")
    unit = 0
    for group, units in enumerate(config.encoder_units):
        for i in range(units):
            ours, theirs = f"encoder.groups.{group}.{i}", f"body.{unit}"
            for k, name in enumerate(("norm1", "conv1", "act", "conv2", "norm2")):
                add_all(f"{ours}.{name}", "pspencoder", f"{theirs}.res_layer.{k}")
            add_all(f"{ours}.gate.squeeze", "pspencoder", f"{theirs}.res_layer.5.fc1")
            add_all(f"{ours}.gate.excite", "pspencoder", f"{theirs}.res_layer.5.fc2")
            add_all(f"{ours}.shortcut", "pspencoder", f"{theirs}.shortcut_layer")
            unit += 1
    add_all("encoder.lateral_middle", "pspencoder", "latlayer1")
    add_all("encoder.lateral_fine", "pspencoder", "latlayer2")
    first = 0
    for level, rows in (
        ("coarse", COARSE_ROWS),
        ("middle", MIDDLE_ROWS),
        ("fine", config.n_styles - COARSE_ROWS - MIDDLE_ROWS),
    ):
        heads = [f"styles.{first + row}" for row in range(rows)]
        for name in state:
            if name.startswith(f"encoder.{level}.weights."):
                step = name.rsplit(".", 1)[1]
                add(name, "pspencoder", *(f"{head}.convs.{2 * int(step)}.weight" for head in heads))
                add(f"encoder.{level}.biases.{step}", "pspencoder", *(f"{head}.convs.{2 * int(step)}.bias" for head in heads))
        dim = config.style_dim
        add(f"encoder.{level}.linear", "pspencoder", *(f"{head}.linear.weight" for head in heads), shape=(dim, dim))
        add(f"encoder.{level}.linear_bias", "pspencoder", *(f"{head}.linear.bias" for head in heads), shape=(dim,))
        first += rows


def _add_generator(config: FGNetConfig, state: Mapping[str, Tensor], add: Any) -> None:
    for i in range(config.mapping_layers):
        for leaf in ("weight", "bias"):
            add(f"generator.mapping.layers.{i}.{leaf}", "g_all", f"style.{i + 1}.{leaf}")
    add("generator.constant", "g_all", "input.input")
    for j in range(config.n_layers):
        ours, theirs = f"generator.layers.{j}", "conv1" if j == 0 else f"convs.{j - 1}"
        add(f"{ours}.weight", "g_all", f"{theirs}.conv.weight", shape=(1, *state[f"{ours}.weight"].shape))
        for leaf in ("weight", "bias"):
            add(f"{ours}.modulation.{leaf}", "g_all", f"{theirs}.conv.modulation.{leaf}")
        add(f"{ours}.noise_strength", "g_all", f"{theirs}.noise.weight")
        add(f"{ours}.bias", "g_all", f"{theirs}.activate.bias")
        add(f"{ours}.noise", "g_all", f"noises.noise_{j}")
    for i in range(config.n_maps):
        ours, theirs = f"generator.to_rgb.{i}", "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        add(f"{ours}.weight", "g_all", f"{theirs}.conv.weight", shape=(1, *state[f"{ours}.weight"].shape))
        for leaf in ("weight", "bias"):
            add(f"{ours}.modulation.{leaf}", "g_all", f"{theirs}.conv.modulation.{leaf}")
        add(f"{ours}.bias", "g_all", f"{theirs}.bias", shape=(1, 3, 1, 1))


def blur_names(config: FGNetConfig) -> list[str]:
    """Return the names in ``g_all`` of the fixed 4×4 blurs, which our operations have built in."""
    convs = [f"convs.{j}.conv.blur.kernel" for j in range(0, config.n_layers - 1, 2)]
    return convs + [f"to_rgbs.{i}.upsample.kernel" for i in range(config.n_maps - 1)]


def shapes(config: FGNetConfig) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return {part: {tensor name: shape}} of a published ``model.pth`` of this architecture."""
    wanted: dict[str, dict[str, tuple[int, ...]]] = {part: {} for part in PARTS}
    for source in sources(config).values():
        wanted[source.part].update(dict.fromkeys(source.names, source.shape))
    wanted["g_all"].update(dict.fromkeys(blur_names(config), (4, 4)))
    return wanted


def read_model(path: Path, config: FGNetConfig) -> dict[str, dict[str, Tensor]]:
    """Open a published ``model.pth`` and check it against the architecture; tensors stay in the file until they are read.

    Raises CheckpointError where the file is of another kind or truncated, or tensors are missing or have other shapes.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in PARTS):
        if isinstance(content, dict) and "latent_avg" in content:
            raise CheckpointError(f"{path}: this is pSp's encoder.pt, not FG-Net's model.pth; are the two files swapped?")
        holds = f"that file holds the parts {', '.join(PARTS)}, this one {describe_contents(content)}"
        raise CheckpointError(f"{path}: not an FG-Net model.pth; {holds}")
    problems: list[str] = []
    for part, wanted in shapes(config).items():
        problems += find_mismatches(content[part], wanted, f"{part}: ")
    raise_mismatches(path, problems or other_blurs(content["g_all"], config, "g_all: "))
    return {part: content[part] for part in PARTS}


def other_blurs(tensors: Mapping[str, Tensor], config: FGNetConfig, prefix: str) -> list[str]:
    """List the blurs of a generator that differ from the one that our operations have built in; absent ones are skipped."""
    kernel = blur_kernel(torch.device("cpu"), torch.float32)
    blurs = {name: tensors[name] for name in blur_names(config) if name in tensors}
    return [
        f"{prefix}{name} is not the [1, 3, 3, 1] blur" for name, b in blurs.items() if not torch.allclose(b.float(), kernel)
    ]


def read_latent_average(path: Path, config: FGNetConfig) -> Tensor:
    """Read ``latent_avg`` [n_styles, style_dim] float32 of pSp's ``encoder.pt``. Raises CheckpointError like `read_model`."""
    content = read_torch_file(path)
    if not isinstance(content, dict) or "latent_avg" not in content:
        if isinstance(content, dict) and "interpreter" in content:
            raise CheckpointError(f"{path}: this is FG-Net's model.pth, not pSp's encoder.pt; are the two files swapped?")
        raise CheckpointError(
            f"{path}: not pSp's encoder.pt; that file holds latent_avg, this one {describe_contents(content)}"
        )
    return latent_average(path, content["latent_avg"], config)


def latent_average(path: Path, average: object, config: FGNetConfig) -> Tensor:
    """Check the value of ``latent_avg`` and return it as float32. Raises CheckpointError for other shapes, NaN or infinity."""
    shape = (config.n_styles, config.style_dim)
    if not isinstance(average, Tensor) or tuple(average.shape) != shape or not bool(average.isfinite().all()):
        actual = list(average.shape) if isinstance(average, Tensor) else type(average).__name__
        raise CheckpointError(f"{path}: latent_avg must be a finite tensor of shape {list(shape)}, found {actual}")
    return average.float().clone()


def assemble(parts: Mapping[str, Mapping[str, Tensor]], config: FGNetConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of the given parts in the names and shapes of `FGNet`, with the trained output channels only.

    A tensor that is not joined from several is still mapped from the file.
    """
    with torch.device("meta"):
        state = FGNet(config).state_dict()
    for name, source in sources(config).items():
        if source.part not in parts:
            continue
        tensors = [parts[source.part][theirs] for theirs in source.names]
        if name.startswith("interpreter.readout."):
            tensors = [tensors[0][: len(config.aus)]]
        joined = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        yield name, joined.reshape(state[name].shape)


def untrained_channels(interpreter: Mapping[str, Tensor], config: FGNetConfig) -> dict[str, Tensor]:
    """Return the interpreter's output channels that no AU uses, by the names of `UNTRAINED`."""
    theirs = {ours: sources(config)[ours].names[0] for ours in UNTRAINED}
    return {kept: interpreter[theirs[ours]][len(config.aus) :].clone() for ours, kept in UNTRAINED.items()}


def read_torch_file(path: Path) -> Any:
    """Load a file of ``torch.save`` that holds tensors and plain containers; code in it is refused, never run.

    An ``argparse.Namespace`` counts as a plain container: training programs leave their arguments in their checkpoints.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals([Namespace]):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap can only be used" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6
    except pickle.UnpicklingError as error:
        if _is_web_page(path):
            raise CheckpointError(f"{path}: this is a web page, not a checkpoint; fetch the file itself") from error
        raise CheckpointError(
            f"{path}: refused, because it holds more than tensors and plain values, or is no torch file; "
            "nothing in it was executed. Fetch the authors' file again."
        ) from error
    except Exception as error:  # torch raises many kinds for damaged files, such as IndexError and struct.error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        size = path.stat().st_size
        raise CheckpointError(f"{path}: unreadable or truncated ({size:,} bytes; {reason}); fetch it again") from error


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def describe_contents(content: object) -> str:
    """Describe what a file of `torch.save` holds, for messages: the first keys of a dict, else the type."""
    if isinstance(content, dict):
        return ", ".join(map(str, list(content)[:6])) or "nothing"
    return f"a {type(content).__name__}"
