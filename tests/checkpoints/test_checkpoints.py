"""Conversion of the published files, saving, loading, verifying; and files that are damaged or of another kind."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import HELPERS, SMALL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgnet_plugin import CheckpointError, FGNet, convert_published, load, save, verify
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, read_info
from fgnet_plugin.utils import safetensors_file
from fgnet_plugin.utils.files import sha256

Files = tuple[Path, Path]


def test_conversion_is_exact(small_files: Files, small_checkpoint: Path) -> None:
    model_pth, encoder_pt = small_files
    theirs = torch.load(model_pth, weights_only=True)
    state = load(small_checkpoint, channels_last=False).state_dict()
    average = torch.load(encoder_pt, weights_only=True)["latent_avg"]
    assert torch.equal(state["encoder.latent_average"], average)
    heads = [theirs["pspencoder"][f"styles.{row}.convs.2.weight"] for row in range(3, 7)]
    assert torch.equal(state["encoder.middle.weights.1"], torch.cat(heads))
    last = [theirs["pspencoder"][f"styles.{row}.linear.weight"] for row in range(7, SMALL.n_styles)]
    assert torch.equal(state["encoder.fine.linear"], torch.stack(last))
    assert torch.equal(state["generator.layers.4.weight"], theirs["g_all"]["convs.3.conv.weight"][0])
    assert torch.equal(state["generator.layers.4.noise"], theirs["g_all"]["noises.noise_4"])
    assert theirs["interpreter"]["layer5.4.weight"].shape[0] == 32
    assert torch.equal(state["interpreter.readout.weight"], theirs["interpreter"]["layer5.4.weight"][:3])
    # Every published number but the untrained channels and the fixed blurs is in the file exactly once.
    count = sum(t.numel() for part in theirs.values() for name, t in part.items() if not name.endswith("kernel"))
    count += average.numel() - (32 - 3) * (16 * 25 + 1)
    assert sum(t.numel() for t in state.values()) == count


def test_metadata_says_where_it_is_from(small_files: Files, tmp_path: Path) -> None:
    out = convert_published(*small_files, "disfa", tmp_path / "x.safetensors", fold=2, config=SMALL)
    info = read_info(out)
    assert (info.corpus, info.fold, info.config) == ("DISFA", 2, SMALL)
    assert info.sources == {"model.pth": sha256(small_files[0]), "encoder.pt": sha256(small_files[1])}
    assert "research" in info.licence
    assert "WACV 2024" in info.training["paper"]
    with safe_open(out, "pt") as file:  # readable without this package, too
        assert json.loads(file.metadata()["aus"]) == list(SMALL.aus)


def test_saving_and_loading_is_exact(small_net: FGNet, small_faces: Tensor, tmp_path: Path) -> None:
    info = CheckpointInfo(SMALL, corpus="rendered", training={"steps": 10})
    path = save(small_net.prepare(channels_last=True), tmp_path / "again.safetensors", info)
    again = load(path)
    for name, tensor in small_net.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert not again.training
    assert verify(path).training == {"steps": 10}
    assert verify(path).fold is None


def test_half_precision_storage(small_files: Files, small_checkpoint: Path, small_faces: Tensor, tmp_path: Path) -> None:
    half = convert_published(*small_files, "BP4D", tmp_path / "half.safetensors", half=True, config=SMALL)
    assert half.stat().st_size < 0.6 * small_checkpoint.stat().st_size
    expected, found = load(small_checkpoint).predict(small_faces), load(half).predict(small_faces)
    assert 0 < (found.activations - expected.activations).abs().max() < 0.02
    verify(half)


@pytest.mark.slow
def test_full_size_file_and_memory(full_files: Files, tmp_path: Path) -> None:
    """Half-precision storage takes 650 MB; converting takes about twice the model's 1.3 GB, detecting a face under 3 GB."""
    code = """
import sys, torch, fgnet_plugin
from peak_memory import peak
from fgnet_plugin.checkpoints import convert_published

model, encoder, out, task = sys.argv[1:]
before = peak()
if task == "detect":
    fgnet_plugin.load(out).predict(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
else:
    convert_published(model, encoder, "BP4D", out, half=task == "half")
print(before, peak())
"""
    pytest.importorskip("resource")
    out, peaks = tmp_path / "out.safetensors", {}
    for task in ("convert", "detect", "half"):
        command = [sys.executable, "-c", code, *map(str, full_files), str(out), task]
        environment = os.environ | {"PYTHONPATH": str(HELPERS)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        before, peak = (float(value) / 2**30 for value in done.stdout.split())
        peaks[task] = peak
        if task != "detect":
            assert peak - before < 2 * 1.31  # twice the model, beside what torch itself takes
    print("\npeak memory, GB:", {task: round(peak, 2) for task, peak in peaks.items()})
    assert 650e6 < out.stat().st_size < 660e6
    assert peaks["detect"] < 3.0


def test_verify_catches_any_flipped_byte(small_checkpoint: Path) -> None:
    original = small_checkpoint.read_bytes()
    header = int.from_bytes(original[:8], "little")
    positions = [*range(0, 8 + header, 97), *range(8 + header, len(original), len(original) // 40), len(original) - 1]
    for position in positions:
        flipped = bytearray(original)
        flipped[position] ^= 0x10
        small_checkpoint.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            verify(small_checkpoint)
    small_checkpoint.write_bytes(original)
    verify(small_checkpoint)


class Hostile:
    """A pickle that would make a file when loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.target),)


def damaged(kind: str, model_pth: Path, encoder_pt: Path, folder: Path) -> Files:
    """The two files with one thing wrong."""
    parts = torch.load(model_pth, weights_only=True)
    if kind == "truncated":
        model_pth.write_bytes(model_pth.read_bytes()[:-5000])
    elif kind == "empty":
        model_pth.write_bytes(b"")
    elif kind == "web page":
        model_pth.write_text("<!DOCTYPE html><html>Google Drive - Quota exceeded</html>")
    elif kind == "hostile":
        torch.save(parts | {"interpreter": Hostile(folder / "executed")}, model_pth)
    elif kind == "hostile bare pickle":
        model_pth.write_bytes(pickle.dumps(Hostile(folder / "executed"), protocol=2))
    elif kind == "hostile encoder":
        torch.save({"latent_avg": Hostile(folder / "executed")}, encoder_pt)
    elif kind == "swapped":
        return encoder_pt, model_pth
    elif kind == "encoder twice":
        return encoder_pt, encoder_pt
    elif kind == "missing part":
        del parts["g_all"]
        torch.save(parts, model_pth)
    elif kind == "missing tensors":
        for name in [name for name in parts["interpreter"] if name.startswith("layer1")]:
            del parts["interpreter"][name]
        torch.save(parts, model_pth)
    elif kind == "wrong shape":
        parts["pspencoder"]["input_layer.0.weight"] = torch.zeros(16, 1, 3, 3)
        torch.save(parts, model_pth)
    elif kind == "nan":
        parts["g_all"]["conv1.conv.weight"][0, 0, 0, 0, 0] = float("nan")
        torch.save(parts, model_pth)
    elif kind == "other blur":
        parts["g_all"]["convs.0.conv.blur.kernel"] *= 2
        torch.save(parts, model_pth)
    elif kind == "short latent_avg":
        torch.save({"latent_avg": torch.zeros(512)}, encoder_pt)
    elif kind == "missing file":
        model_pth.unlink()
    return model_pth, encoder_pt


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("truncated", r"model.pth: unreadable or truncated \([\d,]+ bytes; .*fetch it again"),
        ("empty", r"model.pth: unreadable or truncated \(0 bytes"),
        ("web page", "model.pth: this is a web page"),
        ("hostile", "model.pth: refused.*nothing in it was executed"),
        ("hostile bare pickle", "model.pth: refused.*nothing in it was executed"),
        ("hostile encoder", "encoder.pt: refused.*nothing in it was executed"),
        ("swapped", "model.pth: this is FG-Net's model.pth, not pSp's encoder.pt; are the two files swapped"),
        ("encoder twice", "encoder.pt: this is pSp's encoder.pt, not FG-Net's model.pth; are the two files swapped"),
        ("missing part", "holds the parts interpreter, g_all, pspencoder, this one interpreter, pspencoder"),
        ("missing tensors", r"interpreter: layer1\.1\.weight is missing"),
        ("wrong shape", r"pspencoder: input_layer\.0\.weight has shape \[16, 1, 3, 3\], expected \[16, 3, 3, 3\]"),
        ("nan", r"generator\.layers\.0\.weight holds NaN"),
        ("other blur", r"convs\.0\.conv\.blur\.kernel is not the \[1, 3, 3, 1\] blur"),
        ("short latent_avg", r"latent_avg must be a finite tensor of shape \[12, 32\], found \[512\]"),
        ("missing file", "model.pth: no such file"),
    ],
)
def test_bad_published_files(kind: str, says: str, small_files: Files, tmp_path: Path) -> None:
    files = damaged(kind, *small_files, tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match=f"(?s){says}"):
        convert_published(*files, "BP4D", tmp_path / "out" / "out.safetensors", config=SMALL)
    assert sorted(tmp_path.rglob("*")) == before, "something was executed, or something half-written left behind"


def test_the_old_torch_format_works(small_files: Files, tmp_path: Path, small_checkpoint: Path) -> None:
    for path in small_files:
        torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    out = convert_published(*small_files, "BP4D", tmp_path / "old.safetensors", config=SMALL)
    assert load(out).state_dict().keys() == load(small_checkpoint).state_dict().keys()
    assert torch.equal(load(out).generator.constant, load(small_checkpoint).generator.constant)


def test_a_small_model_is_no_published_one(small_files: Files, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"latent_avg must be a finite tensor of shape \[18, 512\], found \[12, 32\]"):
        convert_published(*small_files, "BP4D", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a safetensors file, or truncated"),
        (b"not a checkpoint at all", "not a safetensors file, or truncated"),
        (None, "no such file"),
    ],
)
def test_loading_what_is_no_checkpoint(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        load(path)


def test_loading_a_truncated_checkpoint(small_checkpoint: Path) -> None:
    small_checkpoint.write_bytes(small_checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"small\.safetensors: not a safetensors file, or truncated"):
        load(small_checkpoint)


def test_loading_a_published_file_names_convert(small_files: Files) -> None:
    with pytest.raises(CheckpointError, match="fgnet weights convert"):
        load(small_files[0])


def test_files_without_a_digest_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "old.safetensors", {"format": "example/1"})
    with pytest.raises(CheckpointError, match=r"old\.safetensors: damaged"):
        safetensors_file.read_tensors(tmp_path / "old.safetensors")


def test_loading_somebody_elses_safetensors(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of this package"):
        load(tmp_path / "other.safetensors")


def test_loading_tensors_that_do_not_fit(small_net: FGNet, tmp_path: Path) -> None:
    state = dict(small_net.state_dict())
    del state["generator.constant"]
    state["encoder.coarse.linear"] = torch.zeros(3, 3)
    state["extra"] = torch.zeros(1)
    save(state, tmp_path / "x.safetensors", CheckpointInfo(SMALL, "BP4D"))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "x.safetensors")
    for line in ("generator.constant is missing", "extra is not part of", "encoder.coarse.linear has shape [3, 3]"):
        assert line in str(caught.value)


def test_metadata_of_another_model_is_refused(small_net: FGNet, tmp_path: Path) -> None:
    other = dataclasses.replace(SMALL, aus=("AU04", "AU06", "AU12"))
    with pytest.raises(ValueError, match="not that of the model"):
        save(small_net, tmp_path / "x.safetensors", CheckpointInfo(other, "BP4D"))


@pytest.mark.parametrize("existing", [False, True])
def test_a_write_that_fails_leaves_things_as_they_were(existing: bool, small_net: FGNet, tmp_path: Path) -> None:
    """The disk is full (here: files may not grow beyond 64 KiB)."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.safetensors"
    if existing:
        path.write_bytes(b"precious")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(OSError, match=r"x\.safetensors"):
            save(small_net, path, CheckpointInfo(SMALL, "BP4D"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.exists() == existing
    assert not list(tmp_path.glob(".*"))
    assert not existing or path.read_bytes() == b"precious"


def test_a_checkpoint_can_be_read_by_whoever_reads_other_files(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    assert small_checkpoint.stat().st_mode == (tmp_path / "other").stat().st_mode
