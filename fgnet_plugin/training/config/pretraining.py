"""The settings of the two stages before the detector's: a generator of faces, and an encoder that inverts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fgnet_plugin.training.config import yaml_dataclass
from fgnet_plugin.training.config.bundled import config_path
from fgnet_plugin.training.config.detector import Optimiser, Rendered, Sizes
from fgnet_plugin.training.config.trainer import Trainer


@dataclass(frozen=True)
class Faces:
    """Where unlabelled faces come from: exactly one of the three."""

    rendered: Rendered | None = None
    """Rendered ones; their labels are not looked at."""
    folder: str = ""
    """A folder of aligned faces, searched with its subfolders: JPEG or PNG, square."""
    csv: str = ""
    """A CSV file of aligned faces as the detector's stage reads; larger ones are resized. Their landmarks are taken, which some
    terms of `Reconstruction` need, and no labels."""
    val_fraction: float = 0.05
    """Share of the folder's pictures, or of the file's subjects, that is set aside."""
    flip: bool = True
    """Mirror half of the faces."""

    def __post_init__(self) -> None:
        if sum([self.rendered is not None, bool(self.folder), bool(self.csv)]) != 1:
            raise ValueError("give one of rendered, folder and csv")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction must be between 0 and 1, got {self.val_fraction}")


@dataclass(frozen=True)
class Adversarial:
    """The game of generator and discriminator. The defaults are StyleGAN2's (Karras et al. 2020, section 3 and appendix B)."""

    r1: float = 10.0
    """γ: γ/2 times the squared gradient at real images is added to the discriminator's loss."""
    r1_every: int = 16
    """Steps between such additions, which are then so many times as heavy (lazy regularisation)."""
    path_length: float = 2.0
    """Weight of the path lengths' spread in the generator's loss."""
    path_length_every: int = 8
    """As in the paper's appendix B; the published code, whose weights FG-Net starts from, has 4."""
    path_length_shrink: int = 2
    """The path lengths are those of a batch so many times smaller."""
    mixing: float = 0.9
    """Share of images whose later layers are styled by another latent code than their earlier ones."""

    def __post_init__(self) -> None:
        if min(self.r1, self.path_length) < 0 or not 0 <= self.mixing <= 1:
            raise ValueError("r1 and path_length must not be negative, mixing must be in [0, 1]")
        if min(self.r1_every, self.path_length_every, self.path_length_shrink) < 1:
            raise ValueError("r1_every, path_length_every and path_length_shrink must be at least 1")


@dataclass(frozen=True)
class Ada:
    """Adaptive discriminator augmentation, for corpora too small for the discriminator not to learn by heart.

    The defaults are the published ones (Karras et al. 2020, "Training generative adversarial networks with limited data").
    """

    target: float = 0.6
    """Augmentation becomes more likely while the mean sign of real images' logits is above, less likely while it is below."""
    images: int = 500_000
    """Over so many images its probability would go from 0 to 1."""
    every: int = 4
    """Steps from one adaptation to the next."""
    limit: float = 0.8
    """The probability stays below; the published code has no limit. At 1 every image would be turned, and the generator could
    not know which way up faces are."""

    def __post_init__(self) -> None:
        if not -1 < self.target < 1 or not 0 < self.limit <= 1:
            raise ValueError(f"target must be between -1 and 1, limit in (0, 1], got {self.target} and {self.limit}")
        if min(self.images, self.every) < 1:
            raise ValueError("images and every must be at least 1")


@dataclass(frozen=True)
class GeneratorOptimiser(Optimiser):
    """Adam without momentum, for generator and discriminator alike."""

    lr: float = 2e-3
    weight_decay: float = 0.0
    batch_size: int = 32
    clip: float = 0.0
    epochs: int = 100
    batches_per_epoch: int | None = None
    ema: float | None = 0.998
    """Decay of the generator's running average, which is what is exported: half of it is younger than 350 steps."""
    ema_images: int | None = None
    """Half-life of that average in images, whatever the batch: 10,000 as published (Karras et al. 2020). Replaces `ema`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ema_images is not None:
            if self.ema_images < 1:
                raise ValueError(f"ema_images must be at least 1, got {self.ema_images}")
            object.__setattr__(self, "ema", 0.5 ** (self.batch_size / self.ema_images))  # as rosinality's and NVlabs' code
        if self.clip or self.weight_decay:
            raise ValueError("clip and weight_decay are not for the adversarial game: leave them 0")
        _check_no_backbone(self)


@dataclass(frozen=True)
class EncoderOptimiser(Optimiser):
    """AdamW over the encoder."""

    lr: float = 1e-4
    weight_decay: float = 0.0
    batch_size: int = 8
    clip: float = 0.0
    epochs: int = 15
    batches_per_epoch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_no_backbone(self)


def _check_no_backbone(settings: Optimiser) -> None:
    if settings.backbone_lr_factor != 1:
        raise ValueError("backbone_lr_factor is the detector's: leave it 1")


@dataclass(frozen=True)
class Reconstruction:
    """What an inverted face is compared by, and what else its code is to tell. LPIPS and identity need weights of your own.

    pSp's published training for FFHQ has ``pixels: 1.0``, ``lpips: 0.8``, ``identity: 0.1`` and no other.
    """

    pixels: float = 1.0
    """Weight of the mean squared error of pixels in [-1, 1]."""
    structure: float = 0.0
    """Weight of 1 - SSIM, over scales halved until 16 px."""
    features: float = 1.0
    """Weight of the mean absolute error of the discriminator's maps, by their spread; needs a generator stage's file."""
    lpips: float = 0.0
    """Weight of LPIPS 0.1; needs `lpips_backbone`."""
    lpips_net: Literal["alex", "vgg"] = "alex"
    """pSp has AlexNet."""
    lpips_backbone: str = ""
    """torchvision's weights for ImageNet: ``alexnet-owt-7be5be79.pth`` or ``vgg16-397923af.pth``."""
    lpips_linear: str = ""
    """``lpips/weights/v0.1/alex.pth`` or ``vgg.pth`` of richzhang/PerceptualSimilarity; empty: torchmetrics' copy of it."""
    identity: float = 0.0
    """Weight of 1 - cosine of ArcFace's embeddings; needs `identity_weights`."""
    identity_weights: str = ""
    """``model_ir_se50.pth``."""
    regions: float = 0.0
    """How many times more a pixel at eyes, brows or mouth counts than one far from them; needs the landmarks of `Faces.csv`."""
    landmarks: float = 0.0
    """Weight of the mean squared errors of what one linear layer reads off the codes, and another off the generator's maps up
    to 16 px: the face's landmarks less its pose, and the shapes of brows, eyes, nose and mouth, in their spread over faces
    (`landmark_shapes`). Both layers are thrown away. Needs the landmarks of `Faces.csv`."""

    def __post_init__(self) -> None:
        weights = self.pixels, self.structure, self.features, self.lpips, self.identity
        if min(weights) < 0 or not sum(weights):
            raise ValueError("pixels, structure, features, lpips and identity must not be negative, and one of them positive")
        if min(self.regions, self.landmarks) < 0:
            raise ValueError("regions and landmarks must not be negative")
        for weight, file in (("lpips", "lpips_backbone"), ("identity", "identity_weights")):
            if bool(getattr(self, weight)) != bool(getattr(self, file)):
                raise ValueError(f"{weight} and {file} go together: give both, or leave both out")


@dataclass(frozen=True)
class GeneratorConfig:
    """A training of StyleGAN2 from scratch."""

    data: Faces
    trainer: Trainer
    model: Sizes = field(default_factory=Sizes)
    optimiser: GeneratorOptimiser = GeneratorOptimiser()
    adversarial: Adversarial = Adversarial()
    ada: Ada | None = None
    """Adaptive augmentation; ``{}`` for the published settings. None: no augmentation."""
    fid_weights: str = ""
    """Inception's weights, ``pt_inception-2015-12-05-6726825d.pth``: validations then compute FID, too, and the best weights
    are those of the least FID. Needs the extra `fid`."""
    start_from: str = ""
    """Weights to go on from: StyleGAN2 in rosinality's layout (NVlabs' pickles, converted), or a file of this stage; they must
    fit `model`. Empty: random weights."""
    licence: str = ""
    """Of the faces: recorded in what is exported."""


@dataclass(frozen=True)
class EncoderConfig:
    """A training of pSp: an encoder that inverts a frozen generator, or with `train_generator` an encoder and a generator."""

    data: Faces
    trainer: Trainer
    start_from: str = ""
    """The generator: a file of the stage `generator`, or StyleGAN2 in rosinality's layout. Empty: random weights of the sizes
    in `model`, to be trained with the encoder."""
    model: Sizes = field(default_factory=Sizes)
    train_generator: bool = False
    """Train the generator, too, without a discriminator: both learn what reconstructs faces."""
    start_encoder: str = ""
    """Weights of the encoder to go on from: pSp's encoder.pt, or a file of this stage; or ArcFace's model_ir_se50.pth for its
    trunk, as pSp's own training has it. Empty: random weights."""
    latent: Literal["z", "w"] = "z"
    """What the encoder's rows are. z: the generator's mapping network turns them into styles, which is how FG-Net runs it, so
    that the detector starts with faces that are reconstructed. w: they are styles, as pSp's own training has it."""
    optimiser: EncoderOptimiser = EncoderOptimiser()
    loss: Reconstruction = Reconstruction()
    licence: str = ""

    def __post_init__(self) -> None:
        if (self.loss.regions or self.loss.landmarks) and not self.data.csv:
            raise ValueError("loss.regions and loss.landmarks need data.csv, whose faces have landmarks")
        if not self.start_from and not self.train_generator:
            raise ValueError("start_from is empty: name a generator, or set train_generator")
        if self.start_from and self.model != Sizes():
            raise ValueError("start_from brings its sizes: leave out model")
        if not self.start_from and (self.loss.features or self.latent == "w"):
            raise ValueError("loss.features and latent: w need a generator in start_from")


def read_generator(name_or_path: str, overrides: Sequence[str] = ()) -> GeneratorConfig:
    """The settings of a generator's training. Raises ValueError, listing all that does not fit."""
    return yaml_dataclass.read(GeneratorConfig, config_path(name_or_path), overrides)


def read_encoder(name_or_path: str, overrides: Sequence[str] = ()) -> EncoderConfig:
    """The settings of an encoder's training. Raises ValueError, listing all that does not fit."""
    return yaml_dataclass.read(EncoderConfig, config_path(name_or_path), overrides)
