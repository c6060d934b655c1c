"""Rendered faces as files: a CSV corpus that any training code can read."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgnet_plugin.training.rendered.corpus import RenderedCorpus
from fgnet_plugin.training.rendered.head_corpus import PERSON, HeadCorpus
from fgnet_plugin.utils.threads import single_threaded


def write_corpus(
    folder: str | Path,
    domains: Sequence[str],
    count: int,
    size: int = 128,
    seed: int = 0,
    framing: Literal["aligned", "photo"] = "aligned",
    workers: int = 0,
    renderer: Literal["heads", "masks"] = "heads",
) -> Path:
    """Writes ``faces.csv`` and ``aligned_images/DOMAIN/00000.png``, … into a folder, in the layout that `csv_corpus` reads.

    Args:
        folder: made where it is missing; files of the same name are replaced.
        domains, size, seed, framing: of `HeadCorpus`.
        count: number of faces.
        workers: processes that draw.
        renderer: `HeadCorpus`, or `RenderedCorpus` of the first version.

    Returns:
        The CSV file: image_path, subject, x_0 … x_67, y_0 … y_67 (px), an AU column each (1, 0, empty where unknown) and
        its intensity (``AU12_intensity``: 0 is off, 1 as strong as commonly seen); of heads also whose they are, see
        `head_corpus.PERSON`. Every face is a subject of its own.

    Raises:
        ValueError: what the corpus does not take.
        OSError: a file can't be written; the message names it.

    Example:
        >>> write_corpus("faces", ["studio", "webcam"], count=1000, size=128, workers=4)  # doctest: +SKIP
        PosixPath('faces/faces.csv')
    """
    folder = Path(folder)
    heads = renderer == "heads"
    corpus = (HeadCorpus if heads else RenderedCorpus)(domains, size, seed, count, framing)
    names = [domain.name for domain in corpus.domains]
    for name in names:
        (folder / "aligned_images" / name).mkdir(parents=True, exist_ok=True)
    columns = ["image_path", "subject", *(f"x_{i}" for i in range(68)), *(f"y_{i}" for i in range(68)), *corpus.aus]
    columns += [f"{au}_intensity" for au in corpus.aus]
    columns += PERSON if heads else ()
    path = folder / "faces.csv"
    rows = DataLoader(_Written(corpus, folder), batch_size=None, num_workers=workers, worker_init_fn=single_threaded)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in tqdm(rows, total=count, unit="face", desc=str(folder)):
            writer.writerow(row)
    return path


class _Written(Dataset[list[str]]):
    """The rows of a corpus' CSV file; the process that asks for one writes the picture, which is not sent to another."""

    def __init__(self, corpus: HeadCorpus | RenderedCorpus, folder: Path) -> None:
        self.corpus, self.folder = corpus, folder
        self.names = [domain.name for domain in corpus.domains]

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> list[str]:
        face = self.corpus[index]
        image_path = f"aligned_images/{self.names[index % len(self.names)]}/{index:05}.png"
        rgb = face["image"].permute(1, 2, 0).numpy()
        if not cv2.imwrite(str(self.folder / image_path), rgb[..., ::-1]):
            raise OSError(f"{self.folder / image_path} cannot be written")
        points = face["landmarks"].numpy()
        labels = ["" if np.isnan(label) else str(int(label)) for label in face["labels"].numpy()]
        numbers = (*face["intensities"].tolist(), *(face["person"].tolist() if "person" in face else ()))
        places = [f"{value:.2f}" for value in (*points[:, 0], *points[:, 1])]
        return [image_path, f"{self.corpus.seed}-{index}", *places, *labels, *(f"{value:.3f}" for value in numbers)]
