"""Training and validation data of a config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_plugin.action_units import au_number
from fgnet_plugin.training.config.detector import Csv, DetectorConfig, Rendered
from fgnet_plugin.training.config.pretraining import EncoderConfig, Faces, GeneratorConfig
from fgnet_plugin.training.data.csv_corpus import au_columns, csv_corpora, read_csv, split
from fgnet_plugin.training.data.image_folder import image_corpora
from fgnet_plugin.training.data.loading import Corpus, StepSampler

if TYPE_CHECKING:
    from fgnet_plugin.training.rendered import HeadCorpus, RenderedCorpus


def unlabelled_corpora(config: GeneratorConfig | EncoderConfig, data: Faces, size: int) -> tuple[Corpus, Corpus, StepSampler]:
    """Training faces, validation faces, and the order of the training's."""
    settings = config.optimiser
    corpus: Corpus
    if data.rendered is not None:
        corpus, val_corpus = rendered_corpora(data.rendered, size, settings.epochs)
        samples, fresh = data.rendered.faces_per_epoch, data.rendered.fresh
    elif data.csv:
        whole = read_csv(Path(data.csv), (), size, Csv(data.csv, resize=True))
        corpus, val_corpus = split(whole, data.val_fraction, config.trainer.seed, data.csv)
        samples, fresh = len(corpus), False
    else:
        corpus, val_corpus = image_corpora(data.folder, size, data.val_fraction, config.trainer.seed)
        samples, fresh = len(corpus), False
    sampler = StepSampler(
        samples, settings.batch_size, settings.epochs, settings.batches_per_epoch, seed=config.trainer.seed, fresh=fresh
    )
    return corpus, val_corpus, sampler


def corpus_aus(config: DetectorConfig) -> tuple[str, ...]:
    """The AUs that a training's data has labels for, in channel order. Raises ValueError for names that are no AUs."""
    if config.data.rendered is not None:
        return _renderer(config.data.rendered).aus
    csv = config.data.csv
    assert csv is not None
    for au in csv.aus:
        au_number(au)
    return csv.aus or au_columns(Path(csv.train))


def detector_corpora(config: DetectorConfig, aus: tuple[str, ...], size: int) -> tuple[Corpus, Corpus, StepSampler]:
    """Training faces, validation faces, and the order of the training's."""
    data = config.data
    if data.rendered is not None:
        corpora = rendered_corpora(data.rendered, size, config.optimiser.epochs)
        return *corpora, sampler_of(config, data.rendered, data.rendered.faces_per_epoch)
    assert data.csv is not None
    corpus, val_corpus = csv_corpora(data.csv, aus, size, config.trainer.seed)
    return corpus, val_corpus, sampler_of(config, data.csv, len(corpus))


def rendered_corpora(data: Rendered, size: int, epochs: int) -> tuple[Corpus, Corpus]:
    """Rendered training and validation faces, aligned. Raises ValueError for unknown domains."""
    from fgnet_plugin.training.rendered import DOMAINS

    unknown = sorted({*data.domains, *data.val_domains} - set(DOMAINS))
    if unknown:
        raise ValueError(f"unknown domains {', '.join(unknown)}; there are {', '.join(DOMAINS)}")
    faces = data.faces_per_epoch * (epochs if data.fresh else 1)
    renderer = _renderer(data)
    return renderer(data.domains, size, data.seed, faces), renderer(data.val_domains, size, data.val_seed, data.val_faces)


def _renderer(data: Rendered) -> type[HeadCorpus | RenderedCorpus]:
    from fgnet_plugin.training.rendered import HeadCorpus, RenderedCorpus  # the renderer is slow to import

    return HeadCorpus if data.renderer == "heads" else RenderedCorpus


def sampler_of(config: DetectorConfig, data: Rendered | Csv, samples: int, epochs: int | None = None) -> StepSampler:
    """The order of a corpus with so many faces an epoch; for so many epochs, by default the settings'."""
    settings = config.optimiser
    fresh = isinstance(data, Rendered) and data.fresh
    return StepSampler(
        samples,
        settings.batch_size,
        epochs or settings.epochs,
        settings.batches_per_epoch,
        seed=config.trainer.seed,
        fresh=fresh,
    )
