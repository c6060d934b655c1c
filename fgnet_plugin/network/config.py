"""Every size of the network, in one place. The defaults are those of the published checkpoints."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

ANY_AU = ("AU12",)
"""Stands for the AUs in the sizes of generators and encoders, which know none."""


def _is_power_of_two(n: int) -> bool:
    return n >= 1 and n & (n - 1) == 0


_NEWER = "geometry", "trunk_size", "geometry_alone"  # fields that files of earlier versions lack
_MOST_CHANNELS, _MOST_LAYERS = 2**16, 200


@dataclass(frozen=True)
class FGNetConfig:
    """Sizes of an FG-Net. ``FGNetConfig(aus=…)`` is the published architecture; smaller ones set the other fields.

    Raises ValueError where the sizes don't fit together.

    Example:
        >>> published = FGNetConfig(aus=("AU06", "AU10", "AU12", "AU14", "AU17"))
        >>> published.image_size, published.map_sizes
        (256, (4, 8, 16, 32, 64, 128, 256, 512, 1024))
    """

    aus: tuple[str, ...]
    """The AUs, one heatmap each, in channel order."""
    image_size: int = 256
    """Side of the aligned face that the encoder reads, px: a power of two, at least 64."""
    generator_size: int = 1024
    """Side of the image that the generator would make, px; its feature maps go from 4 px up to this."""
    generator_channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    """Channels of the feature maps of 4, 8, 16, … px: StyleGAN2's config F with channel multiplier 2."""
    style_dim: int = 512
    """Length of a latent code's row."""
    mapping_layers: int = 8
    encoder_channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels of the encoder trunk's four groups of units; the last is the feature pyramid's width too."""
    encoder_units: tuple[int, int, int, int] = (3, 4, 14, 3)
    """Bottleneck units of each group: IR-SE-50."""
    squeeze_reduction: int = 16
    """Reduction of the units' squeeze-and-excitation."""
    heatmap_size: int = 128
    """Side of the heatmaps, px."""
    dropout: float = 0.1
    """Drop probability in the interpreter while training."""
    geometry: str | None = None
    """"mesh468": the latent codes also hear what the face's mesh says (`network.geometry`). Published checkpoints have none."""
    trunk_size: int | None = None
    """Side of what the encoder's trunk sees, px, where that is less than `image_size`: averages of the face's pixels."""
    geometry_alone: float = 0.0
    """Share of the training faces of which the codes hear the mesh alone, so that pixels don't do all the work."""

    def __post_init__(self) -> None:
        if isinstance(self.aus, str):
            raise ValueError(f'aus must be a sequence of names, got the single name "{self.aus}"')
        for field in ("aus", "generator_channels", "encoder_channels", "encoder_units"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if not self.aus or len(set(self.aus)) != len(self.aus):
            raise ValueError(f"aus must name at least one AU and none twice, got {self.aus}")
        if not all(isinstance(au, str) for au in self.aus):
            raise ValueError(f'aus must be names such as "AU12", got {self.aus}')
        channels = (self.style_dim, self.squeeze_reduction, *self.generator_channels, *self.encoder_channels)
        layers = (self.mapping_layers, *self.encoder_units)
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in (*channels, *layers)):
            raise ValueError("numbers of channels, layers and units must be whole numbers")
        if min(*channels, *layers) < 1:
            raise ValueError("numbers of channels, layers and units must be at least 1")
        if max(channels) > _MOST_CHANNELS or max(layers) > _MOST_LAYERS:  # of a damaged file: building it would take hours
            raise ValueError(f"there may be at most {_MOST_CHANNELS} channels, and {_MOST_LAYERS} layers or units in a group")
        for field, least in (("image_size", 64), ("generator_size", 64), ("heatmap_size", 8)):
            size = getattr(self, field)
            if not _is_power_of_two(size) or size < least:
                raise ValueError(f"{field} must be a power of two of at least {least}, got {size}")
        if self.heatmap_size > self.generator_size:
            raise ValueError(f"heatmap_size {self.heatmap_size} exceeds generator_size {self.generator_size}")
        if len(self.generator_channels) != self.n_maps:
            raise ValueError(
                f"a generator of {self.generator_size} px has {self.n_maps} resolutions, "
                f"but generator_channels lists {len(self.generator_channels)}"
            )
        if len(self.encoder_channels) != 4 or len(self.encoder_units) != 4:
            raise ValueError("encoder_channels and encoder_units must have four entries each")
        if min(self.encoder_channels) < self.squeeze_reduction:
            raise ValueError(f"encoder_channels must be at least squeeze_reduction = {self.squeeze_reduction}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.geometry not in (None, "mesh468"):
            raise ValueError(f'geometry must be "mesh468", or none, got {self.geometry!r}')
        if not 0 <= self.geometry_alone < 1 or (self.geometry_alone and not self.geometry):
            raise ValueError(f"geometry_alone must be in [0, 1), and 0 without geometry, got {self.geometry_alone}")
        if self.trunk_size is not None and not (_is_power_of_two(self.trunk_size) and 64 <= self.trunk_size < self.image_size):
            raise ValueError(
                f"trunk_size must be a power of two of at least 64 and less than image_size {self.image_size}, "
                f"got {self.trunk_size}"
            )

    @property
    def n_maps(self) -> int:
        """Number of feature maps that the generator hands to the interpreter: one a resolution."""
        return int(math.log2(self.generator_size)) - 1

    @property
    def n_layers(self) -> int:
        """Number of styled convolutions: one at 4 px and two at each later resolution. Layer j is styled by row j."""
        return 2 * self.n_maps - 1

    @property
    def n_styles(self) -> int:
        """Number of rows of a latent code: one a styled convolution, and one for the last ToRGB layer."""
        return 2 * self.n_maps

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """Sides of the feature maps, px: 4, 8, …, generator_size."""
        return tuple(4 * 2**i for i in range(self.n_maps))

    def to_json(self) -> str:
        """Write the config as JSON text, for a checkpoint: without what it does not use and earlier versions lack."""
        fields = dataclasses.asdict(self)
        newer = {field.name: field.default for field in dataclasses.fields(self) if field.name in _NEWER}
        return json.dumps({name: value for name, value in fields.items() if name not in newer or value != newer[name]})

    @classmethod
    def from_json(cls, text: str) -> FGNetConfig:
        """Read a config that `to_json` wrote. Raises ValueError where the text is no config."""
        try:
            fields = json.loads(text)
            return cls(**fields)
        except TypeError as error:  # unknown or missing fields, or not a mapping
            raise ValueError(f"not an FG-Net config: {error}") from error


def small_config(aus: Sequence[str], size: int = 64, width: int = 128) -> FGNetConfig:
    """Describe a small FG-Net: `size` px faces, generator and heatmaps (these up to 64 px), `width` channels at most.

    ``small_config(aus, 64, 128)`` has about 5 M parameters, the published architecture 327 M.

    Example:
        >>> config = small_config(("AU06", "AU12"), size=128, width=64)
        >>> config.image_size, config.heatmap_size, config.encoder_channels
        (128, 64, (16, 16, 32, 64))
    """
    n_maps = int(math.log2(size)) - 1
    return FGNetConfig(
        aus=tuple(aus),
        image_size=size,
        generator_size=size,
        generator_channels=tuple(max(16, min(width, width * 32 // 4 // 2**i)) for i in range(n_maps)),
        style_dim=width,
        mapping_layers=4,
        encoder_channels=(max(16, width // 8), max(16, width // 4), max(16, width // 2), width),
        encoder_units=(2, 2, 4, 2),
        squeeze_reduction=16,
        heatmap_size=min(size, 64),
    )
