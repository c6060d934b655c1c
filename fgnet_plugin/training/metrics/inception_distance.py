"""FID: Fréchet distance of what Inception sees in pictures (Heusel et al. 2017), with weights that the user has.

torch-fidelity's network and torchmetrics' sums; the pictures are resized as the original program does, so that figures can be
compared with published ones.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.image.fid import FrechetInceptionDistance

from fgnet_plugin.checkpoints.mismatches import raise_mismatches
from fgnet_plugin.checkpoints.published import describe_contents, read_torch_file
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.training.data.image_folder import SUFFIXES

FEATURES = 2048
_FIRST, _ORIGIN = "Conv2d_1a_3x3.conv.weight", "pt_inception-2015-12-05-6726825d.pth of pytorch-fid's releases on GitHub"


def inception_distance(weights: Path | str) -> FrechetInceptionDistance:
    """Make the metric: ``update(uint8 [B, 3, H, W], real=…)``, ``compute()``; `reset` keeps the real pictures.

    Args:
        weights: ``pt_inception-2015-12-05-6726825d.pth``, which pytorch-fid and torch-fidelity use. Nothing in it is executed.

    Raises:
        CheckpointError: the file is missing, truncated, or of another network; the message lists the tensors.
        ValueError: torch-fidelity is not installed.
    """
    state = read_inception(weights)
    with tempfile.TemporaryDirectory() as folder:
        # torch-fidelity would run what a pickle says: it is given the tensors alone, in a file of our own.
        checked = Path(folder) / "inception.pth"
        torch.save(state, checked)
        try:
            return FrechetInceptionDistance(
                FEATURES, reset_real_features=False, feature_extractor_weights_path=str(checked), antialias=False
            )
        except RuntimeError as error:  # lists the tensors
            raise_mismatches(Path(weights), [line.strip() for line in str(error).splitlines()[1:]])
            raise


def read_inception(weights: Path | str) -> dict[str, Tensor]:
    """Read the file's tensors; errors as those of `inception_distance`, but for tensors that don't fit."""
    path = Path(weights)
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ValueError('FID needs torch-fidelity; run: pip install "fgnet-plugin[fid]"')
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; it is {_ORIGIN}")
    content = read_torch_file(path)
    if not isinstance(content, dict) or not isinstance(content.get(_FIRST), Tensor):
        raise CheckpointError(f"{path}: not Inception as FID has it; it holds {describe_contents(content)}; get {_ORIGIN}")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def fid_of_folders(
    real: Path | str, generated: Path | str, weights: Path | str, batch_size: int = 32
) -> tuple[float, int, int]:
    """Compute FID between the pictures of two folders and their subfolders, on a GPU where there is one.

    Args:
        real, generated: folders of pictures, of any sizes; which is which makes no difference.
        weights: see `inception_distance`.
        batch_size: pictures that the network looks at together.

    Returns:
        FID, and the numbers of pictures. Of few pictures it is far too large: compare figures of equal numbers only.

    Raises:
        CheckpointError: as `inception_distance`.
        ValueError: a folder with fewer than two pictures, or a picture that can't be read.

    Example:
        >>> fid_of_folders("ffhq", "samples", "pt_inception-2015-12-05-6726825d.pth")  # doctest: +SKIP
        (3.81, 50000, 50000)
    """
    files = {}
    for folder in (real, generated):
        files[folder] = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
        if len(files[folder]) < 2:
            raise ValueError(f"{folder}: holds {len(files[folder])} pictures ({', '.join(SUFFIXES)}), at least 2 are needed")
    distance = inception_distance(weights).to("cuda" if torch.cuda.is_available() else "cpu")
    for folder, is_real in ((real, True), (generated, False)):
        for batch in _batches(files[folder], batch_size):
            distance.update(batch.to(distance.device), real=is_real)
    return float(distance.compute()), len(files[real]), len(files[generated])


def _batches(files: list[Path], size: int) -> Iterator[Tensor]:
    """Pictures uint8 [b, 3, H, W], in batches where they are equally large."""
    for pictures in DataLoader(_Pictures(files), batch_size=size, collate_fn=list):
        if len({picture.shape for picture in pictures}) == 1:
            yield torch.stack(pictures)
        else:
            yield from (picture[None] for picture in pictures)


class _Pictures(torch.utils.data.Dataset[Tensor]):
    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        try:
            with Image.open(self.files[index]) as image:
                pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{self.files[index]}: not an image, or damaged ({error})") from error
        return torch.from_numpy(pixels).permute(2, 0, 1)
