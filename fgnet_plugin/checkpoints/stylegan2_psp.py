"""Read the weights that the published training starts from: StyleGAN2's FFHQ generator and pSp's FFHQ encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.mismatches import find_mismatches, raise_mismatches
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.utils.paths import cache_folder

LICENCE = (
    "Generator and encoder pretrained on FFHQ (CC BY-NC-SA 4.0) by the authors of StyleGAN2 and pSp: not for commercial use."
)
_PSP_DRIVE = "https://drive.google.com/file/d/1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0/view"
_STYLEGAN2 = "https://github.com/rosinality/stylegan2-pytorch"
_PICKLE = (
    "NVlabs' pickles hold code, and none is executed here. Convert it on a machine that may run it, with a clone of NVlabs' "
    f"program and rosinality's converter ({_STYLEGAN2}): python convert_weight.py --repo STYLEGAN2 --gen --disc FILE.pkl; "
    "the .pt file that it writes is read here"
)


def check_starts(stylegan2: str, psp: str) -> None:
    """Raise CheckpointError where a file of `read_starts` is missing, or a pickle; the message says where to get it."""
    if stylegan2.lower().endswith(".pkl"):
        raise CheckpointError(f"{stylegan2}: {_PICKLE}")
    origins = {psp: _psp_origin(), stylegan2: _stylegan2_origin()}
    missing = [f"{name}: no such file; {origin}" for name, origin in origins.items() if name and not Path(name).is_file()]
    if missing:
        raise CheckpointError("\n".join(missing))


def read_starts(stylegan2: str, psp: str, config: FGNetConfig) -> dict[str, Tensor]:
    """Read weights that a detector starts from, as ``generator.…`` and, with `psp`, ``encoder.…`` of `FGNet`; float32.

    Args:
        stylegan2: file of a generator in rosinality's layout (``stylegan2-ffhq-config-f.pt``), whose ``g_ema`` is taken;
            empty: the generator is the decoder in pSp's file, which is the same one.
        psp: pSp's file (``psp_ffhq_encode.pt``, ``encoder.pt``): encoder and average latent code. Empty: no encoder.
        config: the architecture that both files must fit.

    Raises:
        CheckpointError: a file is missing (the message says where to get it), of another kind, truncated, holds code, or lacks
            tensors, has them in other shapes or with NaN; the message lists them.
    """
    check_starts(stylegan2, psp)
    state: dict[str, Tensor] = {}
    if psp:
        path = Path(psp)
        content = _content(path, "state_dict", "pSp's file")
        average = published.latent_average(path, content.get("latent_avg"), config)
        parts = {"pspencoder": _under("encoder.", content["state_dict"])}
        if not stylegan2:
            parts["g_all"] = _under("decoder.", content["state_dict"])
        state |= _checked(path, parts, {"pspencoder": "encoder.", "g_all": "decoder."}, config)
        state["encoder.latent_average"] = average
    if stylegan2:
        path = Path(stylegan2)
        content = _content(path, "g_ema", "a generator in rosinality's layout")
        state |= _checked(path, {"g_all": content["g_ema"]}, {"g_all": "g_ema: "}, config)
    return state


def read_stylegan2(path: Path, config: FGNetConfig) -> dict[str, dict[str, Tensor]]:
    """Read generator and discriminator of a file in rosinality's layout, float32.

    Args:
        path: what ``convert_weight.py`` made of NVlabs' pickle, or a training's checkpoint.
        config: the architecture that the file must fit.

    Returns:
        ``g_ema`` and, where the file has it, ``g``, the running weights: tensors by the names of `Generator`. ``d``, where the
        file has it: by the file's own names, unchecked.

    Raises:
        CheckpointError: as `read_starts`; for NVlabs' pickles, which hold code, the message says how to convert them.
    """
    if path.suffix.lower() == ".pkl":
        raise CheckpointError(f"{path}: {_PICKLE}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {_stylegan2_origin()}")
    content = _content(path, "g_ema", "a generator in rosinality's layout")
    found: dict[str, dict[str, Tensor]] = {}
    for name in ("g_ema", "g"):
        if isinstance(content.get(name), dict):
            state = _checked(path, {"g_all": content[name]}, {"g_all": f"{name}: "}, config)
            found[name] = {key.removeprefix("generator."): tensor for key, tensor in state.items()}
    if isinstance(content.get("d"), dict):
        found["d"] = {name: tensor.float() for name, tensor in content["d"].items() if isinstance(tensor, Tensor)}
    return found


def _content(path: Path, key: str, kind: str) -> dict[str, Any]:
    """Load a file whose contents are a dict with a dict under `key`."""
    content = published.read_torch_file(path)
    if isinstance(content, dict) and isinstance(content.get(key), dict):
        return content
    hint = ""
    if isinstance(content, dict) and {"g_ema", "latent_avg"} & set(content):
        hint = "; are model.stylegan2 and model.psp swapped?"
    elif isinstance(content, dict) and "interpreter" in content:
        hint = "; FG-Net's model.pth goes through `fgnet weights convert` and then into model.start_from"
    raise CheckpointError(f"{path}: not {kind}; that file holds {key}, this one {published.describe_contents(content)}{hint}")


def _under(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if str(name).startswith(prefix)}


def _checked(
    path: Path, parts: dict[str, dict[str, Any]], prefixes: Mapping[str, str], config: FGNetConfig
) -> dict[str, Tensor]:
    """Convert parts of a file to the names of `FGNet`, after a check of every tensor."""
    wanted, blurs = published.shapes(config), set(published.blur_names(config))
    problems: list[str] = []
    for part, tensors in parts.items():
        # Conversions of the same generator by other versions of that program leave its constant blurs out.
        needed = {name: shape for name, shape in wanted[part].items() if name not in blurs or name in tensors}
        problems += find_mismatches(tensors, needed, prefixes[part])
    if not problems and "g_all" in parts:
        problems = published.other_blurs(parts["g_all"], config, prefixes["g_all"])
    raise_mismatches(path, problems)
    state = dict(_as_float32(published.assemble(parts, config)))
    not_finite = [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    raise_mismatches(path, [f"{name} holds NaN or infinity" for name in not_finite])
    return state


def _as_float32(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors:
        yield name, tensor.to(torch.float32) if tensor.is_floating_point() else tensor


def _psp_origin() -> str:
    return (
        f"it is pSp's encoder for FFHQ: open {_PSP_DRIVE} in a browser and save it there, or give its place with "
        f"--set model.psp=FILE (`fgnet weights download fgnet-bp4d` keeps it as {cache_folder() / 'downloads' / 'encoder.pt'})"
    )


def _stylegan2_origin() -> str:
    return (
        f"it is StyleGAN2's FFHQ generator, config F, converted with {_STYLEGAN2} (convert_weight.py); give its place with "
        "--set model.stylegan2=FILE, or leave it out: the decoder in pSp's file, model.psp, is the same generator"
    )
