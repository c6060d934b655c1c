"""The pSp encoder: an aligned face -> one latent code row a generator layer (paper section 3.1; Richardson et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgnet_plugin.network.config import FGNetConfig
from fgnet_plugin.network.fold_batchnorm import affine, fold
from fgnet_plugin.network.geometry import Geometry
from fgnet_plugin.network.initial import standard_normal
from fgnet_plugin.ops.antialias import averaged
from fgnet_plugin.ops.gate_add_norm import gate_add_norm, prelu_norm
from fgnet_plugin.ops.grouped_conv import grouped_conv2d

COARSE_ROWS, MIDDLE_ROWS = 3, 4
"""Rows of the latent code that the coarsest and the middle level of the feature pyramid write; the finest writes the rest."""


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return x * self.gates(x)

    def gates(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 1, 1]."""
        mean = F.adaptive_avg_pool2d(x, 1)
        # For a single small sample torch's CPU path takes another matrix product than for a batch, which rounds
        # differently, and 24 gates in a row amplify that: two copies keep a face's result independent of its batch.
        alone = len(mean) == 1 and mean.device.type == "cpu"
        gate = torch.cat([mean, mean]) if alone else mean
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(gate))))
        return gate[:1] if alone else gate


class Bottleneck(nn.Module):
    """One IR-SE unit: two 3×3 convolutions and squeeze-and-excitation, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.stride, self.fused = stride, False
        self.norm1: nn.Module = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.act = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.norm2: nn.Module = nn.BatchNorm2d(outputs)
        self.gate = SqueezeExcitation(outputs, reduction)
        self.shortcut: nn.Sequential | None = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        shortcut, out = self.beside(x), self.convolved(self.norm1(x))
        if self.fused:
            return torch.addcmul(shortcut, out, self.gate.gates(out))  # one pass over the map instead of two
        return self.gate(out) + shortcut

    def beside(self, x: Tensor) -> Tensor:
        """Compute the shortcut: [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        return self.shortcut(x) if self.shortcut is not None else x[:, :, :: self.stride, :: self.stride]

    def convolved(self, normalised: Tensor) -> Tensor:
        """Compute what the gates scale: [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        return self.norm2(self.conv2(self.act(self.conv1(normalised))))

    def fuse(self) -> None:
        """Fuse the unit, see `FGNet.fuse`.

        Not the first BatchNorm: its shift does not reach the zeros around the map, and TF32 rounds a centred map more finely.
        """
        assert isinstance(self.norm2, nn.BatchNorm2d)
        fold(self.conv2, self.norm2)
        self.norm2, self.fused = nn.Identity(), True
        if self.shortcut is not None:
            _fold_second_into_first(self.shortcut)


class FusedTrunk(nn.Module):
    """Stem and units for detection by the kernels: a unit's last pass also writes the next unit's input, normalised."""

    def __init__(self, stem: nn.Sequential, groups: Iterable[nn.Module]) -> None:
        super().__init__()
        conv, _, act = stem  # its BatchNorm is folded
        assert isinstance(act, nn.PReLU)
        self.stem, self.slope = conv, act.weight
        self.units, self.last = nn.ModuleList(), set[int]()
        for group in groups:
            self.units.extend(cast(nn.Sequential, group))
            self.last.add(len(self.units) - 1)  # of the group
        for i, unit in enumerate(cast(Iterable[Bottleneck], self.units)):
            for name, value in zip(("scale", "shift"), affine(cast(nn.BatchNorm2d, unit.norm1)), strict=True):
                self.register_buffer(f"{name}_{i}", value)
            unit.norm1 = nn.Identity()

    def forward(self, faces: Tensor) -> list[Tensor]:
        """[B, 3, S, S] -> the result of each group."""
        units, levels = cast(Sequence[Bottleneck], self.units), []
        x, normalised = prelu_norm(self.stem(faces), self.slope, *self._affine(0), units[0].stride, kernels=True)
        for i, unit in enumerate(units):
            shortcut = unit.beside(x) if i else x  # the stem's pass left out what the first unit's shortcut skips
            out = unit.convolved(normalised)
            gates = unit.gate.gates(out)
            if i + 1 < len(units):
                x, normalised = gate_add_norm(out, gates.flatten(1), shortcut, *self._affine(i + 1), kernels=True)
            else:
                x = torch.addcmul(shortcut, out, gates)
            if i in self.last:
                levels.append(x)
        return levels

    def _affine(self, unit: int) -> tuple[Tensor, Tensor]:
        """Return scale and shift of a unit's first BatchNorm."""
        return self.get_buffer(f"scale_{unit}"), self.get_buffer(f"shift_{unit}")


class StyleHeads(nn.Module):
    """All the style heads of one pyramid level: stride-2 convolutions down to one pixel, then a linear layer, for each row.

    The heads share their input, so their first convolutions are one convolution; after it they run side by side.
    """

    def __init__(self, rows: int, size: int, inputs: int, style_dim: int) -> None:
        super().__init__()
        self.rows, self.style_dim = rows, style_dim
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for step in range(int(math.log2(size))):
            fan_in = (inputs if step == 0 else style_dim) * 9
            bound = 1 / math.sqrt(fan_in)  # torch's default for convolutions
            self.weights.append(nn.Parameter(torch.empty(rows * style_dim, fan_in // 9, 3, 3).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(rows * style_dim).uniform_(-bound, bound)))
        self.linear = nn.Parameter(standard_normal(rows, style_dim, style_dim))  # equalised: used × 1/√style_dim
        self.linear_bias = nn.Parameter(torch.zeros(rows, style_dim))
        self.divisor = math.sqrt(style_dim)

    def forward(self, x: Tensor, rows: int | None = None) -> Tensor:
        """[B, C, size, size] -> the first `rows` (default: all) rows of this level, [B, rows, style_dim]."""
        rows = self.rows if rows is None else rows
        for step, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            n = rows * self.style_dim
            x = grouped_conv2d(x, weight[:n], bias[:n], groups=1 if step == 0 else rows)
            x = F.leaky_relu(x, 0.01, inplace=not x.requires_grad)
        codes = x.reshape(len(x), rows, self.style_dim).transpose(0, 1)  # [rows, B, style_dim]
        linear = self.linear[:rows].transpose(1, 2)
        linear = linear if self.divisor == 1 else linear / self.divisor
        return torch.baddbmm(self.linear_bias[:rows, None], codes, linear).transpose(0, 1)

    def fuse(self) -> None:
        """Fuse the heads, see `FGNet.fuse`."""
        self.linear.data /= self.divisor
        self.divisor = 1.0


class Encoder(nn.Module):
    """Faces -> latent codes. `latent_average`, from pSp's file, is added to what the heads say."""

    latent_average: Tensor  # [n_styles, style_dim]

    def __init__(self, config: FGNetConfig) -> None:
        super().__init__()
        widths, self.channels_last = config.encoder_channels, False
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
        self.groups = nn.ModuleList()  # of units: halving the size once each
        inputs = widths[0]
        for width, units in zip(widths, config.encoder_units, strict=True):
            group = [Bottleneck(inputs, width, 2, config.squeeze_reduction)]
            group += [Bottleneck(width, width, 1, config.squeeze_reduction) for _ in range(units - 1)]
            self.groups.append(nn.Sequential(*group))
            inputs = width
        self.lateral_middle = nn.Conv2d(widths[2], widths[3], 1)
        self.lateral_fine = nn.Conv2d(widths[1], widths[3], 1)
        fine_rows, size = config.n_styles - COARSE_ROWS - MIDDLE_ROWS, config.trunk_size or config.image_size
        self.coarse = StyleHeads(COARSE_ROWS, size // 16, widths[3], config.style_dim)
        self.middle = StyleHeads(MIDDLE_ROWS, size // 8, widths[3], config.style_dim)
        self.fine = StyleHeads(fine_rows, size // 4, widths[3], config.style_dim)
        self.register_buffer("latent_average", torch.zeros(config.n_styles, config.style_dim))
        self.trunk: FusedTrunk | None = None  # of a model fused with kernels
        self.shrink = config.image_size // size
        self.geometry: Geometry | None = None
        self.geometry_alone = config.geometry_alone
        if config.geometry:
            self.geometry = Geometry(config.image_size, config.n_styles, config.style_dim)

    def fuse(self, kernels: bool) -> None:
        """Fuse the encoder, see `FGNet.fuse`."""
        _fold_second_into_first(self.stem)
        for module in self.modules():
            if isinstance(module, (Bottleneck, StyleHeads)):
                module.fuse()
        if kernels:
            self.trunk = FusedTrunk(self.stem, self.groups)
            self.stem, self.groups = nn.Sequential(), nn.ModuleList()

    def forward(self, faces: Tensor, rows: int | None = None) -> Tensor:
        """Compute the latent codes of aligned faces.

        Args:
            faces: [B, 3, S, S] in [-1, 1].
            rows: compute only the first so many rows; detection never reads the last one, which styles only an RGB layer.

        Returns:
            [B, rows (default n_styles), style_dim], `latent_average` added, of the dtype of `latent_average`.
        """
        rows = self.latent_average.shape[0] if rows is None else rows
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        small = averaged(faces, self.shrink) if self.shrink > 1 else faces
        levels = self._levels(small.to(self.latent_average.dtype).contiguous(memory_format=layout))
        dtype = self.lateral_fine.weight.dtype
        c1, c2, c3 = (c.to(dtype, memory_format=torch.channels_last) for c in levels[1:])  # image_size / 4, / 8, / 16
        p2 = _upsample_add(c3, self.lateral_middle(c2))
        p1 = _upsample_add(p2, self.lateral_fine(c1))
        parts = [self.coarse(c3), self.middle(p2), self.fine(p1, rows - COARSE_ROWS - MIDDLE_ROWS)]
        codes = torch.cat(parts, dim=1).to(self.latent_average.dtype)
        if self.geometry is not None:
            if self.training and self.geometry_alone:
                heard = torch.rand(len(codes), 1, 1, device=codes.device) >= self.geometry_alone
                codes = codes * heard
            codes = codes + self.geometry(faces, rows).to(codes.dtype)
        return codes + self.latent_average[:rows]

    def _levels(self, faces: Tensor) -> list[Tensor]:
        """Compute the result of each group of units."""
        if self.trunk is not None:
            return self.trunk(faces)
        x, levels = self.stem(faces), []
        for group in self.groups:
            x = group(x)
            levels.append(x)
        return levels


def _upsample_add(x: Tensor, lateral: Tensor) -> Tensor:
    return F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=True) + lateral


def _fold_second_into_first(layers: nn.Sequential) -> None:
    """Fold the BatchNorm after a convolution into it."""
    conv, norm = layers[0], layers[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    fold(conv, norm)
    layers[1] = nn.Identity()
