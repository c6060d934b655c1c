"""Kinds of rendered corpora: who is in front of the camera, in what light, and what the camera does to the picture."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """Ranges that a corpus' faces are drawn from. Expressions are the same in every domain.

    Example:
        >>> {name: of.grey for name, of in DOMAINS.items()}  # shares of pictures without colour
        {'studio': 0.1, 'webcam': 0.12, 'street': 0.2, 'film': 1.0, 'press': 0.8}
    """

    name: str
    about: str
    spread: Range = (0.8, 1.2)
    """How far shapes are from the mean face; 1 is the standard."""
    skin: Range = (0.0, 1.0)
    """Skin tones, 0 darkest, 1 lightest."""
    furrows: Range = (0.6, 1.4)
    """Depth of wrinkles and folds."""
    yaw: float = 0.22
    pitch: float = 0.15
    roll: float = 0.10
    """Standard deviations of the head's pose, rad."""
    distance: Range = (500.0, 1800.0)
    """From the camera, units of 0.78 mm."""
    key: Range = (0.4, 1.3)
    """Strength of the main light against the surroundings' light."""
    key_turn: float = 0.9
    """Standard deviation of the main light's direction from the camera's, rad."""
    colour_cast: float = 0.08
    """Standard deviation of the light's and the white balance's tint."""
    plain_background: float = 0.5
    """Share of faces before a plain or smooth background; the others stand before noise or photographs."""
    blur: Range = (0.0, 1.0)
    """Blur of the lens, px at 128 px."""
    noise: Range = (0.0, 0.03)
    """Standard deviation of the sensor's noise; white is 1."""
    jpeg: Range = (40.0, 98.0)
    grey: float = 0.15
    """Share of pictures without colour."""
    low_resolution: float = 0.2
    """Share of pictures that were taken smaller and enlarged."""
    glasses: float = 0.15
    occluders: float = 0.05
    """Share of faces with glasses, and with something before the face."""
    headwear: float = 0.08
    """Share of rendered heads with a cap, a hat, a band or a scarf."""
    tight: float = 0.2
    """Share of rendered heads whose photo is cut close to the face."""
    contrast: Range = (0.75, 1.3)
    brightness: Range = (-0.35, 0.35)
    """Exposure, stops in natural logarithm."""


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            "studio",
            "soft, even light, plain backgrounds, a sharp camera, heads nearly frontal",
            yaw=0.14,
            pitch=0.10,
            roll=0.06,
            distance=(900.0, 2200.0),
            key=(0.3, 0.9),
            key_turn=0.6,
            colour_cast=0.04,
            plain_background=0.85,
            blur=(0.0, 0.7),
            noise=(0.0, 0.015),
            jpeg=(70.0, 99.0),
            grey=0.1,
            low_resolution=0.05,
            glasses=0.10,
            occluders=0.02,
        ),
        Domain(
            "webcam",
            "near cameras, mixed light, rooms behind, noise and compression, heads that move",
            spread=(0.8, 1.4),
            yaw=0.26,
            pitch=0.18,
            roll=0.14,
            distance=(420.0, 1100.0),
            key=(0.3, 1.6),
            key_turn=1.1,
            colour_cast=0.14,
            plain_background=0.3,
            blur=(0.2, 1.5),
            noise=(0.005, 0.05),
            jpeg=(25.0, 90.0),
            grey=0.12,
            low_resolution=0.4,
            glasses=0.22,
            occluders=0.06,
        ),
        Domain(
            "street",
            "sun and shade, busy backgrounds, any camera, faces farther from the mean",
            spread=(1.0, 1.6),
            furrows=(0.4, 1.8),
            yaw=0.24,
            pitch=0.15,
            roll=0.10,
            distance=(700.0, 3000.0),
            key=(0.6, 2.2),
            key_turn=1.0,
            colour_cast=0.10,
            plain_background=0.15,
            blur=(0.0, 1.2),
            noise=(0.0, 0.03),
            jpeg=(45.0, 97.0),
            grey=0.2,
            low_resolution=0.2,
            glasses=0.18,
            occluders=0.06,
            contrast=(0.7, 1.5),
            brightness=(-0.5, 0.5),
        ),
        Domain(
            "film",
            "held out: black and white, hard light from one side, grain, a soft lens",
            spread=(0.9, 1.5),
            furrows=(0.5, 1.5),
            yaw=0.2,
            pitch=0.14,
            distance=(800.0, 2600.0),
            key=(1.4, 2.6),
            key_turn=1.2,
            plain_background=0.4,
            blur=(0.5, 1.5),
            noise=(0.02, 0.06),
            jpeg=(60.0, 95.0),
            grey=1.0,
            low_resolution=0.1,
            glasses=0.12,
            occluders=0.03,
            contrast=(1.1, 1.7),
        ),
        Domain(
            "press",
            "newspaper photos: mostly grey, sharp, lit by flash or hall, cut to the face, hats and hands",
            spread=(0.9, 1.4),
            furrows=(0.7, 1.6),
            yaw=0.24,
            pitch=0.14,
            roll=0.12,
            distance=(900.0, 4000.0),
            key=(0.4, 1.5),
            key_turn=0.7,
            plain_background=0.3,
            blur=(0.0, 0.9),
            noise=(0.0, 0.012),
            jpeg=(45.0, 97.0),
            grey=0.8,
            low_resolution=0.25,
            glasses=0.15,
            occluders=0.1,
            headwear=0.15,
            tight=0.85,
            contrast=(0.95, 1.5),
            brightness=(-0.15, 0.6),
        ),
    )
}
"""The rendered corpora by name. `film` is kept out of training the bundled checkpoint, and tests it."""


def domain(name: str) -> Domain:
    """A domain by name. Raises ValueError for an unknown one."""
    if name not in DOMAINS:
        raise ValueError(f"unknown rendered corpus {name!r}; there are {', '.join(DOMAINS)}")
    return DOMAINS[name]
