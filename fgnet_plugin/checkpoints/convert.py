"""Convert the authors' two files to one checkpoint."""

from __future__ import annotations

from pathlib import Path

from fgnet_plugin.action_units import corpus_aus
from fgnet_plugin.checkpoints import published
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.checkpoints.mismatches import raise_mismatches
from fgnet_plugin.network import FGNetConfig
from fgnet_plugin.utils.files import sha256
from fgnet_plugin.utils.safetensors_file import as_stored

PUBLISHED_LICENCE = (
    "Weights by the authors of FG-Net (ihp-lab/FG-Net), trained on a corpus whose licence covers research only; "
    "generator and encoder pretrained on FFHQ (CC BY-NC-SA 4.0)."
)


def convert_published(
    model_pth: Path | str,
    encoder_pt: Path | str,
    corpus: str,
    out: Path | str,
    *,
    fold: int | None = None,
    half: bool = False,
    config: FGNetConfig | None = None,
) -> Path:
    """Convert the authors' two files to one checkpoint, exactly (unless `half`).

    The untrained output channels are kept beside the network, for `export`.

    Args:
        model_pth: FG-Net's ``model.pth`` for that corpus.
        encoder_pt: pSp's ``encoder.pt``, for the average latent code.
        corpus: ``"BP4D"`` or ``"DISFA"``, which decides the AUs of the channels.
        out: the file to write.
        fold: test fold of the corpus, where known.
        half: store float16: 650 MB instead of 1.3 GB.
        config: an architecture other than the published one.

    Raises:
        ValueError: unknown corpus.
        CheckpointError: a file is missing, truncated, another kind of file, or holds code; nothing is written.

    Example:
        >>> path = convert_published("model.pth", "encoder.pt", "DISFA", "fgnet-disfa.safetensors")  # doctest: +SKIP
        >>> Detector(au_model=path)  # doctest: +SKIP
    """
    model_pth, encoder_pt = Path(model_pth), Path(encoder_pt)
    config = FGNetConfig(aus=corpus_aus(corpus)) if config is None else config
    average = published.read_latent_average(encoder_pt, config)
    parts = published.read_model(model_pth, config)
    state, not_finite = {"encoder.latent_average": average}, []
    for name, tensor in published.assemble(parts, config):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            not_finite.append(f"{name} holds NaN or infinity")
        state[name] = as_stored(name, tensor, half)  # halved one by one: both sizes together would need more memory
    raise_mismatches(model_pth, not_finite)
    state |= published.untrained_channels(parts["interpreter"], config)
    del parts
    files = {"model.pth": model_pth, "encoder.pt": encoder_pt}
    info = CheckpointInfo(
        config=config,
        corpus=corpus.upper(),
        fold=fold,
        training={"by": "the authors of FG-Net", "paper": "Yin et al., WACV 2024, arXiv 2308.12380"},
        licence=PUBLISHED_LICENCE,
        sources={name: sha256(file) for name, file in files.items()},
        padding="constant",  # as the authors prepared both corpora
    )
    return save(state, out, info)
