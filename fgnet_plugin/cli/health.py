"""What ``fgnet doctor`` looks at: each check says what it found and, where something is wrong, the line that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from fgnet_plugin.checkpoints.registry import NamedWeights, manifest
from fgnet_plugin.utils.cuda_driver import Driver, has_nvidia_card, read_driver
from fgnet_plugin.utils.paths import cache_folder
from fgnet_plugin.utils.text import counted
from fgnet_plugin.version import __version__

State = Literal["ok", "missing", "broken"]
_LEAST_PYTHON = (3, 11)
_WHEELS = ((13, 0), (12, 8), (12, 6))
"""The CUDA versions that torch is built for."""
_DOWNLOAD = 4e9
"""Bytes that published weights take while they are converted: the authors' files, and the checkpoint."""
_LEAST_FREE = 2e8
_FEAT = ("py-feat", "feat", 'pip install "fgnet-plugin[feat]"', "detection works without it, with --offline")
"""Name, module, how to get it, and what works without it."""
_REQUIREMENT = re.compile(r"""([\w.-]+)(?:\[([\w,\s-]+)\])?\s*([^;]*)(?:;.*extra\s*==\s*["']([\w-]+)["'])?""")


@dataclass(frozen=True)
class Check:
    """Something that was looked at."""

    name: str
    state: State
    """"missing": something optional, without which other things work; "broken": what is there does not work."""
    found: str
    mend: str = ""
    """The command, or else what to do; empty where nothing is to be done."""


def examine() -> Iterator[Check]:
    """Look at everything that the package needs, or can use.

    Takes some seconds: torch is imported, and py-feat meanwhile in another process.
    """
    can_be_imported = importlib.util.find_spec("feat") is not None and not _lacked_by_feat()
    feat = _start_import_of_feat() if can_be_imported else None
    for check in (check_python, check_torch, check_gpu, check_decoders, check_weights, check_cache, check_extras):
        yield from check()
    yield from check_pyfeat(feat)


def check_python() -> Iterator[Check]:
    """Look at Python and where the package is."""
    found = f"{sys.version.split()[0]}, {sys.executable}; fgnet-plugin {__version__}, {Path(__file__).parents[1]}"
    old = sys.version_info[:2] < _LEAST_PYTHON
    yield Check("Python", "broken", found, "install Python 3.11 or newer") if old else Check("Python", "ok", found)


def check_torch() -> Iterator[Check]:
    """Look at torch, which is imported."""
    try:
        import torch
    except Exception as error:  # libraries that can't be loaded raise OSError, among others
        yield Check("torch", "broken", f"can't be imported: {_first_line(error)}", 'pip install --force-reinstall "torch>=2.6"')
        return
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    found = f"{torch.__version__}, {built}, {counted(torch.get_num_threads(), 'thread')}"
    if _numbers(torch.__version__) < (2, 6):
        yield Check("torch", "broken", f"{found}; 2.6 is needed", 'pip install --upgrade "torch>=2.6"')
    else:
        yield Check("torch", "ok", found)


def check_gpu() -> Iterator[Check]:
    """Look at the GPU, its driver, and whether torch was built for it."""
    try:
        import torch
    except Exception:  # said before
        return
    if sys.platform == "darwin":
        there = torch.backends.mps.is_available()
        yield Check("GPU", "ok", "Apple's, with --device mps" if there else "none that torch can use: the CPU computes")
        return
    driver = read_driver()
    if driver is None:
        if has_nvidia_card():
            yield Check("GPU", "broken", "an NVIDIA GPU without its driver", "install it: https://www.nvidia.com/drivers")
        else:
            yield Check("GPU", "ok", "no NVIDIA GPU: the CPU computes")
        return
    yield _with_driver(driver, torch.version.cuda)


def _with_driver(driver: Driver, built: str | None) -> Check:
    """Tell whether torch, built for that CUDA version, works with the driver."""
    known = f"NVIDIA driver for CUDA up to {driver.version[0]}.{driver.version[1]}"
    wheel = _wheel(driver)
    other_torch = f"pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{wheel}"
    update = "update the driver: https://www.nvidia.com/drivers"
    if driver.error:
        return Check("GPU", "broken", f"{known}, which does not start ({driver.error})", "nvidia-smi")
    if built is None:
        mend = other_torch if wheel else update
        return Check("GPU", "broken", f"{known}, but torch was built without CUDA: the CPU computes", mend)
    if _numbers(built)[0] > driver.version[0]:
        mend = f"{update}; or: {other_torch}" if wheel else update
        return Check("GPU", "broken", f"{known}, too old for torch, which was built for CUDA {built}", mend)
    import torch

    if not torch.cuda.is_available():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r})"
        mend = "unset CUDA_VISIBLE_DEVICES" if hidden is not None else "python -c 'import torch; torch.cuda.init()'"
        return Check("GPU", "broken", f"{known}, but torch finds no GPU{why}", mend)
    named = []
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        named.append(f"{about.name}, {about.total_memory / 1e9:.0f} GB, compute capability {about.major}.{about.minor}")
    if not _installed("cuda-core"):
        mend = f"pip install 'cuda-core[cu{_numbers(built)[0]}]>=1.2'"
        return Check("GPU", "missing", f"{'; '.join(named)}; {known}; without cuda-core its kernels are not used", mend)
    return Check("GPU", "ok", f"{'; '.join(named)}; {known}")


def _wheel(driver: Driver) -> str:
    """Name the newest CUDA that torch is built for and that the driver knows: ``"cu128"``; empty if it is too old for all."""
    fitting = [version for version in _WHEELS if version[0] < driver.version[0] or version <= driver.version]
    # Within a major version, drivers run programs that were built for a later minor one.
    fitting = fitting or [version for version in _WHEELS if version[0] == driver.version[0]][-1:]
    return "cu{}{}".format(*fitting[0]) if fitting else ""


def check_decoders() -> Iterator[Check]:
    """Look at what decodes videos and HEIC photos."""
    yield _imported("PyAV", "av", 'pip install "av>=17.1"', "videos can't be read without it")
    yield _imported("pillow-heif", "pillow_heif", 'pip install "pillow-heif>=1.1"', "HEIC photos can't be read without it")


def check_pyfeat(started: subprocess.Popen[str] | None = None) -> Iterator[Check]:
    """Look at py-feat and what it needs, and where all of that is there, whether it can be imported.

    Args:
        started: the process that imports it, of `_start_import_of_feat`; by default it is started now.
    """
    name, module, get, without = _FEAT
    version = _installed("py-feat")
    if importlib.util.find_spec(module) is None:
        yield Check(name, "missing", f"not installed; {without}", get)
    elif version and not (2, 1, 5) <= _numbers(version) < (3,):
        yield Check(name, "broken", f"{version}; 2.1.5 or a later 2.x is needed", 'pip install "py-feat>=2.1.5,<3"')
    elif lacking := _lacked_by_feat():
        mend = "pip install " + " ".join(f'"{package}"' for package in lacking)
        yield Check(name, "missing", f"{version} needs {', '.join(lacking)}, not installed or too old; {without}", mend)
    else:
        process = started or _start_import_of_feat()
        said = process.communicate()[0].splitlines()
        if process.returncode:
            found = f"Python ends when it is imported (status {process.returncode})"
            yield Check(name, "broken", found, f"{get} --force-reinstall")
        else:
            yield Check(**json.loads(said[-1]))


def _lacked_by_feat() -> list[str]:
    """List what py-feat needs and is not installed, or too old: such as where it was installed with ``--no-deps``."""
    try:
        lines = importlib.metadata.requires("py-feat") or []
    except importlib.metadata.PackageNotFoundError:  # a folder on the path
        return []
    parts = [_REQUIREMENT.match(line) for line in lines if ";" not in line]
    return sorted(_gone_or_too_old((part[1], part[3]) for part in parts if part))


def _start_import_of_feat() -> subprocess.Popen[str]:
    """Start to import py-feat in a process of its own: libraries that don't fit together can end the one that loads them."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "from fgnet_plugin.cli.health import print_import_of_feat as go; go()"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def print_import_of_feat() -> None:
    """Import py-feat and print, as JSON, how it went; for `_start_import_of_feat`."""
    print("\n" + json.dumps(asdict(_imported(*_FEAT))))


def _imported(name: str, module: str, mend: str, without: str) -> Check:
    """Import an optional module: it may be installed and not work."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in (None, module):
            return Check(name, "missing", f"not installed; {without}", mend)
        return Check(name, "broken", f"needs {error.name}, which is not installed", f"pip install {error.name}")
    except Exception as error:  # libraries of another version raise many kinds
        return Check(name, "broken", f"can't be imported: {_first_line(error)}", f"{mend} --force-reinstall")
    return Check(name, "ok", str(getattr(found, "__version__", "installed")))


def check_weights() -> Iterator[Check]:
    """Read all named weights that are on this machine, and compare them with their checksums."""
    from fgnet_plugin.checkpoints.fgnet import verify
    from fgnet_plugin.checkpoints.pretrained import load_pretrained

    for entry in manifest().values():
        name, anew = f"weights {entry.name}", _anew(entry)
        if not entry.path.is_file():
            bundled = bool(entry.file)
            yield Check(name, "broken" if bundled else "missing", "not on this machine", anew)
            continue
        try:
            (load_pretrained if entry.kind == "pretrained" else verify)(entry.path)
        except (ValueError, OSError) as error:
            mend = anew if entry.file else f'rm "{entry.path}" && {anew}'
            yield Check(name, "broken", _first_line(error), mend)
        else:
            yield Check(name, "ok", f"intact, {entry.path}")


def _anew(entry: NamedWeights) -> str:
    if entry.file:
        return f"pip install --force-reinstall --no-deps fgnet-plugin=={__version__}"
    return f"fgnet weights download {entry.name}"


def check_cache() -> Iterator[Check]:
    """Look at the folder of downloaded weights and compiled kernels, and at its free space."""
    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    elsewhere = "export FGNET_HOME=/a/folder/with/space"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Check("cache folder", "broken", f"{folder} can't be written", elsewhere)
        return
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    waiting = [entry.name for entry in manifest().values() if entry.kind == "published" and not entry.path.is_file()]
    if free < _LEAST_FREE:
        yield Check("cache folder", "broken", f"{found}: its disk is full", f"free some space, or: {elsewhere}")
    elif waiting and free < _DOWNLOAD:
        needed = f"{found}; {_DOWNLOAD / 1e9:.0f} GB are needed to download {waiting[0]}"
        yield Check("cache folder", "missing", needed, f"free some space, or: {elsewhere}")
    else:
        yield Check("cache folder", "ok", found)


def check_extras() -> Iterator[Check]:
    """Look at the packages of each of this package's extras, and at their versions."""
    try:
        lines = importlib.metadata.requires("fgnet-plugin") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("extras", "missing", "fgnet-plugin itself is not installed: it runs from its folder", "pip install .")
        return
    needed: dict[str, list[tuple[str, str, str]]] = {}
    for line in lines:
        parts = _REQUIREMENT.match(line)
        if parts and parts[4] and parts[4] != "dev":
            needed.setdefault(parts[4], []).append((parts[1], parts[2] or "", parts[3]))
    for extra in sorted(needed):
        lacking = sorted(set(_lacking(extra, needed)))
        if lacking:
            yield Check(f"extra {extra}", "missing", f"lacks {', '.join(lacking)}", f'pip install "fgnet-plugin[{extra}]"')
        else:
            yield Check(f"extra {extra}", "ok", "installed")


def _lacking(extra: str, needed: dict[str, list[tuple[str, str, str]]]) -> Iterator[str]:
    """List what an extra needs, and those that it includes, that is not installed or too old."""
    for package, extras, wanted in needed.get(extra, []):
        if package == "fgnet-plugin":
            for included in extras.split(","):
                yield from _lacking(included.strip(), needed)
        else:
            yield from _gone_or_too_old([(package, wanted)])


def _gone_or_too_old(needed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Choose packages, of pairs with the versions that are wanted, such as (av, >=17.1), that are not there or too old."""
    for package, wanted in needed:
        version, least = _installed(package), re.search(r">=\s*([\d.]+)", wanted)
        if not version or (least and _numbers(version) < _numbers(least[1])):
            yield package + (least[0] if least else "")


def _installed(package: str) -> str:
    """Return the version of a package; empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """Take the numbers at the beginning of a version: ``"2.6.0+cpu"`` -> (2, 6, 0)."""
    return tuple(map(int, re.findall(r"\d+", re.split(r"[+a-z]", version)[0])))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
