"""Kernels loaded and launched as on a GPU, in processes that have a stand-in for NVIDIA's driver (stand_in_driver.py)."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import cuda_on_cpu
import pytest
import stand_in_driver
import torch
from torch import Tensor

import fgnet_plugin.network
import fgnet_plugin.ops.ffhq_crop  # noqa: F401 (both register operations)
from fgnet_plugin.ops import dispatch, nvrtc

pytest.importorskip("cuda.core", reason="cuda-core is there on Linux and Windows only")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is a Linux library")

TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # of the largest value
OUT_OF_MEMORY, NO_DEVICE, ILLEGAL_ADDRESS, LAUNCH_FAILED = 2, 100, 700, 719


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The driver, and the kernels compiled for the CPU."""
    return [
        str(path)
        for path in (stand_in_driver.build(tmp_path_factory.mktemp("driver")), *map(cuda_on_cpu.library, nvrtc.KERNELS))
    ]


def started(scenario: str, libraries: list[str], home: Path) -> subprocess.Popen[str]:
    """A process in which a function of this module meets the stand-in."""
    folders = [str(Path(__file__).parents[1] / name) for name in ("ops", "helpers")]
    code = f"import sys; sys.path[:0] = {folders}; import test_launch; test_launch.run({scenario!r}, {libraries})"
    env = {**os.environ, "FGNET_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    env.pop("FGNET_KERNELS", None)
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict[str, object]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out)


def run(scenario: str, libraries: list[str]) -> None:
    """In the process: prints what a scenario returns."""
    driver, *programs = map(Path, libraries)
    print(json.dumps(globals()[scenario](stand_in_driver.StandInDriver(driver, programs))))


def operands(dtype: torch.dtype) -> dict[str, tuple[object, ...]]:
    """For each operation."""
    torch.manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return dispatch.channels_last(torch.randn(shape).to(dtype))

    both, plane, vector = torch.rand(2, 48) + 0.5, torch.randn(9, 9), torch.randn(48)
    of_channels = (torch.randn(8), torch.randn(8), torch.randn(8))
    index = torch.tensor([0, -1, 8, 3, 3, 7, -1], dtype=torch.int32)
    picture = torch.randint(0, 256, (3, 120, 141), dtype=torch.uint8)
    square = torch.tensor([[[70.0, 60.0], [19.0, 17.0], [-17.0, 19.0]]] * 2, dtype=torch.float64)
    return {
        "noise_bias_act": (drawn(2, 48, 9, 9), both, plane, vector, both, plane),
        "blur_noise_act": (drawn(2, 48, 10, 10), both, plane, vector, None),
        "noise_act_styled": (drawn(2, 48, 9, 9), both, plane, vector, both),
        "gate_add_norm": (drawn(2, 48, 9, 9), both, drawn(2, 48, 9, 9), vector, vector),
        "prelu_norm": (drawn(2, 48, 9, 9), vector, vector, vector, 2),
        "relu_norm_add": (drawn(2, 48, 9, 9), vector, vector, vector, drawn(2, 48, 17, 17)),
        "taps_relu_norm_add": (drawn(2, 200, 5, 5), *of_channels, drawn(2, 8, 10, 10)),
        "decode_heatmaps": (drawn(2, 12, 17, 17),),
        "gather_patches": (drawn(2, 48, 9, 9), index, index[:5], both),
        "ffhq_crop": ([picture, picture[:, 3:]], square, 2, 24, dtype, True),
    }


def worst(found: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> float:
    """The largest deviation, as a share of the largest value."""
    pairs = zip(*((value if isinstance(value, tuple) else (value,)) for value in (found, expected)), strict=True)
    return max(float((f.double() - e.double()).abs().max() / e.double().abs().max()) for f, e in pairs)


def every_operation(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    """Launched on the stand-in, beside its definition."""
    assert dispatch.choose(torch.device("cuda", 0), torch.float32)
    found = {}
    for dtype in TOLERANCE:
        for name, given in operands(dtype).items():
            found[f"{name} {dtype}"] = worst(dispatch.on_cuda_devices[name](*given), getattr(torch.ops.fgnet, name)(*given))
    launches = driver.launches()
    return {
        "deviations": found,
        "kernels": [launch.kernel.decode() for launch in launches],
        "streams": sorted({launch.stream for launch in launches}),
        "shared": sorted({launch.shared_bytes for launch in launches}),
        "block": list(launches[0].block),
        "grid": list(launches[0].grid),
    }


def chosen(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    """What becomes of a model that is to be fused."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        choices = [dispatch.choose(torch.device("cuda", 0), torch.float32) for _ in range(2)]
    return {"choices": choices, "warnings": [str(warning.message) for warning in warned]}


def without_a_device(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    driver.fail("cuInit", NO_DEVICE)
    return chosen(driver)


def with_an_old_driver(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    driver.driver_version(11000)
    driver.fail("cuLibraryLoadData", 209)  # no binary for the device
    return chosen(driver)


def with_little_memory(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    driver.fail("cuLibraryLoadData", OUT_OF_MEMORY)
    return chosen(driver)


def with_a_bad_entry_of_the_cache(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    driver.fail("cuLibraryLoadData", 200, times=1)  # the first program is refused, once
    return chosen(driver)


def launches_that_fail(driver: stand_in_driver.StandInDriver) -> dict[str, object]:
    """After some that don't: as a device that has met a fault and returns it from then on."""
    given = operands(torch.float32)["noise_bias_act"]
    operation = dispatch.on_cuda_devices["noise_bias_act"]
    expected = torch.ops.fgnet.noise_bias_act(*given)
    deviations = [worst(operation(*given), expected)]
    driver.fail("cuLaunchKernelEx", LAUNCH_FAILED, times=1)
    driver.fail("cuLaunchKernelEx", ILLEGAL_ADDRESS)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        deviations += [worst(operation(*given), expected) for _ in range(3)]
    return {"deviations": deviations, "warnings": [str(w.message) for w in warned], "launches": len(driver.launches())}


def test_every_operation_is_launched(libraries: list[str], tmp_path: Path) -> None:
    """Two processes at once, which race for the entries of one cache."""
    both = [outcome(process) for process in [started("every_operation", libraries, tmp_path) for _ in range(2)]]
    for found in both:
        kernels = found.pop("kernels")
        for case, deviation in found.pop("deviations").items():  # both results are rounded; of the crop, positions, too
            dtype = getattr(torch, case.split("torch.")[1])
            assert deviation <= 2 * TOLERANCE[dtype] + (1e-4 if case.startswith("ffhq_crop") else 0), case
        assert len(kernels) == 3 * 10
        assert {kernel.split("_float")[0].split("_bfloat")[0] for kernel in kernels} == {
            kernel for names in nvrtc.KERNELS.values() for kernel in names if kernel != "ffhq_crop4"
        }
        assert found == {"streams": [stand_in_driver.STREAM], "shared": [0], "block": [12, 21, 1], "grid": [1, 2, 1]}
    assert len(list((tmp_path / "kernels").iterdir())) == len(nvrtc.KERNELS)
    again = outcome(started("with_a_bad_entry_of_the_cache", libraries, tmp_path))
    assert again == {"choices": [True, True], "warnings": []}


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("without_a_device", "NO_DEVICE|no CUDA-capable device|100"),
        ("with_an_old_driver", "can't be loaded"),
        ("with_little_memory", "can't be loaded"),
    ],
)
def test_where_kernels_can_not_be_made_plain_torch_is_chosen(
    scenario: str, reason: str, libraries: list[str], tmp_path: Path
) -> None:
    found = outcome(started(scenario, libraries, tmp_path))
    assert found["choices"] == [False, False]
    (warning,) = (text for text in found["warnings"] if "CUDA kernels are not used" in text)
    assert re.search(reason, warning)


def test_a_launch_that_fails_is_computed_by_plain_torch(libraries: list[str], tmp_path: Path) -> None:
    found = outcome(started("launches_that_fail", libraries, tmp_path))
    assert max(found["deviations"]) <= TOLERANCE[torch.float32]
    (warning,) = found["warnings"]  # of three calls
    assert "could not be started" in warning
    assert found["launches"] == 1
