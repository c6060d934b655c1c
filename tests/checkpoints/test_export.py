"""Checkpoints go back into the authors' layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer.testing
from conftest import SMALL, write_published

import fgnet_plugin
from fgnet_plugin import CheckpointError, FGNet, FGNetConfig, convert_published
from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.export import disassemble, export_published
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save, verify


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """model.pth, encoder.pt, and the checkpoint converted from them, at the small size."""
    folder = tmp_path_factory.mktemp("export")
    model, encoder = write_published(folder, SMALL, seed=4)
    return model, encoder, convert_published(model, encoder, "BP4D", folder / "fgnet.safetensors", config=SMALL)


def test_there_and_back_every_tensor_is_the_same(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, encoder, checkpoint = files
    verify(checkpoint)
    fgnet_plugin.load(checkpoint)  # the untrained channels that it keeps don't disturb
    assert export_published(checkpoint, tmp_path / "model.pth", tmp_path / "encoder.pt") == []
    theirs, ours = (torch.load(path, weights_only=True) for path in (model, tmp_path / "model.pth"))
    assert list(ours) == list(published.PARTS)
    for part, tensors in theirs.items():
        assert set(ours[part]) == set(tensors)
        for name, tensor in tensors.items():
            assert ours[part][name].dtype == tensor.dtype
            assert torch.equal(ours[part][name], tensor), name
    # What was exported can be converted again, with its own encoder.pt, to the same network.
    again = convert_published(tmp_path / "model.pth", tmp_path / "encoder.pt", "BP4D", tmp_path / "a.safetensors", config=SMALL)
    first, second = (fgnet_plugin.load(path).state_dict() for path in (checkpoint, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.load(encoder, weights_only=True)["latent_avg"], first["encoder.latent_average"])


def test_names_and_shapes_are_those_that_the_published_loader_wants(golden_keys: dict[str, dict[str, list[int]]]) -> None:
    config = FGNetConfig(aus=corpus_aus("BP4D"))
    with torch.device("meta"):
        state = FGNet(config).state_dict()
    # Zeros that take no memory: one number, seen from everywhere.
    state = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in state.items()}
    parts = disassemble(state, config)
    assert {part: {name: list(t.shape) for name, t in tensors.items()} for part, tensors in parts.items()} == golden_keys


def test_what_was_not_in_a_checkpoint_is_told(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = save(FGNet(SMALL), tmp_path / "own.safetensors", CheckpointInfo(SMALL, "rendered"))
    from fgnet_plugin.cli.app import app

    run = typer.testing.CliRunner().invoke(app, ["weights", "export", str(own), str(tmp_path / "model.pth")])
    assert run.exit_code == 0, run.output
    assert "the last 29 of the interpreter's 32 output channels, which the checkpoint lacks, are 0" in run.stderr
    assert "no average latent code" in run.stderr
    parts = torch.load(tmp_path / "model.pth", weights_only=True)
    last = parts["interpreter"][f"layer{SMALL.n_maps - 1}.4.weight"]
    assert len(last) == 32
    assert not last[3:].any()
    assert last[:3].any()
    again = typer.testing.CliRunner().invoke(app, ["weights", "export", str(own), str(tmp_path / "model.pth")])
    assert "exists; give --overwrite" in str(again.exception)
    with pytest.raises(CheckpointError, match="the published layout has no place for encoder"):
        export_published("fgnet-rendered", tmp_path / "rendered.pth")
