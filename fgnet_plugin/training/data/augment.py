"""Change how training faces look and leave where everything is: what a network then reads carries over to other pictures.

Amplitude mixing: Xu et al., A Fourier-based Framework for Domain Generalization, CVPR 2021. Style mixing: Zhou et al., Domain
Generalization with MixStyle, ICLR 2021, here of the pictures themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LOW = 0.12  # frequencies below this part of the highest one are light, tint and large surfaces


def change_looks(faces: Tensor, strength: float) -> Tensor:
    """Change light, colours, sharpness and texture of faces at random; some lose a part.

    Args:
        faces: [B, 3, S, S] in [-1, 1].
        strength: in [0, 1]; 0 changes nothing.

    Returns:
        [B, 3, S, S] float32 in [-1, 1]. Random numbers are torch's, of the faces' device.

    Raises:
        ValueError: another strength.

    Example:
        >>> change_looks(torch.zeros(2, 3, 64, 64), strength=0.5).shape
        torch.Size([2, 3, 64, 64])
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in [0, 1], got {strength}")
    if strength == 0 or not len(faces):
        return faces.float()
    x = (faces.float() + 1) / 2
    x = torch.where(_some(x, 0.5 * strength), _mix_amplitudes(x), x)
    x = torch.where(_some(x, 0.5 * strength), _mix_styles(x), x)
    x = torch.where(_some(x, 0.6 * strength), _other_light(x, strength), x)
    x = torch.where(_some(x, 0.3 * strength), x.mean(1, keepdim=True).expand_as(x), x)
    x = torch.where(_some(x, 0.5 * strength), _blurred(x), x)
    x = torch.where(_some(x, 0.5 * strength), x + 0.08 * _drawn(x) * torch.randn_like(x), x)
    x = torch.where(_some(x, 0.3 * strength), _covered(x), x)
    return x.clamp(0, 1) * 2 - 1


def _drawn(x: Tensor, low: float = 0.0, high: float = 1.0, channels: int = 1) -> Tensor:
    """[B, channels, 1, 1] uniform in [low, high)."""
    return low + (high - low) * torch.rand(len(x), channels, 1, 1, device=x.device)


def _some(x: Tensor, share: float) -> Tensor:
    """[B, 1, 1, 1] bool: true for this share of the faces."""
    return _drawn(x) < share


def _mix_amplitudes(x: Tensor) -> Tensor:
    """Take a part of the low frequencies' amplitudes from another face, and keep the phases."""
    spectrum = torch.fft.rfft2(x)
    amplitude, phase = spectrum.abs(), spectrum.angle()
    size = x.shape[-1]
    rows, columns = torch.fft.fftfreq(size, device=x.device), torch.fft.rfftfreq(size, device=x.device)
    low = (rows[:, None].square() + columns.square()).sqrt() < _LOW / 2
    share = _drawn(x, 0.2, 1.0) * low
    mixed = amplitude + share * (amplitude.roll(1, 0) - amplitude)
    return torch.fft.irfft2(torch.polar(mixed, phase), s=(size, size))


def _mix_styles(x: Tensor) -> Tensor:
    """Give each colour a mean and spread between the face's and another's."""
    mean, spread = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True) + 1e-3
    share = _drawn(x)
    to_mean, to_spread = mean.lerp(mean.roll(1, 0), share), spread.lerp(spread.roll(1, 0), share)
    return (x - mean) / spread * to_spread + to_mean


def _other_light(x: Tensor, strength: float) -> Tensor:
    """Change gamma, contrast and tint, and let the light fall off to one side."""
    gamma = torch.exp(0.7 * strength * (2 * _drawn(x) - 1))
    tint = torch.exp(0.25 * strength * (2 * _drawn(x, channels=3) - 1))
    at = torch.linspace(-1, 1, x.shape[-1], device=x.device)
    angle = _drawn(x, 0, 6.2832)
    slope = 0.6 * strength * _drawn(x) * (angle.cos() * at + angle.sin() * at[:, None])
    x = x.clamp(1e-4, 1).pow(gamma) * tint * (1 + slope)
    middle = x.mean((1, 2, 3), keepdim=True)
    return (x - middle) * torch.exp(0.5 * strength * (2 * _drawn(x) - 1)) + middle


def _blurred(x: Tensor) -> Tensor:
    """Blur as a lens or a small picture does, by up to one and a half pixels at 128 px."""
    sigma = _drawn(x, 0.2, 1.5 * x.shape[-1] / 128 + 0.3).view(-1, 1)
    reach = torch.arange(-4.0, 5.0, device=x.device)
    kernel = torch.exp(-0.5 * (reach / sigma).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(x, (4, 4, 4, 4), mode="replicate").flatten(0, 1)[None]
    count = flat.shape[1]
    flat = F.conv2d(F.conv2d(flat, kernel.view(count, 1, 9, 1), groups=count), kernel.view(count, 1, 1, 9), groups=count)
    return flat.view_as(x)


def _covered(x: Tensor) -> Tensor:
    """Cover a rectangle of up to a third of each side with one colour."""
    at = torch.linspace(0, 1, x.shape[-1], device=x.device)
    middle_x, middle_y, half_x, half_y = _drawn(x), _drawn(x), _drawn(x, 0.03, 0.17), _drawn(x, 0.03, 0.17)
    inside = ((at - middle_x).abs() < half_x) & ((at[:, None] - middle_y).abs() < half_y)
    return torch.where(inside, _drawn(x, channels=3), x)
