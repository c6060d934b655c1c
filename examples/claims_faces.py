"""The faces of `claims.py`: drawn at 128 px by ``fgnet train render``'s own code, halved, and divided.

Labels are read of ``train``, ``val`` and the two tests; the pretraining reads ``unlabelled``, which has three domains and none
of ``across``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import count
from pathlib import Path

DOMAINS = "studio", "webcam", "street", "press"
LABELLED, UNSEEN = "studio", "street"
"""The domain that is trained on, with labels, and tested within; and the one that only the test across has."""
PARTS = "train", "val", "within", "across", "unlabelled"
SIZE = 64
Row = dict[str, str]


@dataclass(frozen=True)
class Sizes:
    """How many faces there are."""

    drawn: int
    """Of all domains together, which take turns."""
    train: int
    val: int
    test: int


def draw(folder: Path, sizes: Sizes, workers: int) -> None:
    """Draws all faces at 128 px, as ``fgnet train render --domain studio --domain webcam --domain street --domain press``."""
    from fgnet_plugin.training.rendered import write_corpus

    write_corpus(folder, DOMAINS, sizes.drawn, 2 * SIZE, 0, workers=workers)


def divide(rows: list[Row], sizes: Sizes) -> dict[str, list[Row]]:
    """Rows of ``faces.csv`` -> rows of each part; no face, and so no subject, is in two of them."""
    parts: dict[str, list[Row]] = {name: [] for name in PARTS}
    numbers = {name: count() for name in DOMAINS}
    ends = [("train", sizes.train), ("val", sizes.train + sizes.val), ("within", sizes.train + sizes.val + sizes.test)]
    for row in rows:
        domain = row["image_path"].split("/")[1]
        number = next(numbers[domain])
        if domain == UNSEEN:
            if number < sizes.test:
                parts["across"].append(row)
        elif domain == LABELLED:
            parts[next((name for name, end in ends if number < end), "unlabelled")].append(row)
        else:
            parts["unlabelled"].append(row)
    return parts


def halve(drawn: Path, out: Path, sizes: Sizes) -> None:
    """Writes ``out/PART/faces.csv`` and 64 px pictures, averages of 2 × 2 pixels, with landmarks and known AUs."""
    import numpy as np
    from PIL import Image

    with (drawn / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, part in divide(rows, sizes).items():
        aus = [] if name == "unlabelled" else [key for key in rows[0] if key[:2] == "AU" and key[2:].isdigit()]
        points = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
        (out / name / "aligned_images").mkdir(parents=True, exist_ok=True)
        with (out / name / "faces.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["image_path", "subject", *points, *aus], extrasaction="ignore")
            writer.writeheader()
            for row in part:
                with Image.open(drawn / row["image_path"]) as image:
                    pixels = np.asarray(image.convert("RGB"), np.float32).reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
                path = f"aligned_images/{Path(row['image_path']).name}"
                Image.fromarray(pixels.round().astype(np.uint8)).save(out / name / path, compress_level=1)
                moved = {point: f"{(float(row[point]) + 0.5) / 2 - 0.5:.3f}" for point in points}
                writer.writerow(row | moved | {"image_path": path})
