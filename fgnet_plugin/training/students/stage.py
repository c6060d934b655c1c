"""Training a student: its heatmaps and activations to its teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, load, save
from fgnet_plugin.faces.face_mesh import load_face_mesh
from fgnet_plugin.network import FGNet, FGNetConfig, decode, normalize
from fgnet_plugin.training.config.detector import Optimiser
from fgnet_plugin.training.config.trainer import Trainer
from fgnet_plugin.training.data.loading import StepSampler
from fgnet_plugin.training.engine.fit import fit
from fgnet_plugin.training.engine.stage import Batch, Stage
from fgnet_plugin.training.students.labels import Coded, Labels, decode_maps
from fgnet_plugin.training.students.looks import mirror, other_looks

STUDENT_FILE = "student.safetensors"
_ACTIVATIONS = 10.0  # weight of their squared errors, which are about so many times smaller than the heatmaps'
_MOST_WEIGHT = 4.0
CHECKPOINT_EVERY = 50
"""Steps between checkpoints, from which an interrupted training goes on."""
_READOUT = "interpreter.readout."


class TaughtFaces:
    """Faces with their teacher's answers, in memory: a corpus for `StudentStage`.

    Args:
        labels: of recordings.
        every_view: each view is a face; otherwise only the first view of each.
        share: take only so many of the faces, evenly over each recording.

    An item is {"image": uint8 [3, S, S], "code": uint8 [A, h, h], "low", "step", "activations", "weight": float32 [A]}.
    """

    def __init__(self, labels: Sequence[Labels], every_view: bool = True, share: float = 1.0) -> None:
        picked = [_evenly(one, share) for one in labels]
        views = slice(None) if every_view else slice(1)
        self.faces = sum(len(rows) for _, rows in picked)
        """Without their other views."""
        self.images = torch.cat([one.images[rows, views].flatten(0, 1) for one, rows in picked])
        coded = [[values[rows, views].flatten(0, 1) for values in one.heatmaps] for one, rows in picked]
        self.heatmaps = Coded(*(torch.cat(values) for values in zip(*coded, strict=True)))
        self.activations = torch.cat([one.activations[rows, views].flatten(0, 1) for one, rows in picked])
        self.weights = face_weights(self.activations)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        code, low, step = (values[index] for values in self.heatmaps)
        labels = {"code": code, "low": low, "step": step, "activations": self.activations[index]}
        return {"image": self.images[index], **labels, "weight": self.weights[index]}


def _evenly(labels: Labels, share: float) -> tuple[Labels, Tensor]:
    """Return labels, and the rows that are a share of their faces."""
    count = len(labels.frame)
    wanted = max(round(share * count), 1)
    return labels, (torch.arange(wanted) * count) // wanted


def face_weights(activations: Tensor) -> Tensor:
    """Weigh faces so that rare AUs, and faces that have them, count more.

    An AU's weight is the reciprocal of the spread of its activations; a face's, within an AU, the square root of how rare its
    decision is, at most 4 times the mean. The whole reciprocal of a share would pull doubtful faces to the rare decision.

    Args:
        activations: [N, A].

    Returns:
        [N, A], the mean of all 1.
    """
    spread = activations.std(0, unbiased=False)
    of_au = (spread.mean() / spread.clamp(min=1e-4)).clamp(1 / _MOST_WEIGHT, _MOST_WEIGHT)
    present = activations > 0
    share = present.float().mean(0)
    of_face = (
        torch.where(present, 0.5 / share.clamp(min=1e-4), 0.5 / (1 - share).clamp(min=1e-4)).sqrt().clamp(max=_MOST_WEIGHT)
    )
    weights = of_au * of_face / of_face.mean(0)
    return weights / weights.mean()


def new_student(config: FGNetConfig, start_from: str, seed: int) -> FGNet:
    """Make a student as its training begins: weights of `start_from` where name and shape are the same, others random.

    Of the last layer, each AU's weights are taken if `start_from` knows the AU.

    Returns:
        The network in training mode.

    Raises CheckpointError: no such file.
    """
    torch.manual_seed(seed)
    net = FGNet(config).prepare(channels_last=True).train()
    if net.encoder.geometry is not None:
        net.encoder.geometry.mesh.load_state_dict(load_face_mesh().state_dict())
    if not start_from:
        return net
    old, state = load(start_from), net.state_dict()
    for name, value in old.state_dict().items():
        if name.startswith(_READOUT) and name in state and value.shape[1:] == state[name].shape[1:]:
            for i, au in enumerate(config.aus):
                if au in old.aus:
                    state[name][i].copy_(value[old.aus.index(au)])
        elif name in state and value.shape == state[name].shape:
            state[name].copy_(value)
    return net


class StudentStage(Stage):
    """A student in training, exported to ``out/student.safetensors`` after the last step.

    Args:
        net: from `new_student`.
        corpus, val_corpus: faces to learn from, and held-out ones, on which the loss is watched but nothing is chosen.
        sampler: of the corpus.
        optimiser, trainer: settings.
        recipe: what the training depends on, as JSON knows it.
        teacher_size: side of the faces that the teacher reads, px.
    """

    monitor, maximise = "loss", False  # of one validation, after the last step: the held-out people are for measuring
    net: FGNet
    average: FGNet | None

    def __init__(
        self,
        net: FGNet,
        corpus: TaughtFaces,
        val_corpus: TaughtFaces,
        sampler: StepSampler,
        optimiser: Optimiser,
        trainer: Trainer,
        recipe: dict[str, Any],
        teacher_size: int,
    ) -> None:
        net.generator.to_rgb.requires_grad_(False)
        super().__init__(net, corpus, val_corpus, sampler, optimiser, trainer, recipe)
        self.teacher_size = teacher_size
        self._losses: list[Tensor] = []

    @property
    def trained(self) -> FGNet:
        """See `Stage.trained`."""
        return self.net if self.average is None else self.average

    def use_channels_last(self) -> None:
        """Nothing: `FGNet.prepare` has set the layout, which differs between its weights."""

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch, half of whose faces are mirrored."""
        images, heatmaps = batch["image"], decode_maps(Coded(batch["code"], batch["low"], batch["step"]))
        which = (self.uniform(len(images)) < 0.5).to(images.device)
        images, heatmaps = mirror(images, heatmaps, which, self.teacher_size)
        return student_loss(self.net(other_looks(images)), heatmaps, batch["activations"], batch["weight"])

    def validation_step(self, batch: Batch) -> None:
        """Gathers the loss of a batch."""
        heatmaps = decode_maps(Coded(batch["code"], batch["low"], batch["step"]))
        found = self.trained(normalize(batch["image"]))
        loss = student_loss(found, heatmaps, batch["activations"], torch.ones_like(batch["activations"]))
        self._losses.append(torch.stack([loss * len(found), loss.new_tensor(float(len(found)))]))

    def validation_metrics(self) -> dict[str, float]:
        """The loss over the held-out faces, each AU and face counting the same."""
        total, count = torch.stack(self._losses).sum(0).tolist()
        self._losses = []
        return {"loss": total / max(count, 1)}

    def metric_names(self) -> list[str]:
        """See `validation_metrics`."""
        return ["loss"]

    def export(self, metrics: dict[str, float], step: int) -> None:
        """Writes the student, without its report yet."""
        info = CheckpointInfo(self.net.config, "", training={"by": "fgnet train student", "step": step, "recipe": self.recipe})
        save(self.trained, Path(self.machine.out) / STUDENT_FILE, info)


def student_loss(found: Tensor, heatmaps: Tensor, activations: Tensor, weight: Tensor) -> Tensor:
    """Weighted squared errors of heatmaps [B, A, h, h], unclamped, and of activations [B, A]; weight [B, A]. A scalar."""
    found = found.float()
    of_maps = (found - heatmaps).square().mean((2, 3))
    of_activations = (decode(found) - activations).square()
    return (weight * (of_maps + _ACTIVATIONS * of_activations)).mean()


def train_on(
    faces: TaughtFaces,
    held_out: TaughtFaces,
    net: FGNet,
    out: Path,
    steps: int,
    settings: dict[str, Any],
    recipe: dict[str, Any],
    teacher_size: int,
) -> FGNet:
    """Train a student, or go on with its training where it was interrupted.

    Args:
        faces, held_out: see `StudentStage`.
        net: see `new_student`.
        out: folder of the training.
        steps: of the training.
        settings: "batch_size", "lr", "seed", "threads", "progress".
        recipe: see `StudentStage`.
        teacher_size: see `StudentStage`.

    Returns:
        The student in evaluation mode.
    """
    batch = min(settings["batch_size"], len(faces))
    epochs = -(-steps // -(-len(faces) // batch))
    optimiser = Optimiser(
        lr=settings["lr"], weight_decay=1e-3, batch_size=batch, clip=1.0, epochs=epochs, batches_per_epoch=None,
        validate_every=epochs, schedule="one-cycle", ema=0.99,
    )  # fmt: skip
    trainer = Trainer(
        str(out), seed=settings["seed"], accelerator="cpu", threads=settings["threads"], progress=settings["progress"],
        checkpoint_every=CHECKPOINT_EVERY,
    )  # fmt: skip
    sampler = StepSampler(len(faces), batch, epochs, seed=settings["seed"])
    stage = StudentStage(net, faces, held_out, sampler, optimiser, trainer, recipe, teacher_size)
    if not (out / STUDENT_FILE).is_file():
        fit(stage, resume=True)
    return load(out / STUDENT_FILE)
