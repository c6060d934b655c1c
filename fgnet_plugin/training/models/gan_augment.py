"""Augmentations that a discriminator sees pictures through without the generator learning them (Karras et al. 2020).

The paper is "Training generative adversarial networks with limited data", appendix B; these are its pixel blitting, general
geometric and colour transformations ("bgc"). Here all geometric ones are one map, and all colour ones one matrix for each
picture; kornia's ready-made augmentations resample for each operation anew, without antialiasing, turn hues in HSV, and can be
differentiated twice only where torch's `grid_sample` can.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fgnet_plugin.training.collectives import summed
from fgnet_plugin.training.config.pretraining import Ada
from fgnet_plugin.training.models.warp import mirrored, warp

SHIFT = 0.125
"""Of pictures' sides: the most that whole pixels are moved, and the standard deviation of other moves."""
SCALE, BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.2, 0.5, 1.0
"""Standard deviations: of brightness in pixels of [-1, 1], of the others in powers of two."""


class AdaptiveAugmentation(nn.Module):
    """Augments with a probability that follows how far the discriminator overfits.

    It overfits as far as the mean sign of its logits of real pictures is above 0 (r_t in the paper): at 1 it tells all of them
    from generated ones. Above the target the probability p rises, below it falls.

    Args:
        settings: target and speed.
        batch: pictures in a step, of all processes together.
    """

    p: Tensor
    """Probability of each transformation, a scalar."""
    overfitting: Tensor
    """r_t of the last change of p, a scalar."""
    signs: Tensor
    """[2]: sum and number of the signs since then, of all processes."""

    def __init__(self, settings: Ada, batch: int) -> None:
        super().__init__()
        self.settings, self.batch = settings, batch
        for name, size in (("p", ()), ("overfitting", ()), ("signs", (2,))):
            self.register_buffer(name, torch.zeros(size))

    def forward(self, images: Tensor) -> Tensor:
        """`augment` at the present p."""
        return augment(images, float(self.p))

    @torch.no_grad()
    def adapt(self, logits: Tensor, step: int) -> None:
        """Counts the logits [B] of this process' real pictures in a step, and after every so many steps moves p."""
        signs = logits.float().sign()
        self.signs += summed(torch.stack([signs.sum(), signs.new_tensor(float(len(signs)))]))
        if (step + 1) % self.settings.every:
            return
        self.overfitting.copy_(self.signs[0] / self.signs[1])
        change = (self.overfitting - self.settings.target).sign() * self.batch * self.settings.every / self.settings.images
        self.p.copy_((self.p + change).clamp(0, self.settings.limit))
        self.signs.zero_()


def augment(images: Tensor, p: float) -> Tensor:
    """Transform each picture at random: each of the transformations with probability `p`, by torch's own random numbers.

    Args:
        images: [B, 3, S, S], in about [-1, 1].
        p: in [0, 1]; at 0 the pictures come back as they are. A picture that no transformation falls to is left as it is.

    Returns:
        [B, 3, S, S] float32 or float64; can be differentiated by `images` any number of times.
    """
    if p <= 0:
        return images
    with torch.autocast(images.device.type, enabled=False):
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        return recolour(move(blit(images, p), p), p)


def blit(images: Tensor, p: float) -> Tensor:
    """Mirror, turn by right angles and move by whole pixels, with probability `p` each; pixels keep their values.

    A picture that is to be mirrored is so with probability 1/2, one that is to be turned goes by 0, 1, 2 or 3 right angles.
    """
    batch, channels, size, _ = images.shape
    mirror = _maybe(_whole(images, 2), 0, p)
    turns = _maybe(_whole(images, 4), 0, p)
    shift = (torch.rand(batch, 2, device=images.device) * 2 - 1) * SHIFT * size
    shift = torch.where(_chosen(images, p)[:, None], shift.round().long(), 0)
    line = torch.arange(size, device=images.device)
    y = mirrored(line[:, None] - shift[:, :1, None], size).expand(-1, size, size)
    x = mirrored(line - shift[:, 1:, None], size).expand(-1, size, size)
    mirror, turns = mirror[:, None, None], turns[:, None, None]
    y, x = torch.where(turns % 2 == 1, x, y), torch.where(turns % 2 == 1, size - 1 - y, x)
    y, x = torch.where(turns >= 2, size - 1 - y, y), torch.where((turns >= 2) ^ (mirror == 1), size - 1 - x, x)
    places = (y * size + x).flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(images.shape)


def move(images: Tensor, p: float) -> Tensor:
    """Scale, turn, stretch and move pictures, with probability `p` each, by one antialiased map (`warp`)."""
    # Two turns, before and after the stretch, of which one falls to a picture with probability p.
    either = 1 - math.sqrt(1 - p)
    scale = _maybe(_power(images, SCALE), 1.0, p)
    before, after = (_maybe(_angle(images), 0.0, either) for _ in range(2))
    stretch = _maybe(_power(images, SCALE), 1.0, p)
    maps = _diagonal(scale, scale) @ _turn(before) @ _diagonal(stretch, 1 / stretch) @ _turn(after)
    shift = torch.randn(len(images), 2, device=images.device) * SHIFT * 2  # of a side that is 2 long
    shift = torch.where(_chosen(images, p)[:, None], shift, 0.0)
    maps = torch.cat([maps, maps @ shift[:, :, None]], 2)
    still = (maps == torch.eye(2, 3, device=maps.device)).flatten(1).all(1)
    return torch.where(still[:, None, None, None], images, warp(images, maps))


def recolour(images: Tensor, p: float) -> Tensor:
    """Change brightness and contrast, invert the luma, turn the hue, change the saturation, with probability `p` each."""
    brightness = _maybe(torch.randn(len(images), device=images.device) * BRIGHTNESS, 0.0, p)[:, None, None]
    contrast = _maybe(_power(images, CONTRAST), 1.0, p)[:, None, None]
    inverted = _maybe(_whole(images, 2), 0, p)[:, None, None]
    hue = _maybe(_angle(images), 0.0, p)[:, None, None]
    saturation = _maybe(_power(images, SATURATION), 1.0, p)[:, None, None]
    # Grey is the axis (1, 1, 1): `luma` projects on it, `around` is the cross product with its direction.
    same, luma = torch.eye(3, device=images.device), torch.full((3, 3), 1 / 3, device=images.device)
    around = (same.roll(1, 0) - same.roll(-1, 0)) / math.sqrt(3)
    colours = (same - 2 * luma * inverted) * contrast
    colours = (hue.cos() * same + (1 - hue.cos()) * luma + hue.sin() * around) @ colours
    colours = (saturation * same + (1 - saturation) * luma) @ colours
    still = ((colours == same) & (brightness == 0)).flatten(1).all(1)
    changed = torch.einsum("bij,bjhw->bihw", colours.to(images.dtype), images + brightness[..., None].to(images.dtype))
    return torch.where(still[:, None, None, None], images, changed)


def _chosen(images: Tensor, p: float) -> Tensor:
    """[B], true with probability p."""
    return torch.rand(len(images), device=images.device) < p


def _maybe(values: Tensor, neutral: float, p: float) -> Tensor:
    """Each of the values with probability p, otherwise what changes nothing."""
    return torch.where(_chosen(values, p), values, neutral)


def _whole(images: Tensor, count: int) -> Tensor:
    """[B] of 0, …, count - 1."""
    return torch.randint(count, (len(images),), device=images.device)


def _power(images: Tensor, spread: float) -> Tensor:
    """[B] of 2 to the power of a normal number."""
    return torch.exp2(torch.randn(len(images), device=images.device) * spread)


def _angle(images: Tensor) -> Tensor:
    """[B] of angles from -π to π."""
    return (torch.rand(len(images), device=images.device) * 2 - 1) * math.pi


def _diagonal(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y], 1))


def _turn(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
