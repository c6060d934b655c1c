"""Training: settings, corpora, steps, exact resumption, exported weights. On toy faces, so that it is quick."""

from __future__ import annotations

import csv
import os
import pickle
import shutil
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from toy_training import (
    AUS,
    assert_same_training,
    run_fgnet,
    settings,
    snapshots_in,
    toy_corpus,
    toy_landmarks,
    toy_stage,
)

from fgnet_plugin.checkpoints.fgnet import verify

if TYPE_CHECKING:
    from fgnet_plugin.training.stages.detector import DetectorStage


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and settings."""
    folder = tmp_path_factory.mktemp("toy")
    toy_corpus(folder)
    settings(folder)
    return folder


@pytest.fixture(scope="module")
def snapshots(toy: Path) -> dict[int, Path]:
    """The training's folder as it was at each checkpoint: after each of its 10 steps. The last is the finished one."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    with snapshots_in(toy) as folders:
        train_detector(read_detector(str(toy / "settings.yaml"), ["trainer.checkpoint_every=1"]))
    return folders


def test_the_defaults_are_the_published_recipe() -> None:
    from fgnet_plugin.network import FGNet, FGNetConfig
    from fgnet_plugin.training.config.detector import (
        AuxiliaryHead,
        Data,
        DetectorConfig,
        Model,
        Optimiser,
        Rendered,
        Trainer,
        read_detector,
    )
    from fgnet_plugin.training.data.loading import StepSampler
    from fgnet_plugin.training.stages.detector import DetectorStage

    recipe = Optimiser()
    assert (recipe.lr, recipe.weight_decay, recipe.batch_size, recipe.clip) == (5e-5, 5e-4, 16, 0.1)
    assert (recipe.epochs, recipe.batches_per_epoch, recipe.schedule, recipe.ema) == (15, 500, "none", None)
    assert Model().config(AUS) == FGNetConfig(AUS)
    assert FGNetConfig(AUS).dropout == 0.1
    assert not Data(rendered=Rendered(("a",), ("a",))).flip
    assert read_detector("published").guide == AuxiliaryHead(0, 0)
    assert read_detector("published").optimiser == recipe

    # The optimiser itself, over all three parts, at a constant rate; only the ToRGB layers stay out.
    net = FGNet(Model(size=64, width=16).config(AUS))
    data = Data(rendered=Rendered(("a",), ("a",)))
    stage = DetectorStage(net, DetectorConfig(data, Trainer("out")), [], [], StepSampler(100, 16, 1))
    (adamw,) = stage.optimisers = stage.make_optimisers()
    assert type(adamw) is torch.optim.AdamW
    assert (adamw.defaults["lr"], adamw.defaults["weight_decay"], adamw.defaults["betas"]) == (5e-5, 5e-4, (0.9, 0.999))
    for stage.step in range(10):
        stage.set_learning_rates()
        assert adamw.param_groups[0]["lr"] == 5e-5
    trained = {id(parameter) for parameter in adamw.param_groups[0]["params"]}
    left_out = {name for name, parameter in net.named_parameters() if id(parameter) not in trained}
    assert left_out == {name for name, _ in net.named_parameters() if name.startswith("generator.to_rgb.")}


def test_a_training_learns_and_its_export_loads(snapshots: dict[int, Path], toy: Path) -> None:
    import fgnet_plugin

    path = snapshots[10] / "fgnet.safetensors"
    training, net = verify(path).training, fgnet_plugin.load(path)
    assert net.aus == AUS
    assert training["validation"]["auc"] > 0.7
    assert "out" not in training["recipe"]["trainer"]
    frames = list(csv.DictReader((toy / "labels0.csv").open()))[:4]
    faces = torch.stack([torch.from_numpy(np.array(Image.open(toy / row["image_path"]))).permute(2, 0, 1) for row in frames])
    assert net.predict(faces).scores.shape == (4, 3)
    log = list(csv.DictReader((snapshots[10] / "metrics.csv").open()))
    assert [row["step"] for row in log] == ["3", "5", "6", "9", "10"]
    assert float(log[0]["loss"]) > float(log[3]["loss"])
    assert [row["val_auc"] != "" for row in log] == [False, True, False, False, True]


@pytest.mark.parametrize(("step", "workers"), [(5, 0), (7, 2)])
def test_resuming_is_exact(step: int, workers: int, snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    """From the end of an epoch, and from mid-epoch with another number of workers."""
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    out = shutil.copytree(snapshots[step], tmp_path / "out")
    train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={out}", f"trainer.workers={workers}"]), resume=True)
    assert_same_training(out, snapshots[10])


def test_killed_and_resumed_is_never_killed(snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    """The command line, killed with SIGKILL inside step 8 (checkpoints after 2, 4, 5, 6), then resumed."""
    killer = """
import os, signal, sys
from fgnet_plugin.training.stages.detector import DetectorStage
step = DetectorStage.training_step
def training_step(self, batch):
    if self.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)
DetectorStage.training_step = training_step
"""
    run = "import sys; from fgnet_plugin.cli import main; main()"
    arguments = ["train", "detector", "--config", str(toy / "settings.yaml"), "--resume", "--set", f"trainer.out={tmp_path}"]
    first = subprocess.run([sys.executable, "-c", killer + run, *arguments], capture_output=True, text=True)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert "not there yet, starting from the beginning" in first.stdout
    assert not list(tmp_path.glob(".*"))
    second = run_fgnet(*arguments)
    assert second.returncode == 0, second.stderr
    assert "going on after step 6" in second.stdout
    assert_same_training(tmp_path, snapshots[10])


@pytest.mark.parametrize(
    ("step", "how"), [(7, "goes on after step 6"), (1, "starts from the beginning: no step was saved yet")]
)
def test_ctrl_c_says_how_to_go_on(
    step: int, how: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.stages.detector import DetectorStage
    from fgnet_plugin.training.train import train_detector

    training_step = DetectorStage.training_step

    def interrupted(stage: DetectorStage, batch: object) -> object:
        if stage.step == step:
            raise KeyboardInterrupt
        return training_step(stage, batch)

    monkeypatch.setattr(DetectorStage, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={tmp_path}"]))
    assert f"\ninterrupted after step {step}; the same command with --resume {how}\n" in capsys.readouterr().out


def test_a_training_is_not_overwritten_nor_resumed_with_other_settings(snapshots: dict[int, Path], toy: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    here = [f"trainer.out={snapshots[4]}"]
    before = (snapshots[4] / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"(?s)after4 holds a training of 4 steps: give --resume.*trainer.out"):
        train_detector(read_detector(str(toy / "settings.yaml"), here))
    with pytest.raises(ValueError, match=r"(?s)other settings.*optimiser.lr: 0.5, was 0.001\n  trainer.seed: 3, was 0"):
        train_detector(read_detector(str(toy / "settings.yaml"), [*here, "optimiser.lr=0.5", "trainer.seed=3"]), resume=True)
    assert (snapshots[4] / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"global_step": 3})])
def test_a_damaged_checkpoint_is_named(content: bytes, toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt: not a checkpoint of a training, or damaged"):
        train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={tmp_path}"]), resume=True)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_checkpoint_is_executed(snapshots: dict[int, Path], toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    checkpoint = torch.load(snapshots[4] / "last.ckpt", weights_only=True)
    torch.save(checkpoint | {"more": Payload(tmp_path / "executed")}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt: not a checkpoint of a training, or damaged"):
        train_detector(read_detector(str(toy / "settings.yaml"), [f"trainer.out={tmp_path}"]), resume=True)
    assert not (tmp_path / "executed").exists()


def toy_batch(stage: DetectorStage, n: int = 8) -> dict[str, torch.Tensor]:
    """The first faces."""
    samples = [stage.corpus[i] for i in range(n)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_unknown_labels_teach_nothing(toy: Path) -> None:
    stage = toy_stage(toy, "model.architecture.dropout=0.0")
    batch = toy_batch(stage)
    batch["labels"][:, 1] = torch.nan  # an AU that is never labelled
    loss, heatmaps = stage.loss(stage.net, batch["image"], batch["landmarks"], batch["labels"])
    loss.backward()
    readout = stage.net.interpreter.readout
    assert loss > 0
    assert readout.weight.grad[1].abs().max() == 0
    assert readout.weight.grad[0].abs().max() > 0
    # The loss is the mean over the others.
    others = [0, 2]
    from fgnet_plugin.training.data.heatmap_targets import heatmap_targets

    targets = heatmap_targets(batch["landmarks"], batch["labels"], AUS, 16, image_size=64).heatmaps
    torch.testing.assert_close(loss, (heatmaps - targets)[:, others].square().mean())


def test_the_auxiliary_head_is_off_by_default_and_ignores_unknown_labels(toy: Path) -> None:
    assert toy_stage(toy, "guide.labels=0").guide is None
    stage = toy_stage(toy, "guide.labels=2.0", "guide.landmarks=3.0")
    batch = toy_batch(stage)
    batch["labels"][:, 1] = torch.nan
    truth = (batch["landmarks"] + 0.5) / 32 - 1
    read = torch.cat([torch.full((8, 3), 0.0), truth.flatten(1)], 1)
    read[:, 1] = 100.0
    found = stage.head_loss(read, batch["landmarks"], batch["labels"], 64)
    torch.testing.assert_close(found, torch.tensor(2 * np.log(2)).float())
    read[:, 3:] += 0.1
    torch.testing.assert_close(stage.head_loss(read, batch["landmarks"], batch["labels"], 64) - found, torch.tensor(0.03))
    stage.training_step(batch).backward()
    assert stage.guide.weight.grad[0].abs().max() > 0
    assert stage.guide.weight.grad[1].abs().max() == 0
    trained = {id(p) for p in stage.make_optimisers()[0].param_groups[0]["params"]}
    assert id(stage.guide.weight) in trained


def test_only_the_to_rgb_layers_get_no_gradient(toy: Path) -> None:
    stage = toy_stage(toy)
    loss, _ = stage.loss(stage.net, *(toy_batch(stage)[name] for name in ("image", "landmarks", "labels")))
    loss.backward()
    for name, parameter in stage.net.named_parameters():
        assert (parameter.grad is None) == name.startswith("generator.to_rgb."), name


@pytest.mark.parametrize(("settings", "chosen"), [([], "auc"), (["data.csv.choose_by=f1"], "f1")])
def test_the_best_epoch_is_that_of_the_highest_metric(
    settings: list[str], chosen: str, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two epochs the first has the higher AUC, the second the higher F1."""
    from fgnet_plugin.training.engine.checkpoint import Checkpoint

    stage, exported = toy_stage(toy, *settings), []
    monkeypatch.setattr(type(stage), "export", lambda self, metrics, step: exported.append(step))
    checkpoint = Checkpoint(stage, None)
    for stage.step, auc, f1 in ((5, 0.9, 0.2), (10, 0.8, 0.3), (15, 0.7, float("nan"))):
        checkpoint.export_best({"auc": auc, "f1": f1})
    assert (stage.monitor, checkpoint.best, exported) == ((chosen, 0.9, [5]) if chosen == "auc" else (chosen, 0.3, [5, 10]))


def test_validation_workers_stay(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that load validation faces are started once, not for each validation; and end with the training."""
    import multiprocessing.process

    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    start, started = multiprocessing.process.BaseProcess.start, []
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda self: (start(self), started.append(self))[0])
    overrides = [f"trainer.out={tmp_path}", "trainer.workers=1", "optimiser.epochs=3", "optimiser.batches_per_epoch=1"]
    train_detector(read_detector(str(toy / "settings.yaml"), overrides))
    assert len(list(filter(lambda row: row["val_auc"], csv.DictReader((tmp_path / "metrics.csv").open())))) == 3
    assert len(started) == 2  # one for training, one for validation
    for process in started:
        process.join(10)
        assert not process.is_alive()


def test_batches_are_pinned_for_gpus_only(toy: Path) -> None:
    stage = toy_stage(toy)
    assert not stage.train_dataloader().pin_memory
    assert not stage.val_dataloader().pin_memory
    stage.device = torch.device("cuda", 0)
    assert stage.train_dataloader().pin_memory
    assert stage.val_dataloader().pin_memory


def test_settings_that_a_training_did_not_know_yet_and_that_are_off_have_not_changed() -> None:
    from fgnet_plugin.training.config.yaml_dataclass import differences

    old = {"model": {"size": 64}, "seed": 0}
    assert differences(old, {"model": {"size": 64, "new": False}, "seed": 0, "more": None}) == []
    assert differences(old, {"model": {"size": 64, "new": True}, "seed": 0}) == ["model.new: True, was None"]
    assert differences(old, {"model": {"size": None}, "seed": False}) == ["model.size: None, was 64"]
    assert differences(old, {"seed": 1}) == ["model: None, was {'size': 64}", "seed: 1, was 0"]


def test_mirrored_faces_have_mirrored_targets() -> None:
    from fgnet_plugin.training.data.flip import mirror
    from fgnet_plugin.training.data.heatmap_targets import heatmap_targets

    torch.manual_seed(0)
    images, which = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8), torch.tensor([True, False, True])
    landmarks = torch.from_numpy(toy_landmarks(64)) + torch.randn(3, 68, 2)
    aus = ("AU01", "AU04", "AU06", "AU12", "AU17", "AU26")
    labels = torch.randint(0, 2, (3, len(aus))).float()
    mirrored, points = mirror(images, landmarks, which)
    assert torch.equal(mirrored[1], images[1])
    assert torch.equal(mirrored[0], images[0].flip(2))
    maps, mirrored_maps = (heatmap_targets(p, labels, aus, 64, image_size=64).heatmaps for p in (landmarks, points))
    torch.testing.assert_close(mirrored_maps, torch.where(which[:, None, None, None], maps.flip(3), maps))
    again = mirror(mirrored, points, which)
    assert torch.equal(again[0], images)
    torch.testing.assert_close(again[1], landmarks)


def test_a_flipped_training_step_runs(toy: Path) -> None:
    stage = toy_stage(toy, "data.flip=true")
    assert stage.config.data.flip
    batch = toy_batch(stage)
    before = batch["image"].clone()
    assert stage.training_step(batch).isfinite()
    assert torch.equal(batch["image"], before)


def test_bfloat16_trains_as_float32_does(toy: Path, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        out = tmp_path / precision
        changes = [
            f"trainer.out={out}",
            f"trainer.precision={precision}",
            "optimiser.epochs=1",
            "optimiser.batches_per_epoch=3",
            "model.architecture.dropout=0.0",
        ]
        train_detector(read_detector(str(toy / "settings.yaml"), changes))
        weights = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]
        assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}
        losses[precision] = [float(row["loss"]) for row in csv.DictReader((out / "metrics.csv").open()) if row["loss"]]
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)


def test_the_order_depends_on_seed_epoch_and_step_only() -> None:
    from fgnet_plugin.training.data.loading import StepSampler

    whole = list(StepSampler(20, 6, epochs=3, seed=1))
    assert [len(batch) for batch in whole[:4]] == [6, 6, 6, 2]
    for epoch in range(3):
        assert sorted(chain(*whole[4 * epoch : 4 * epoch + 4])) == list(range(20))
    assert whole[:4] != whole[4:8]
    sampler = StepSampler(20, 6, epochs=3, seed=1)
    for sampler.start in range(13):
        assert list(sampler) == whole[sampler.start :]
        assert len(sampler) == 12
    assert list(StepSampler(20, 6, epochs=3, seed=2)) != whole
    assert len(StepSampler(20, 6, epochs=3, batches_per_epoch=2)) == 6
    fresh = StepSampler(20, 6, epochs=2, fresh=True)
    assert list(chain(*fresh)) == list(range(40))


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("none", 0, {0: 1.0, 99: 1.0}),
        ("none", 4, {0: 0.2, 3: 0.8, 4: 1.0}),
        ("cosine", 0, {0: 1.0, 50: 0.5, 100: 0.0}),
        ("cosine", 20, {0: 1 / 21, 20: 1.0, 60: 0.5, 100: 0.0}),
        ("one-cycle", 0, {0: 0.04, 30: 1.0, 65: 0.5, 100: 0.0}),
    ],
)
def test_schedules(schedule: str, warmup: int, expected: dict[int, float]) -> None:
    from fgnet_plugin.training.config.detector import Optimiser
    from fgnet_plugin.training.engine.stage import rate_factor

    settings = Optimiser(schedule=schedule, warmup_steps=warmup)
    assert {step: pytest.approx(rate_factor(settings, step, 100)) for step in expected} == expected


def test_all_bad_settings_are_reported_together(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector

    path = settings(tmp_path, optimiser={"lr": "fast", "epoch": 3, "clip": -1}, trainer={"precision": "16", "workers": True})
    with pytest.raises(ValueError, match=r"settings\.yaml") as caught:
        read_detector(str(path), ["model.architecture.heatmap_size=17", "model", "data.csv.aus=AU01", "data.rendered=5"])
    for line in (
        "optimiser.epoch is unknown; there are lr, weight_decay",
        "optimiser.lr must be a number, got 'fast'",
        "trainer.precision must be one of 32-true, bf16-mixed, got '16'",
        "trainer.workers must be a whole number, got True",
        "model.heatmap_size must be a power of two of at least 8, got 17",
        "--set model: must look like section.key=value",
        "data.csv.aus must be a list, got 'AU01'",
        "data.rendered must be a mapping, got 5",
    ):
        assert line in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optimiser.clip=-1", "optimiser.clip must not be negative"),
        ("optimiser.ema=1.5", "optimiser.ema must be between 0 and 1"),
        ("model.architecture={aus: [AU01]}", "architecture: aus can't be set here"),
        ("model.start_from=fgnet-bp4d", "start_from brings its architecture"),
        ("data.rendered={domains: [studio], val_domains: [studio]}", "give one of rendered and csv"),
        ("data.csv.val_fraction=0", "val_fraction must be between 0 and 1"),
        ("trainer=null", "trainer must be a mapping"),
        ("trainer.threads=0", "threads must be at least 1"),
        ("optimiser.lr=.nan", "lr must be positive"),
        ("data.csv.threshold=0", "threshold must be positive"),
        ("model.architecture={heatmap_size: abc}", "a value is of the wrong kind"),
        ("model.architecture={generator_channels: 5}", "a value is of the wrong kind"),
    ],
)
def test_settings_that_make_no_sense(override: str, says: str, tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector

    with pytest.raises(ValueError, match=says):
        read_detector(str(settings(tmp_path)), [override])


def test_bundled_settings_are_valid() -> None:
    from fgnet_plugin.training.config.bundled import bundled
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.pretraining import read_encoder, read_generator

    assert {"published", "rendered-ci", "rendered-small", "bp4d", "disfa", "generator", "encoder"} <= set(bundled())
    readers = {"generator": read_generator, "encoder": read_encoder}
    for name in bundled():
        readers.get(name.split("-")[0], read_detector)(name)
    assert read_detector("rendered-ci", ["optimiser.lr=1e-3"]).optimiser.lr == 1e-3
    with pytest.raises(ValueError, match="no-such: no such file, and no bundled config of that name"):
        read_detector("no-such")


def test_all_bad_rows_are_reported_together(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import read_csv

    path = toy_corpus(tmp_path, n=9)
    rows = list(csv.reader(path.open()))
    images = [tmp_path / row[1] for row in rows[1:]]
    points = [Path(str(image).replace("aligned_images", "aligned_landmarks")).with_suffix(".npy") for image in images]
    rows[1][2] = "maybe"
    rows[2][3] = "7"
    images[2].unlink()
    images[3].write_bytes(images[3].read_bytes()[:-200])
    Image.new("RGB", (128, 128)).save(images[4])
    points[5].unlink()
    np.save(points[6], np.zeros((68, 3)))
    points[7].write_bytes(b"\x93NUMPY" + pickle.dumps(print))
    np.save(points[8], np.full((68, 2), np.nan))
    csv.writer(path.open("w", newline="")).writerows(rows)
    with pytest.raises(ValueError, match=r"^9 bad rows:") as caught:
        read_csv(path, AUS, 64, Csv(str(path)))
    for line, problem in {
        2: "AU01 is 'maybe', not a number",
        3: "AU06 is 7; labels are 0 or 1, intensities 0…5, 9 or NaN",
        4: f"{images[2]}: no such file",
        5: f"{images[3]}: not an image, or damaged",
        6: f"{images[4]} is 128 × 128 px, the network reads 64 × 64; data.csv.resize: true",
        7: f"{points[5]}: no landmarks (no such file)",
        8: f"{points[6]} must be 68 finite points, got shape [68, 3]",
        9: f"{points[7]}: no landmarks",
        10: f"{points[8]} must be 68 finite points",
    }.items():
        assert f"{path}:{line}: {problem}" in str(caught.value)


def test_columns_that_are_missing(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import au_columns, read_csv

    path = tmp_path / "labels.csv"
    path.write_text("image,au1,frame\n")
    with pytest.raises(ValueError, match="no column") as caught:
        read_csv(path, ("AU01", "AU02"), 64, Csv(str(path)))
    for problem in ("no column for AU02", "no column image_path", "no rows"):
        assert f"{path}: {problem}" in str(caught.value)
    path.write_text("image_path,au1,AU01\na.png,0,1\n")
    with pytest.raises(ValueError, match=r"labels\.csv: several columns for AU01"):
        read_csv(path, ("AU01",), 64, Csv(str(path)))
    path.write_text("image_path,frame\n")
    with pytest.raises(ValueError, match=r"labels\.csv: needs columns such as au1 or AU01"):
        au_columns(path)
    with pytest.raises(ValueError, match="no such file"):
        au_columns(tmp_path / "none.csv")


def test_labels_landmarks_and_sizes_are_read_as_documented(tmp_path: Path) -> None:
    """Landmark columns, intensities with a threshold, unknown labels, resizing, absolute paths, subjects."""
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import au_columns, csv_corpora, read_csv, split

    points = np.random.default_rng(0).uniform(0, 127, (68, 2)).astype(np.float32)
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    header = ["image_path", "AU12", "au01", "subject", *(f"{axis}_{i}" for axis in "xy" for i in range(68))]
    landmarks = [*points[:, 0], *points[:, 1]]
    rows = [
        [tmp_path / "face.png", a, b, s, *landmarks] for a, b, s in [(2, "", "p"), (1.5, 9, "q"), ("NaN", 0, "p"), (5, 3, "r")]
    ]
    path = tmp_path / "labels.csv"
    csv.writer(path.open("w", newline="")).writerows([header, *rows])
    assert au_columns(path) == ("AU12", "AU01")
    config = Csv(str(path), threshold=2.0, resize=True, image_root="/nowhere")
    corpus = read_csv(path, ("AU01", "AU12"), 64, config)
    nan = torch.nan
    torch.testing.assert_close(corpus.labels, torch.tensor([[nan, 1.0], [nan, 0.0], [0.0, nan], [1.0, 1.0]]), equal_nan=True)
    torch.testing.assert_close(corpus[0]["landmarks"], (torch.from_numpy(points) + 0.5) / 2 - 0.5)
    small = torch.from_numpy(pixels[::2, ::2]).permute(2, 0, 1)
    assert corpus[0]["image"].dtype == torch.uint8
    assert (corpus[0]["image"].int() - small.int()).abs().float().mean() < 15  # smoothed at the edges
    rest, aside = split(corpus, 0.3, seed=0)
    assert set(rest.subjects) | set(aside.subjects) == {"p", "q", "r"}
    assert not set(rest.subjects) & set(aside.subjects)
    with pytest.raises(ValueError, match=r"labels\.csv: no AU is present in some validation frames and absent in others"):
        csv_corpora(
            Csv(str(path), val=str(path), threshold=6.0, resize=True, shared_subjects=True), ("AU01", "AU12"), 64, seed=0
        )


def test_blank_lines_are_nothing_and_fields_too_many_are_named(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import read_csv

    path = tmp_path / "labels.csv"
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", toy_landmarks(64))
    path.write_text("image_path,au1,au2\na.png,1,0\n\na.png,0,1\n\n")
    assert read_csv(path, ("AU01", "AU02"), 64, Csv(str(path))).labels.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    path.write_text("image_path,au1,au2\n\na.png,1,0\n,1,0\n")
    with pytest.raises(ValueError, match=r"^1 bad row:\n.*labels\.csv:4: image_path is empty$"):
        read_csv(path, ("AU01", "AU02"), 64, Csv(str(path)))
    path.write_text("image_path,au1,au2\na.png,1,0,7\n")
    with pytest.raises(ValueError, match=r"labels\.csv: rows have more fields than the header"):
        read_csv(path, ("AU01", "AU02"), 64, Csv(str(path)))


def test_few_sample_training_draws_frames(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import Csv
    from fgnet_plugin.training.data.csv_corpus import csv_corpora

    path, val = toy_corpus(tmp_path, n=30), toy_corpus(tmp_path, n=30, seed=1)
    config = Csv(str(path), val=str(val), samples=10, shared_subjects=True)
    drawn = [csv_corpora(config, AUS, 64, seed)[0].images for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10


def test_starting_from_a_checkpoint(snapshots: dict[int, Path], toy: Path) -> None:
    import dataclasses

    import fgnet_plugin
    from fgnet_plugin.training.config.detector import Model
    from fgnet_plugin.training.models.start import detector

    path = snapshots[10] / "fgnet.safetensors"
    old = fgnet_plugin.load(path).state_dict()
    going_on, _ = detector(Model(start_from=str(path), reset_interpreter=False), AUS)
    for name, tensor in going_on.state_dict().items():
        assert torch.equal(tensor, old[name])
    anew, _ = detector(Model(start_from=str(path)), ("AU04", "AU12"))
    assert anew.config == dataclasses.replace(going_on.config, aus=("AU04", "AU12"))
    assert torch.equal(anew.encoder.stem[0].weight, old["encoder.stem.0.weight"])
    assert not torch.equal(anew.interpreter.blocks[0].conv.weight, old["interpreter.blocks.0.conv.weight"])
    with pytest.raises(ValueError, match="has the AUs AU01 AU06 AU12, the data AU04 AU12"):
        detector(Model(start_from=str(path), reset_interpreter=False), ("AU04", "AU12"))


def test_metrics_leave_out_what_is_not_defined() -> None:
    from fgnet_plugin.training.metrics.au_metrics import AUMetrics

    metrics, nan = AUMetrics(("AU01", "AU02", "AU04")), float("nan")
    metrics.update(torch.tensor([[0.1, 0.1, -0.1], [-0.1, 0.2, 0.1]]), torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    metrics.update(torch.tensor([[0.3, -0.1, 0.2]]), torch.tensor([[0.0, nan, nan]]))
    found = metrics.compute()
    assert found["auc"] == found["auc/AU01"] == 0.5
    assert found["f1/AU01"] == pytest.approx(2 / 3)
    assert found["f1/AU02"] == 1.0
    assert np.isnan([found["auc/AU02"], found["auc/AU04"], found["f1/AU04"]]).all()
    assert found["f1"] == pytest.approx((2 / 3 + 1) / 2)
    metrics.reset()
    metrics.update(torch.ones(1, 3), torch.ones(1, 3))
    assert metrics.compute()["f1"] == 1.0


def test_the_command_line() -> None:
    listed = run_fgnet("train", "configs")
    assert "published" in listed.stdout
    assert "The paper's recipe" in listed.stdout
    found = run_fgnet("train", "detector", "--config", "no-such.yaml")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("error: no-such.yaml: no such file")
    assert "Traceback" not in found.stderr


def test_help_loads_no_torch_and_a_missing_extra_is_named() -> None:
    code = """
import sys
import typer.testing
from fgnet_plugin.cli.app import app
runner = typer.testing.CliRunner()
assert "train" in runner.invoke(app, ["--help"]).output
assert "detector" in runner.invoke(app, ["train", "--help"]).output
assert "published" in runner.invoke(app, ["train", "configs"]).output
assert not {"torch", "lightning", "yaml"} & set(sys.modules)
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "lightning" else find(name, *rest)
error = runner.invoke(app, ["train", "detector", "--config", "published"]).exception
assert str(error) == 'training needs lightning; run: pip install "fgnet-plugin[train]"', error
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_imports_neither_pyfeat_nor_kornia() -> None:
    code = """
import sys
sys.modules.update({"feat": None, "kornia": None})
import fgnet_plugin.training.train, fgnet_plugin.training.stages.detector
import fgnet_plugin.training.data.csv_corpus, fgnet_plugin.training.rendered
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_training_that_diverges_stops(tmp_path: Path) -> None:
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector

    toy_corpus(tmp_path)
    config = read_detector(str(settings(tmp_path)), ["optimiser.lr=1e30", "optimiser.clip=0.0"])
    with pytest.raises(ValueError, match=r"training has diverged; lower optimiser\.lr"):
        train_detector(config)
