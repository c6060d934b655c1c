"""Sheets of rendered heads to look at: every AU beside neutral, and random faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from fgnet_plugin.action_units import NAMES
from fgnet_plugin.training.rendered import head_scene, heads
from fgnet_plugin.training.rendered.domains import DOMAINS
from fgnet_plugin.training.rendered.head_corpus import HeadCorpus, photograph
from fgnet_plugin.training.rendered.head_expressions import LABELLED
from fgnet_plugin.training.rendered.mesh import Floats

CALM = replace(
    DOMAINS["studio"], yaw=0.06, pitch=0.03, roll=0.01, blur=(0.0, 0.1), noise=(0.0, 0.0), jpeg=(97.0, 98.0), grey=0.0,
    low_resolution=0.0, glasses=0.0, occluders=0.0, headwear=0.0, tight=0.0, plain_background=1.0, furrows=(1.0, 1.2),
    key=(0.8, 1.1), key_turn=0.5, brightness=(0.0, 0.1), contrast=(1.0, 1.1),
)  # fmt: skip
"""A studio's light and people, frontal, without a camera's faults."""
_WITH = {26: (25,)}


def au_sheet(path: Path, size: int = 128, people: int = 3, seed: int = 7, close: float = 1.5) -> None:
    """Writes a picture: a row for each AU at full intensity, each person neutral and with the AU.

    Args:
        close: how far the picture is cut to the face.
    """
    rows = []
    for au in LABELLED:
        label = np.full((size, 150, 3), 255, np.uint8)
        cv2.putText(label, f"AU{au:02d}", (10, size // 2 - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2, cv2.LINE_AA)
        for line, word in enumerate(NAMES[au].split()):
            at = (10, size // 2 + 16 + 22 * line)
            cv2.putText(label, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
        row = [label]
        for person in range(people):
            row += [_portrait(person, on, size, seed, close) for on in ((), (au, *_WITH.get(au, ())))]
        rows.append(np.concatenate(row, 1))
    _write(path, np.concatenate(rows))


def face_sheet(path: Path, domains: tuple[str, ...] = tuple(DOMAINS), size: int = 128, columns: int = 8, seed: int = 0) -> None:
    """Writes a picture of columns² random faces."""
    corpus = HeadCorpus(domains, size, seed, columns * columns)
    faces = [corpus[i]["image"].permute(1, 2, 0).numpy() for i in range(columns * columns)]
    _write(path, np.concatenate([np.concatenate(faces[r * columns : (r + 1) * columns], 1) for r in range(columns)]))


def _portrait(person: int, aus: tuple[int, ...], size: int, seed: int, close: float) -> np.ndarray:
    rng = np.random.default_rng([seed, person])
    who = head_scene.draw_person(rng, CALM, heads.draw_head(rng))
    drawn = np.zeros((len(heads.DRAWN), 2), np.float32)
    drawn[[heads.DRAWN.index(au) for au in aus]] = 1
    light = np.random.default_rng([seed, person, 1])
    shot = photograph(light, CALM, who, drawn, np.zeros(2, np.float32), int(size * close), "aligned")
    start = int(size * (close - 1) / 2)
    return shot.image[start : start + size, start : start + size]


def _write(path: Path, rgb: np.ndarray | Floats) -> None:
    if not cv2.imwrite(str(path), rgb[..., ::-1]):
        raise OSError(f"{path}: cannot be written")
