"""The count of FLOP, bytes and launches that ``make gpu`` prints beside its times; needs no GPU."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from torch.utils.flop_counter import FlopCounterMode

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from gpu_count import Chip, bounds, count

from fgnet_plugin.network import FGNet


def test_arithmetic_is_what_torch_counts() -> None:
    net = FGNet(SMALL).eval().prepare(device="cuda")
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        net(torch.zeros(2, 3, 64, 64))
    found = count(2, "float32", fused=False, config=SMALL)
    # On a CPU some layers are computed in another way.
    assert sum(operation.flop for operation in found) == pytest.approx(counted.get_total_flops(), rel=0.05)
    assert {operation.part for operation in found} == {"encoder", "mapping", "generator", "interpreter", "decode"}


def test_counts_of_the_published_network() -> None:
    """As docs/performance.md has them. A change of them is a change of speed."""
    operations = count(32)
    gflop = {part: sum(o.flop for o in operations if o.part == part) / 32e9 for part in ("encoder", "generator", "interpreter")}
    assert gflop == pytest.approx({"encoder": 138.5, "generator": 143.8, "interpreter": 81.1}, abs=0.1)
    ours = {
        "noise_bias_act": 9,
        "noise_act_styled": 7,
        "gate_add_norm": 23,
        "prelu_norm": 1,
        "blur_noise_act": 7,
        "relu_norm_add": 5,
        "taps_relu_norm_add": 4,
    }
    ours |= {"gather_patches": 4, "decode_heatmaps": 1}
    assert Counter(o.name for o in operations if o.name in ours) == ours
    assert len(operations) <= 516
    assert sum(o.bytes for o in operations) < 61.3e9


def test_the_bound_is_the_slowest_of_three() -> None:
    (operation,) = (o for o in count(1, "float32", config=SMALL) if o.part == "decode" and o.name == "decode_heatmaps")
    assert operation.bytes == 3 * 16 * 16 * 4 * 2 + 3 * 4
    assert operation.seconds(Chip(memory=1e3, launch=0)) == operation.bytes / 1e3
    assert bounds([operation, operation], Chip(launch=5.0)) == {"decode": 10.0}
