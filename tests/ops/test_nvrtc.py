"""The CUDA kernels compile for every architecture without a GPU, keep to registers, and stay on disk."""

import contextlib
import ctypes
import errno
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fgnet_plugin.network import FGNet, small_config
from fgnet_plugin.ops import dispatch, nvrtc, upsample_conv_taps
from fgnet_plugin.ops.noise_bias_act import noise_bias_act

cuda = pytest.importorskip("cuda.core", reason="cuda-core is there on Linux and Windows only")

_ENTRY = re.compile(
    r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)
_REGISTERS, _THREADS = 65536, 512  # of an SM; of a block at most


QUICK = ("sm_75", "sm_90", "sm_120")  # the oldest, the newest, and the one with the most memory


@pytest.mark.parametrize(
    "architecture", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in nvrtc.ARCHITECTURES]
)
@pytest.mark.parametrize("program", nvrtc.KERNELS)
def test_compiles_without_spills(program: str, architecture: str) -> None:
    compiled = nvrtc.compile_program(program, architecture, report=True)
    found = {name: tuple(map(int, rest)) for name, *rest in _ENTRY.findall(compiled.log)}
    assert set(found) == set(nvrtc.kernel_names(program))
    for name, (stack, stores, loads, registers) in sorted(found.items()):
        print(f"{architecture} {name}: {registers} registers")
        assert (stack, stores, loads) == (0, 0, 0), f"{name} spills on {architecture}"
        most = upsample_conv_taps.THREADS if name.startswith("taps") and name.endswith("wide") else _THREADS
        assert registers * most <= _REGISTERS


def test_compiled_programs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes().endswith(first.cubin)
    with monkeypatch.context() as patch:
        patch.setattr(cuda, "Program", None)  # nothing is compiled
        assert nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path).cubin == first.cubin
    assert list(tmp_path.iterdir()) == [kept]
    changed = nvrtc.source("decode_heatmaps").replace("-1.0f", "-2.0f")
    monkeypatch.setattr(nvrtc, "source", lambda name: changed)
    assert nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path).cubin != first.cubin


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: content[:-9] + b"x" + content[-8:], lambda _: b""]
)
def test_what_is_damaged_in_the_cache_is_compiled_anew(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    first = nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path)
    (kept,) = tmp_path.iterdir()
    good = kept.read_bytes()
    kept.write_bytes(damage(good))
    assert nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path).cubin == first.cubin
    assert kept.read_bytes() == good


def test_a_full_disk_costs_no_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        self.touch()  # what was written until then
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    expected = nvrtc.compile_program("decode_heatmaps", "sm_90").cubin
    monkeypatch.setattr(Path, "write_bytes", full)
    assert nvrtc.compile_program("decode_heatmaps", "sm_90", tmp_path).cubin == expected
    assert list(tmp_path.iterdir()) == []


def test_what_the_driver_refuses_is_compiled_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of the cache that is whole but can't be loaded is replaced; a program that never loads is an error."""
    compiled, broken = [], {"relu_norm_add"}

    def compile_program(name: str, architecture: str, cache: Path | None, again: bool = False) -> nvrtc.Compiled:
        compiled.append((name, again))
        return nvrtc.Compiled(b"good" if again else name.encode(), "")

    def load(name: str, cubin: bytes, device: int) -> dict[str, object]:
        if cubin.decode() in broken:
            raise nvrtc.LoadError(f"{name}.cu was compiled but can't be loaded: no kernel image")
        return {name: cubin}

    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    for name, value in {
        "get_device_capability": lambda device: (9, 0),
        "device": lambda device: contextlib.nullcontext(),
        "is_current_stream_capturing": lambda: False,
        "current_stream": lambda: types.SimpleNamespace(synchronize=lambda: None),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(nvrtc, "compile_program", compile_program)
    monkeypatch.setattr(nvrtc, "_load", load)
    assert set(nvrtc.make_all.__wrapped__(0)) == set(nvrtc.KERNELS)
    assert [name for name, again in compiled if again] == ["relu_norm_add"]
    broken.add("good")
    with pytest.raises(nvrtc.KernelError, match="can't be loaded: no kernel image"):
        nvrtc.make_all.__wrapped__(0)
    # While somebody records a graph nothing is loaded, which is no reason to give up.
    compiled.clear()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(nvrtc, "make_all", nvrtc.make_all.__wrapped__)
    monkeypatch.setattr(dispatch, "_failed", {})
    with pytest.warns(UserWarning, match="a CUDA graph is being recorded; call the model once before that"):
        assert not dispatch.choose(torch.device("cuda", 0), torch.float32)
    assert compiled == []
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    broken.clear()
    assert dispatch.choose(torch.device("cuda", 0), torch.float32)


def test_what_does_not_compile_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "source", lambda name: "no C++")
    with pytest.raises(nvrtc.KernelError, match=r"decode_heatmaps.cu does not compile for sm_90(.|\n)*undefined"):
        nvrtc.compile_program("decode_heatmaps", "sm_90")
    monkeypatch.undo()
    with pytest.raises(nvrtc.KernelError, match="does not compile for sm_20"):
        nvrtc.compile_program("decode_heatmaps", "sm_20")


def test_without_a_place_to_keep_them_they_are_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    assert nvrtc.cache_of_programs() == tmp_path / "kernels"
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGNET_HOME", str(tmp_path / "file"))
    assert nvrtc.cache_of_programs() is None
    # An environment without platformdirs, as on a machine that has torch alone
    monkeypatch.delenv("FGNET_HOME")
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert nvrtc.cache_of_programs() == tmp_path / "caches" / "fgnet-plugin" / "kernels"


def test_missing_sources_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "folder", lambda: tmp_path)
    with pytest.raises(nvrtc.KernelError, match=r"fgnet.cuh is missing; install this package again"):
        nvrtc.source("decode_heatmaps")


def test_where_kernels_fail_one_warning_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: int) -> None:
        raise nvrtc.KernelError("the reason")

    monkeypatch.setattr(nvrtc, "make_all", fail)
    monkeypatch.setattr(dispatch, "_failed", {})
    device = torch.device("cuda", 3)
    with pytest.warns(UserWarning, match=r"not used, plain torch is .*: the reason") as warned:
        assert not dispatch.choose(device, torch.float32)
    assert not dispatch.choose(device, torch.float32)
    assert len(warned) == 1


def test_where_a_kernel_can_not_run_plain_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning for a launch that fails, after which no kernel of that device is tried; one for operands of other kinds."""
    ran, trouble = [], [nvrtc.UnsupportedOperand("takes float32")]

    class Registered:
        def register_kernel(self, device: str) -> Callable[[Callable[..., object]], None]:
            assert device == "cuda"
            return lambda function: ran.append(function)

        def register_fake(self, function: object) -> None: ...

        def register_autograd(self, function: object) -> None: ...

    def kernel(x: torch.Tensor) -> str:
        if trouble:
            raise trouble[-1]
        return "kernel"

    monkeypatch.setattr(torch.library, "custom_op", lambda *_, **__: Registered())
    monkeypatch.setattr(dispatch, "_failed", {})
    monkeypatch.setattr(dispatch, "_refused", set())
    dispatch.register("some_operation", lambda x: "definition", kernel, None, None)  # type: ignore[arg-type]
    (run,), x = ran, types.SimpleNamespace(device=torch.device("cuda", 1))
    with pytest.warns(UserWarning, match="some_operation: plain torch computes it .*: takes float32") as warned:
        assert [run([x]), run([x])] == ["definition"] * 2
    assert len(warned) == 1
    trouble.clear()
    assert run([x]) == "kernel"
    trouble.append(nvrtc.KernelError("unspecified launch failure"))
    with pytest.warns(UserWarning, match=r"kernels are not used, plain torch is .*: unspecified launch failure") as warned:
        assert run([x]) == "definition"
    trouble.clear()
    assert run([x]) == "definition"
    assert len(warned) == 1
    other = types.SimpleNamespace(device=torch.device("cuda", 0))
    assert run([other]) == "kernel"


def test_arguments_are_of_types_that_cuda_core_takes() -> None:
    """And of the kernels' own sizes: pointers, C's int and float."""
    handler = pytest.importorskip("cuda.core._kernel_arg_handler", reason="another version of cuda-core")
    x = torch.arange(3)
    values = [nvrtc.argument(value) for value in (x, None, 7, -7, 0.5)]
    assert [value.value for value in values] == [x.data_ptr(), 0, 7, -7, 0.5]
    assert [ctypes.sizeof(value) for value in values] == [8, 8, 4, 4, 4]
    table = (ctypes.c_void_p * len(values)).from_address(handler.ParamHolder(values).ptr)
    assert len([pointer for pointer in table if pointer]) == len(values)


def test_a_batch_without_faces_starts_nothing() -> None:
    x = torch.zeros(0, 16, 4, 4)
    nvrtc.launch("noise_bias_act_float32_wide", x, (1, 0), (4, 64))  # no GPU, and no error


def test_what_is_read_16_bytes_at_a_time_begins_there() -> None:
    """A part of a larger tensor may not."""
    whole = torch.arange(33, dtype=torch.float32)
    for part in (whole[1:17], whole[4:20], whole[2:3]):
        found = dispatch.operand(part)
        assert found.data_ptr() % 16 == 0
        assert torch.equal(found, part)
    assert dispatch.operand(whole).data_ptr() == whole.data_ptr()


def test_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu, made = torch.device("cpu"), torch.device("cuda", 3), []
    monkeypatch.setattr(nvrtc, "make_all", made.append)
    monkeypatch.delenv("FGNET_KERNELS", raising=False)
    assert not dispatch.choose(cpu, torch.float32)
    assert dispatch.choose(gpu, torch.bfloat16)
    assert not dispatch.choose(gpu, torch.float64)
    monkeypatch.setenv("FGNET_KERNELS", "1")
    assert dispatch.choose(cpu, torch.float64)
    assert dispatch.choose(gpu, torch.float16)
    assert not dispatch.choose(torch.device("mps"), torch.float32)
    assert made == [3, 3]
    monkeypatch.setenv("FGNET_KERNELS", "0")
    assert not dispatch.choose(gpu, torch.float32)
    monkeypatch.setenv("FGNET_KERNELS", "yes")
    with pytest.raises(ValueError, match="FGNET_KERNELS must be 0 or 1, got 'yes'"):
        dispatch.choose(cpu, torch.float32)
    assert made == [3, 3]


def test_a_model_is_fused_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(("AU12",), 64, 32)
    for value, kernels in (("0", False), ("1", True)):
        monkeypatch.setenv("FGNET_KERNELS", value)
        assert FGNet(config).fuse().kernels == kernels


def test_gradients_are_refused() -> None:
    x = torch.randn(1, 4, 2, 2, requires_grad=True)
    found = torch.ops.fgnet.noise_bias_act(x, torch.ones(1, 4), torch.zeros(2, 2), torch.zeros(4), None, None)
    with pytest.raises(RuntimeError, match="noise_bias_act is for detection only and has no gradient"):
        found.sum().backward()
    noise_bias_act(x, torch.ones(1, 4), torch.zeros(2, 2), torch.zeros(4)).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_operations_are_registered_as_torch_wants(dtype: torch.dtype) -> None:
    """Schema, fake implementation and what torch.compile relies on, by torch's own checks."""
    x, vector, both = torch.randn(2, 8, 5, 5, dtype=dtype), torch.randn(8), torch.randn(2, 8)
    plane = torch.randn(5, 5)
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    with torch.no_grad():
        torch.library.opcheck(torch.ops.fgnet.noise_bias_act, (x, both, plane, vector, both, plane), test_utils=checks)
        torch.library.opcheck(torch.ops.fgnet.blur_noise_act, (x, both, torch.randn(4, 4), vector, None), test_utils=checks)
        torch.library.opcheck(
            torch.ops.fgnet.relu_norm_add, (x, vector, vector, vector, torch.randn(2, 8, 9, 9, dtype=dtype)), test_utils=checks
        )
        torch.library.opcheck(torch.ops.fgnet.noise_act_styled, (x, both, plane, vector, both), test_utils=checks)
        torch.library.opcheck(torch.ops.fgnet.gate_add_norm, (x, both, x.flip(0), vector, vector), test_utils=checks)
        for stride in (1, 2):
            torch.library.opcheck(torch.ops.fgnet.prelu_norm, (x, vector, vector, vector, stride), test_utils=checks)
        products, other = torch.randn(2, 200, 5, 5, dtype=dtype), torch.randn(2, 8, 10, 10, dtype=dtype)
        torch.library.opcheck(torch.ops.fgnet.taps_relu_norm_add, (products, vector, vector, vector, other), test_utils=checks)
        torch.library.opcheck(torch.ops.fgnet.decode_heatmaps, (x,), test_utils=checks)
        rows = torch.tensor([0, -1, 4, 3], dtype=torch.int32)
        torch.library.opcheck(torch.ops.fgnet.gather_patches, (x, rows, rows[1:], both), test_utils=checks)


def test_nothing_of_it_loads_without_a_gpu() -> None:
    """Detection on the CPU imports neither cuda-core nor NVRTC."""
    code = (
        "import sys, torch; from fgnet_plugin.network import FGNet, small_config; "
        "FGNet(small_config(('AU12',), 64, 32)).predict(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)); "
        "print([name for name in sys.modules if name.startswith('cuda.core')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
