"""The StyleGAN2 generator, as a source of feature maps (Karras et al. 2020, config F; paper section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.initial import standard_normal
from fgnet_plugin.network.sparse_last_layer import LastMap, resized_pair
from fgnet_plugin.network.stylegan2_layers import EqualizedLinear, Mapping, StyledConv, ToRGB
from fgnet_plugin.ops.modulated_conv import scale_channels
from fgnet_plugin.ops.resample import resize, upsample2


class Generator(nn.Module):
    """Style rows -> feature maps of 4, 8, … px; from these, where one asks for it, the RGB image."""

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        dim, channels = config.style_dim, config.generator_channels
        self.mapping = Mapping(dim, config.mapping_layers)
        self.constant = nn.Parameter(standard_normal(1, channels[0], 4, 4))
        layers = [StyledConv(channels[0], channels[0], 4, dim, upsample=False)]
        for inputs, outputs, size in zip(channels, channels[1:], config.map_sizes[1:], strict=False):
            layers.append(StyledConv(inputs, outputs, size, dim, upsample=True))
            layers.append(StyledConv(outputs, outputs, size, dim, upsample=False))
        self.layers = nn.ModuleList(layers)
        self.to_rgb = nn.ModuleList(ToRGB(c, dim) for c in channels)
        self.channels_last = True
        self.last_map: LastMap | None = None  # of a fused model

    def forward(self, styles: Tensor, max_size: int | None = None, fresh_noise: bool = False) -> list[Tensor]:
        """Compute the feature maps that FG-Net reads: the last layer's output at each resolution.

        Args:
            styles: [B, rows, style_dim] float32 from `mapping`; layer j reads row j, so the last row may be left out.
            max_size: resize larger maps to this side, px (bilinear, corners aligned); of a last map over four times that
                size, only the pixels that the resize reads are computed. A model fused with kernels leaves the maps that are
                computed as a whole at their size: the interpreter's kernel resizes them.
            fresh_noise: draw each layer's noise anew for each sample (training the generator), not with `max_size`.

        Returns:
            Maps [B, channels[i], 4·2^i, 4·2^i], larger ones at `max_size`.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        layers = cast(Sequence[StyledConv], self.layers)
        with torch.autocast(styles.device.type, enabled=False):
            factors = [layer.factors(styles[:, j]) for j, layer in enumerate(layers)]
        x = self.constant.to(layers[0].weight.dtype).expand(len(styles), -1, -1, -1).contiguous(memory_format=layout)
        # Each point of a resize needs 4×4 pixels of the layer before: a saving only where these are fewer than all.
        sparse = max_size is not None and layers[-1].noise.shape[-1] > 4 * max_size

        def finished(j: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
            """Run layer j, whose result is a map: the map, and times the next layer's style where one pass makes both."""
            styled = j < len(layers) - (3 if sparse else 1)  # the pair below gathers before it scales
            if styled and layers[j].kernels and not fresh_noise:
                return layers[j].with_styled(x, factors[j][1], factors[j + 1][0])
            return layers[j](x, factors[j][1], None, fresh_noise), None

        x, styled = finished(0, scale_channels(x, factors[0][0]))
        maps = [x]
        for j in range(1, len(layers), 2):
            up, conv = layers[j], layers[j + 1]
            (style, up_demodulation), (post, demodulation) = factors[j], factors[j + 1]
            # A map that was resized for the interpreter has no other reader than `up`.
            spent = not torch.is_grad_enabled() and maps[-1] is not x
            if sparse and conv is layers[-1]:
                assert max_size is not None
                demodulations = up_demodulation, demodulation
                maps.append(resized_pair(up, conv, x, style, demodulations, post, max_size, spent, self.last_map))
                break
            x = scale_channels(x, style, overwrite=spent) if styled is None else styled
            x, styled = finished(j + 1, up(x, up_demodulation, post, fresh_noise))
            resized = max_size is not None and x.shape[-1] > max_size and not conv.kernels
            maps.append(resize(x, max_size) if max_size is not None and resized else x)
        return maps

    def fuse(self, max_size: int, kernels: bool) -> None:
        """Fuse the generator, see `FGNet.fuse`; the last map is prepared for that `max_size`."""
        self.to_rgb = nn.ModuleList()
        for layer in cast(Iterable[StyledConv], self.layers):
            layer.fuse(kernels)
        for linear in cast(Iterable[EqualizedLinear], self.mapping.layers):
            linear.fuse()
        up, conv = cast(Iterable[StyledConv], self.layers[-2:])
        if conv.noise.shape[-1] > 4 * max_size:
            self.last_map = LastMap(up, conv, max_size)

    def image(self, maps: list[Tensor], styles: Tensor) -> Tensor:
        """Compute the RGB image from full-size feature maps (no `max_size`) and all their style rows.

        Returns:
            [B, 3, generator_size, generator_size], about [-1, 1].

        Raises:
            ValueError: the model was fused.
        """
        if not self.to_rgb:
            raise ValueError("the model was fused for detection and makes no image; load it again, without fuse")
        layers = [to_rgb(maps[i], styles[:, 2 * i + 1]) for i, to_rgb in enumerate(self.to_rgb)]
        with torch.autocast(styles.device.type, enabled=False):  # bfloat16 has fewer steps near ±1 than 8 bits have
            image = layers[0].to(styles.dtype)
            for layer in layers[1:]:
                image = upsample2(image) + layer
            return image
