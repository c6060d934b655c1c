"""Initial values of parameters."""

from __future__ import annotations

import torch
from torch import Tensor


def standard_normal(*shape: int, divisor: float = 1.0) -> Tensor:
    """Draw N(0, 1), as torch.randn, and divide; on the meta device, where a checkpoint's network is built, only the shape.

    There, torch.randn and division would import torch's compiler and symbolic mathematics, which takes a second or two.

    Example:
        >>> with torch.device("meta"):
        ...     standard_normal(2, 3).shape
        torch.Size([2, 3])
    """
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_().div_(divisor)
