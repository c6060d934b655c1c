"""The device of the tests in tests/gpu: an NVIDIA GPU, or what FGNET_DEVICE says; "cpu" rehearses them without one."""

import os

import pytest
import torch

DEVICE = torch.device(os.environ.get("FGNET_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"
BRIEF = not ON_GPU or os.environ.get("FGNET_BRIEF") == "1"
"""Few and small shapes: on the CPU, or under compute-sanitizer, which is tens of times slower."""
MARKS = [pytest.mark.gpu, pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="no NVIDIA GPU")]
