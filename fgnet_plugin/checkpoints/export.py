"""Write a checkpoint as the authors' files: the way back from `convert`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.ops.resample import blur_kernel
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.safetensors_file import read_tensors


def export_published(name_or_path: str | Path, model_pth: Path | str, encoder_pt: Path | str | None = None) -> list[str]:
    """Write a checkpoint in the layout of the authors' ``model.pth``, which their code loads: tensors in dicts, nothing else.

    Args:
        name_or_path: a name from ``fgnet weights list``, or a checkpoint file.
        model_pth: the file to write: a dict of the state dicts ``interpreter``, ``g_all``, ``pspencoder``.
        encoder_pt: another one, in the layout of pSp's ``encoder.pt``, with the average latent code, which model.pth lacks.

    Returns:
        What a user of the files should know, a line each: what they hold that was not in the checkpoint, and what they lack.

    Raises:
        CheckpointError: no such checkpoint, damaged, or of an architecture that the published layout cannot hold.
        OSError: a file can't be written; nothing is left behind.

    Example:
        >>> export_published("fgnet-bp4d", "model.pth")  # doctest: +SKIP
    """
    path = resolve(name_or_path)
    config, state = read_info(path).config, read_tensors(path)
    wanted = published.sources(config)
    foreign = sorted(set(state) - set(wanted) - {published.LATENT_AVERAGE, *published.UNTRAINED.values()})
    if foreign:
        raise CheckpointError(f"{path}: the published layout has no place for {', '.join(foreign[:4])}, …")
    notes = []
    if not set(published.UNTRAINED.values()) <= set(state):
        notes.append(
            f"the last {published.READOUT_CHANNELS - len(config.aus)} of the interpreter's {published.READOUT_CHANNELS} output "
            "channels, which the checkpoint lacks, are 0"
        )
    parts = disassemble(state, config)
    _save(parts, Path(model_pth))
    average = state[published.LATENT_AVERAGE].float()
    if encoder_pt is None:
        notes.append("model.pth has no average latent code: the authors' code takes it from pSp's encoder.pt; see --encoder-pt")
    else:
        both = {f"encoder.{name}": tensor for name, tensor in parts["pspencoder"].items()}
        both |= {f"decoder.{name}": tensor for name, tensor in parts["g_all"].items()}
        _save({"state_dict": both, "latent_avg": average, "opts": {"output_size": config.generator_size}}, Path(encoder_pt))
    return notes


def disassemble(state: Mapping[str, Tensor], config: FGNetConfig) -> dict[str, dict[str, Tensor]]:
    """Return {part: {tensor name: tensor}} of a published ``model.pth`` from the state dict of an `FGNet`, float32.

    Inverts `published.assemble`. Output channels that no AU uses are those kept from a converted file, or else 0.
    """
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in published.PARTS}
    for name, source in published.sources(config).items():
        tensor = state[name].float() if state[name].is_floating_point() else state[name]
        if name in published.UNTRAINED:
            rest = torch.zeros(published.READOUT_CHANNELS - len(tensor), *tensor.shape[1:])
            tensor = torch.cat([tensor, state.get(published.UNTRAINED[name], rest).float()])
        shape = (len(source.names), *source.shape)
        for theirs, part in zip(source.names, tensor.reshape(shape).unbind(0), strict=True):
            parts[source.part][theirs] = part.clone()
    kernel = blur_kernel(torch.device("cpu"), torch.float32)
    parts["g_all"] |= {name: kernel.clone() for name in published.blur_names(config)}
    return parts


def _save(content: object, path: Path) -> None:
    with atomic_write(path) as part:
        torch.save(content, part)
