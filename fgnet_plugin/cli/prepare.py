"""The command ``fgnet train prepare``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fgnet_plugin.training.prepare import RawCorpus

prepare_app = typer.Typer(no_args_is_help=True, help="Aligned faces and labels of a corpus, for training.")


class Camera(StrEnum):
    """Of DISFA's two."""

    left = "left"
    right = "right"


class Suffix(StrEnum):
    """Of the faces' files."""

    jpg = "jpg"
    png = "png"


class Padding(StrEnum):
    """Of photos beyond their borders."""

    reflect = "reflect"
    constant = "constant"


class Targets(StrEnum):
    """Where the landmarks of the heatmap targets come from."""

    moved = "moved"
    measured = "measured"


Raw = Annotated[Path, typer.Argument(help="Folder of the corpus as distributed, unpacked.")]
Out = Annotated[Path, typer.Argument(help="Folder to write to. After an interruption, the same command goes on.")]
Landmarks = Annotated[
    Path | None,
    typer.Option(
        help="Folder of 68 landmarks in pixels of the photos: F001/T1/2440.npy, SN001/17.npy, or OpenFace's CSV files, one a "
        "sequence. Default: our face finder."
    ),
]
SmallestFace = Annotated[
    float | None, typer.Option(min=8, help="Of our face finder, px. Default: an eighth of the photo's shorter side.")
]
Aus = Annotated[str, typer.Option(help='Other AUs than the published ones: "AU01 AU05".')]
Size = Annotated[int, typer.Option(min=8, help="Side of the faces, px.")]
Kind = Annotated[Suffix, typer.Option("--format", help="jpg (quality 95) or png (lossless).")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0: none beside this one.")]


Frames = Annotated[
    list[Path] | None,
    typer.Option("--frames", metavar="CSV", help="Only the frames that this list names, such as a published one. Repeatable."),
]
Pad = Annotated[
    Padding | None, typer.Option("--padding", help="Beyond the photo's border: mirrored (default), or black, as published.")
]
Target = Annotated[
    Targets | None,
    typer.Option(
        "--targets",
        help="Landmarks of the targets: the photo's, moved along (default); or measured again on the aligned face, in whole "
        "pixels, as published.",
    ),
]
Like = Annotated[
    str | None, typer.Option("--config", help="Padding and targets as this config wants them: published-bp4d, published-disfa.")
]


@prepare_app.command()
def bp4d(
    raw: Raw,
    out: Out,
    landmarks: Landmarks = None,
    smallest_face: SmallestFace = None,
    aus: Aus = "",
    frames: Frames = None,
    padding: Pad = None,
    targets: Target = None,
    config: Like = None,
    size: Size = 256,
    kind: Kind = Suffix.jpg,
    workers: Workers = 2,
) -> None:
    """BP4D: photos F001/T1/2440.jpg and occurrence codes F001_T1.csv, anywhere in the folder."""
    _ready()
    from fgnet_plugin.training.prepare import read_bp4d

    how = _Faces(landmarks, smallest_face, frames or (), padding, targets, config, size, kind, workers)
    how.write(read_bp4d(raw, _names(aus), out), out)


@prepare_app.command()
def disfa(
    raw: Raw,
    out: Out,
    camera: Annotated[Camera, typer.Option(help="Whose videos.")] = Camera.left,
    landmarks: Landmarks = None,
    smallest_face: SmallestFace = None,
    aus: Aus = "",
    frames: Frames = None,
    padding: Pad = None,
    targets: Target = None,
    config: Like = None,
    size: Size = 256,
    kind: Kind = Suffix.jpg,
    workers: Workers = 2,
) -> None:
    """DISFA: videos LeftVideoSN001_comp.avi and intensities SN001_au1.txt, anywhere in the folder."""
    _ready()
    from fgnet_plugin.training.prepare import read_disfa

    how = _Faces(landmarks, smallest_face, frames or (), padding, targets, config, size, kind, workers)
    how.write(read_disfa(raw, _names(aus), out, camera.value), out)


@prepare_app.command()
def own(
    labels: Annotated[Path, typer.Argument(help="CSV file: input, subject, AU columns of 1 and 0; frame, of videos.")],
    out: Out,
    name: Annotated[str, typer.Option(help="Of the corpus: the folder in OUT that is written.")] = "own",
    smallest_face: SmallestFace = None,
    padding: Pad = None,
    targets: Target = None,
    size: Size = 256,
    kind: Kind = Suffix.jpg,
    workers: Workers = 2,
) -> None:
    """Pictures or videos of your own, and a table of what people coded in them."""
    _ready()
    from fgnet_plugin.training.prepare import read_own

    how = _Faces(None, smallest_face, (), padding, targets, None, size, kind, workers)
    how.write(read_own(labels, name), out)


def _ready() -> None:
    from fgnet_plugin.cli.requirements import check_installed

    check_installed(("av", "pandas", "tqdm"))


def _names(aus: str) -> list[str] | None:
    return aus.replace(",", " ").split() or None


@dataclass(frozen=True)
class _Faces:
    """How faces are prepared."""

    landmarks: Path | None
    smallest_face: float | None
    frames: Sequence[Path]
    padding: Padding | None
    targets: Targets | None
    config: str | None
    size: int
    kind: Suffix
    workers: int

    def write(self, corpus: RawCorpus, out: Path) -> None:
        from fgnet_plugin.training.prepare import FinderLandmarks, StoredLandmarks, only_listed, prepare

        source = FinderLandmarks(self.smallest_face) if self.landmarks is None else StoredLandmarks(self.landmarks)
        padding, targets = self._made()
        corpus = only_listed(corpus, self.frames) if self.frames else corpus
        done = prepare(
            corpus, out, source, self.size, self.kind.value, self.workers, padding=padding.value, targets=targets.value
        )
        typer.echo(done.summary())

    def _made(self) -> tuple[Padding, Targets]:
        """Padding and targets: of the options, or else of the config, or else ours."""
        padding, targets = self.padding, self.targets
        if self.config is not None:
            from fgnet_plugin.cli.requirements import check_installed

            check_installed(("pydantic", "yaml"))
            from fgnet_plugin.training.config.detector import read_detector

            csv = read_detector(self.config).data.csv
            padding = padding or (Padding(csv.padding) if csv is not None and csv.padding else None)
            targets = targets or (Targets(csv.target_landmarks) if csv is not None and csv.target_landmarks else None)
        return padding or Padding.reflect, targets or Targets.moved
