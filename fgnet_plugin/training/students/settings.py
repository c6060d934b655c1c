"""What a student's training depends on, and the sizes that a student can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from fgnet_plugin.network import FGNetConfig

Size = Literal["small", "medium"]
DEFAULT_START = "fgnet-rendered"
LEAST_FACES = 40
"""Fewer say nothing about the agreement on held-out people."""

# Generator, interpreter and heatmaps are those of fgnet-rendered in either size, so that their weights carry over.
_SHARED: dict[str, Any] = {
    "generator_size": 64,
    "generator_channels": (64, 64, 48, 32, 16),
    "style_dim": 64,
    "mapping_layers": 2,
    "heatmap_size": 32,
    "dropout": 0.0,
}
_SIZES: dict[str, dict[str, Any]] = {
    # Pixels alone: FaceMesh takes a third of medium's time, and the first layers, at 64 px, most of the rest.
    "small": {
        "image_size": 64,
        "encoder_channels": (16, 24, 40, 64),
        "encoder_units": (2, 2, 2, 2),
        "squeeze_reduction": 8,
    },
    "medium": {
        "image_size": 128,
        "trunk_size": 64,
        "encoder_channels": (32, 48, 64, 96),
        "encoder_units": (1, 2, 3, 2),
        "geometry": "mesh468",
        "geometry_alone": 0.1,
    },
}


def student_config(size: Size, aus: tuple[str, ...]) -> FGNetConfig:
    """The architecture of a student of these AUs. Raises ValueError for an unknown size."""
    if size not in _SIZES:
        raise ValueError(f"size must be {' or '.join(get_args(Size))}, got {size!r}")
    return FGNetConfig(aus=aus, **_SHARED, **_SIZES[size])


@dataclass(frozen=True)
class StudentSettings:
    """What a student's training depends on, beside teacher and recordings.

    Raises ValueError, which names everything that is out of range.

    Example:
        >>> StudentSettings(size="medium", faces=10)
        Traceback (most recent call last):
        ValueError: a budget of 10 faces is too small to learn from and to measure on: at least 40
        >>> half_an_hour = StudentSettings(minutes=30)
        >>> train_student("fgnet-bp4d", "recordings/", "student.safetensors", settings=half_an_hour)  # doctest: +SKIP
    """

    size: Size = "small"
    faces: int | None = None
    """Budget: faces that the teacher labels, held-out ones included; without it and `minutes`, 2,000."""
    minutes: float | None = None
    """The same as a time: as many faces as the teacher labels in so many minutes on this machine."""
    views: int = 2
    """How often the teacher reads each training face: as it is, and turned and shifted a little."""
    rendered: int = 0
    """Rendered faces that the teacher labels as well, to learn from: for AUs that are rare in the recordings."""
    held_out: float = 0.2
    """Share of the people, and of the budget, that the student does not learn from, to measure its agreement on."""
    steps: int | None = None
    """Training steps; by default `default_steps` of the number of faces."""
    batch_size: int = 32
    lr: float = 2e-3
    curve: tuple[float, ...] = (0.25, 0.5)
    """Shares of the training faces with which a student is trained, too, to see whether more faces would help."""
    least_agreement: float = 0.6
    """AUs whose ICC with the teacher is lower are NaN in the student's tables, unless one asks for them."""
    start_from: str = DEFAULT_START
    """A checkpoint whose weights are taken where name and shape are the same; empty: none."""
    seed: int = 0
    threads: int | None = None
    """Of the training on a CPU; the last digits depend on it."""

    def __post_init__(self) -> None:
        problems = []
        if self.size not in get_args(Size):
            problems.append(f"size must be {' or '.join(get_args(Size))}, got {self.size!r}")
        if self.faces is not None and self.minutes is not None:
            problems.append("give a budget of faces or of minutes, not both")
        if self.faces is not None and self.faces < LEAST_FACES:
            problems.append(
                f"a budget of {self.faces} faces is too small to learn from and to measure on: at least {LEAST_FACES}"
            )
        if self.minutes is not None and not self.minutes > 0:
            problems.append(f"minutes must be positive, got {self.minutes}")
        if not 1 <= self.views <= 8:
            problems.append(f"views must be 1 to 8, got {self.views}")
        if self.rendered < 0:
            problems.append(f"rendered must not be negative, got {self.rendered}")
        if not 0 < self.held_out < 1:
            problems.append(f"held_out must be between 0 and 1, got {self.held_out}")
        if self.steps is not None and self.steps < 1:
            problems.append(f"steps must be at least 1, got {self.steps}")
        if self.batch_size < 2 or not self.lr > 0:
            problems.append(f"batch_size must be at least 2 and lr positive, got {self.batch_size} and {self.lr}")
        if not all(0 < share < 1 for share in self.curve):
            problems.append(f"curve must hold shares between 0 and 1, got {self.curve}")
        if not -1 <= self.least_agreement <= 1:
            problems.append(f"least_agreement must be between -1 and 1, got {self.least_agreement}")
        if problems:
            raise ValueError("\n".join(problems))


def default_steps(faces: int) -> int:
    """Training steps for so many training faces: 40 a hundred faces, but 600 at least and 6,000 at most.

    >>> default_steps(100), default_steps(4000)
    (600, 1600)
    """
    return min(max(600, 2 * faces // 5), 6000)
