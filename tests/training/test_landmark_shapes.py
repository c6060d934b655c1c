"""Pretraining whose codes and maps are to tell landmarks: the shapes, the weights of pixels, and a training of both parts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from toy_training import toy_corpus, toy_landmarks

from fgnet_plugin.checkpoints.pretrained import load_pretrained
from fgnet_plugin.training.config.pretraining import EncoderOptimiser, read_encoder
from fgnet_plugin.training.stages.landmark_shapes import N_SHAPES, landmark_shapes, region_weights
from fgnet_plugin.training.train import train_encoder

TINY = {"generator_channels": [16, 16, 8, 8, 8], "style_dim": 8, "encoder_channels": [8, 8, 8, 8]}


def test_shapes_do_not_know_where_a_face_is() -> None:
    face = torch.from_numpy(toy_landmarks(64))[None]
    angle = torch.tensor(0.4)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    shapes = landmark_shapes(face)
    assert shapes.shape == (1, N_SHAPES)
    torch.testing.assert_close(landmark_shapes(2.5 * face @ turn.T + 9), shapes, rtol=1e-4, atol=1e-5)
    points = shapes.view(-1, 2)
    torch.testing.assert_close(points[36:42].mean(0), torch.tensor([-0.5, 0.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(points[42:48].mean(0), torch.tensor([0.5, 0.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(points[-20:].mean(0), torch.zeros(2), rtol=0, atol=1e-6)  # the mouth about its own centre
    moved = face.clone()
    moved[:, 17:27, 1] -= 2  # brows go up: where they are changes, their shapes do not
    changed = (landmark_shapes(moved) - shapes).view(-1, 2).abs().amax(1) > 1e-4
    assert changed.nonzero().flatten().tolist() == list(range(17, 27))


def test_pixels_at_eyes_brows_and_mouth_count_most() -> None:
    face = torch.from_numpy(toy_landmarks(64))[None]
    weights = region_weights(face, 64, 4.0)
    assert weights.shape == (1, 1, 64, 64)
    assert float(weights.mean()) == pytest.approx(1)
    x, y = face[0, 50].round().int().tolist()
    assert float(weights[0, 0, y, x] / weights.min()) == pytest.approx(5, abs=0.3)
    assert torch.equal(region_weights(face, 64, 0.0), torch.ones(1, 1, 64, 64))


def test_generator_and_encoder_learn_together(tmp_path: Path) -> None:
    table = toy_corpus(tmp_path)
    tiny = [f"model.architecture.{name}={value}" for name, value in TINY.items()] + ["trainer.accelerator=cpu"]
    more = ["optimiser.epochs=2", "optimiser.batches_per_epoch=5", "optimiser.batch_size=4", "data.val_fraction=0.25"]
    more += ["optimiser.warmup_steps=0"]
    settings = [f"data.csv={table}", f"trainer.out={tmp_path / 'out'}", *tiny, *more]
    path = train_encoder(read_encoder("encoder-claims", settings))
    rows = [row for row in csv.DictReader((tmp_path / "out" / "metrics.csv").open()) if row["val_loss"]]
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    first = load_pretrained(path)
    assert {"generator", "encoder", "moments"} <= set(first.parts)

    # It can go on from its own file, and with the generator as it is.
    start = [f"start_from={path}", f"start_encoder={path}", "model.size=null", "model.architecture={}"]
    settings = [f"data.csv={table}", f"trainer.out={tmp_path / 'more'}", *more, *start, "train_generator=false"]
    found = load_pretrained(train_encoder(read_encoder("encoder-claims", [*settings, "trainer.accelerator=cpu"])))
    before, after = first.parts["generator"], found.parts["generator"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert not torch.equal(found.parts["encoder"]["stem.0.weight"], first.parts["encoder"]["stem.0.weight"])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (['data.csv=""', "data.folder=faces"], "loss.regions and loss.landmarks need data.csv"),
        (["train_generator=false"], "start_from is empty"),
        (["start_from=generator.safetensors"], "start_from brings its sizes"),
        (["loss.features=1"], "need a generator in start_from"),
        (["data.folder=faces"], "give one of rendered, folder and csv"),
        (["loss.landmarks=-1"], "must not be negative"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_encoder("encoder-claims", settings)


def test_the_backbone_is_the_detectors() -> None:
    with pytest.raises(ValueError, match="backbone_lr_factor is the detector's"):
        EncoderOptimiser(backbone_lr_factor=0.1)
