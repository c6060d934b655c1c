"""Training on rendered faces: it learns, goes on exactly where it was, and draws the same faces in any process."""

import csv
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from toy_training import run_fgnet, snapshots_in

from fgnet_plugin import load
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.training.config.detector import read_detector
from fgnet_plugin.training.rendered import HeadCorpus, RenderedCorpus
from fgnet_plugin.training.train import train_detector
from fgnet_plugin.utils.threads import single_threaded

TINY = (
    "data.rendered.faces_per_epoch=32",
    "data.rendered.val_faces=16",
    "optimiser.batch_size=16",
    "optimiser.epochs=2",
    "trainer.progress=false",
    "trainer.threads=1",
    "trainer.checkpoint_every=1",
)


@pytest.mark.slow
def test_a_short_training_beats_chance(tmp_path: Path) -> None:
    """The recipe of the bundled weights on few faces, in minutes: AUC of faces that it was not trained on."""
    settings = [
        f"trainer.out={tmp_path}",
        *(
            "trainer.progress=false",
            "trainer.threads=1",
            "data.rendered.domains=[studio]",
            "data.rendered.val_domains=[studio]",
        ),
        *("data.rendered.faces_per_epoch=1000", "data.rendered.val_faces=300", "data.looks=0", "optimiser.batch_size=16"),
        *("optimiser.epochs=2", "optimiser.warmup_steps=10", "optimiser.ema=0.97"),
    ]
    options = (part for setting in settings for part in ("--set", setting))
    done = run_fgnet("train", "detector", "--config", "rendered-heads", *options)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val_auc"]]
    aucs = [float(row["val_auc"]) for row in rows]
    print("mean AUC after each epoch:", aucs)
    assert aucs[-1] > 0.62
    assert aucs[-1] > aucs[0]
    assert min(float(rows[-1][f"val_auc/{au}"]) for au in ("AU12", "AU25", "AU26")) > 0.75  # smiles and open mouths are easy
    info = read_info(tmp_path / "fgnet.safetensors")
    assert info.training["recipe"]["code"]["renderer"] >= 1
    assert load(tmp_path / "fgnet.safetensors").aus == HeadCorpus.aus


def test_faces_are_the_same_from_worker_processes() -> None:
    corpus = RenderedCorpus(("studio", "webcam"), size=64, seed=8, length=12)
    torch.ones(3000, 3000).sum()  # the threads of this process must not hang those forked from it
    for i, item in enumerate(DataLoader(corpus, batch_size=None, num_workers=2, worker_init_fn=single_threaded)):
        assert torch.equal(item["image"], corpus[i]["image"])
        assert torch.equal(item["landmarks"], corpus[i]["landmarks"])


def test_resuming_is_exact_with_fresh_faces(tmp_path: Path) -> None:
    """In the second epoch, whose faces are others than the first one's."""
    whole = tmp_path / "whole"
    with snapshots_in(tmp_path) as snapshots:
        train_detector(read_detector("rendered-ci", [*TINY, f"trainer.out={whole}"]))
    part = snapshots[3]
    train_detector(read_detector("rendered-ci", [*TINY, f"trainer.out={part}"]), resume=True)
    one, other = (torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (whole, part))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (whole / "metrics.csv").read_text() == (part / "metrics.csv").read_text()


def test_a_training_does_not_go_on_with_another_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [*TINY, f"trainer.out={tmp_path}", "optimiser.epochs=1", "data.rendered.faces_per_epoch=16"]
    train_detector(read_detector("rendered-ci", settings))
    monkeypatch.setattr("fgnet_plugin.training.engine.stage.RENDERER", 0)
    with pytest.raises(ValueError, match=r"code\.renderer"):
        train_detector(read_detector("rendered-ci", settings), resume=True)
