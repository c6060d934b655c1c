"""Filters as products with banded matrices: precision on a CUDA device, copies."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fgnet_plugin.ops import antialias


class Products(TorchDispatchMode):
    """Notes where, and in which dtype, matrices are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.products: set[tuple[str, torch.dtype]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm"):
            self.products.add((result.device.type, result.dtype))
        return result


@pytest.mark.parametrize(("device", "dtype"), [("cuda", torch.float64), ("cpu", torch.float32)])
def test_pixels_are_not_filtered_in_tf32(device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which a program may have chosen for products in float32, with ``torch.set_float32_matmul_precision("high")``."""
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(antialias, "to_device", lambda tensor, device: torch.empty_like(tensor, device=device))
    with FakeTensorMode(allow_non_fake_inputs=True):
        picture = torch.empty(3, 90, 80, dtype=torch.uint8, device=device)
        with Products() as noted:
            rows, columns = (antialias.lanczos.__wrapped__(size, 40, 0, 40) for size in (90, 80))
            reduced = antialias.reduced(picture, rows, columns)
    assert (reduced.shape, reduced.dtype) == ((3, 40, 40), torch.float32)
    assert noted.products == {(device, dtype)}


def test_a_filter_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    monkeypatch.setattr(antialias, "to_device", lambda tensor, device: copies.append(tensor.shape) or tensor.to(device))
    bands = antialias.gaussian.__wrapped__(50, 1.5)
    expected = antialias.reduced(torch.rand(3, 50, 50), bands, bands)
    assert len(copies) == len(bands.bands)
    with torch.inference_mode():
        assert antialias.reduced(torch.rand(3, 50, 50), bands, bands).shape == expected.shape
    assert len(copies) == len(bands.bands)
