"""How a table was made, as sentences for a methods section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fgnet_plugin.checkpoints.registry import manifest
from fgnet_plugin.inference.provenance import provenance_of_table
from fgnet_plugin.report.timeline import Timeline
from fgnet_plugin.utils.journal import read_settings
from fgnet_plugin.utils.text import counted

CITATIONS = {
    "fgnet": "Yin, Y., Chang, D., Song, G., Sang, S., Zhi, T., Liu, J., Luo, L., & Soleymani, M. (2024). FG-Net: Facial action "
    "unit detection with generalizable pyramidal features. WACV 2024. arXiv:2308.12380",
    "pyfeat": "Cheong, J. H., Jolly, E., Xie, T., Byrne, S., Kenney, M., & Chang, L. J. (2023). Py-Feat: Python facial "
    "expression analysis toolbox. Affective Science, 4, 781–796. doi:10.1007/s42761-023-00191-4",
    "facemesh": "Kartynnik, Y., Ablavatski, A., Grishchenko, I., & Grundmann, M. (2019). Real-time facial surface geometry "
    "from monocular video on mobile GPUs. arXiv:1907.06724",
    "blazeface": "Bazarevsky, V., Kartynnik, Y., Vakunov, A., Raveendran, K., & Grundmann, M. (2019). BlazeFace: "
    "Sub-millisecond neural face detection on mobile GPUs. arXiv:1907.05047",
    "facs": "Ekman, P., Friesen, W. V., & Hager, J. C. (2002). Facial Action Coding System (2nd ed.). Research Nexus.",
}


@dataclass(frozen=True)
class Provenance:
    """How a table was made, as far as that is known."""

    au_model: str | None
    """Name of the AU model, or None where unknown."""
    digest: str | None
    """sha256 of FG-Net's weights."""
    offline: bool | None
    """Whether faces were found by the networks of this package."""
    settings: dict[str, Any]
    """The run's settings that are not at their defaults, in words."""
    folder: Path | None = None
    """From where the inputs are named."""
    version: str | None = None
    """Of fgnet-plugin, where the run noted it."""

    @property
    def is_fgnet(self) -> bool:
        """Whether the AUs are FG-Net's."""
        return self.digest is not None

    @property
    def licence(self) -> str:
        """What the manifest says of the weights' licence; empty for other models and weights of one's own."""
        entry = manifest().get(self.au_model or "")
        return f"{entry.name}: {entry.about} ({entry.licence})." if entry else ""


def provenance_of(table: pd.DataFrame | Path) -> Provenance:
    """Tell how a table was made by `fgnet_plugin.provenance`, as far as pages show it. Raises InputError for a damaged file."""
    told = provenance_of_table(table, hashes=False)
    models, weights, run = told["models"], told["weights"], told["settings"]
    if not models:
        return Provenance(None, None, None, {})
    named = {"skip_frames": "every so many-th frame", "faces": "faces", "precision": "precision", "output_size": "output size"}
    usual = {"faces": "all", "precision": "float32"}
    settings = {text: run[key] for key, text in named.items() if run.get(key) not in (None, usual.get(key))}
    version = told["versions"].get("fgnet-plugin")
    begun = None if isinstance(table, pd.DataFrame) else read_settings(table)
    folder = None if begun is None else begun.get("about", {}).get("folder")
    return Provenance(
        models["au_model"],
        None if weights is None else weights["digest"],
        models["face_model"] == "bundled",
        settings,
        None if folder is None else Path(folder),
        version,
    )


def citations(made: Provenance) -> list[str]:
    """List what to cite."""
    keys = ["facs"]
    if made.is_fgnet:
        keys.insert(0, "fgnet")
    if made.offline:
        keys += ["blazeface", "facemesh"]
    elif made.offline is not None:
        keys.append("pyfeat")
    return [CITATIONS[key] for key in keys]


def methods_paragraph(shown: Sequence[Timeline], made: Provenance, threshold: float) -> str:
    """Write the paragraph for a methods section, with the numbers of these recordings."""
    frames = sum(len(recording.frames) for recording in shown)
    with_face = sum(len(recording.boxes) for recording in shown)
    pictures = sum(recording.is_picture for recording in shown)
    videos = len(shown) - pictures
    what = " and ".join(
        text for text in (_count(videos, "video recording"), _count(pictures, "picture")) if not text.startswith("0 ")
    )
    seconds = float(np.nansum([recording.duration for recording in shown]))
    length = f" ({_length(seconds)} in all)" if seconds > 0 else ""
    aus = sorted({au for recording in shown for au in recording.aus})
    numbers = ", ".join(str(int(au[2:])) for au in aus)
    model = _model(made)
    every = made.settings.get("every so many-th frame")
    sampled = f" Of the videos, one frame in {every} was analysed." if every else ""
    return (
        f"Facial action units (AUs; Ekman, Friesen, & Hager, 2002) were scored automatically in {what}{length} with {model}. "
        f"{_faces(made)}The model gives a score between 0 and 1 for each of {counted(len(aus), 'AU')} ({numbers}) in each "
        f"face; an AU was counted as present where its score was at least {threshold:g}.{sampled} A face was found in "
        f"{with_face:,} of {counted(frames, 'frame', form=',')} ({with_face / frames:.1%}); frames without a face were left "
        "out. Scores were not calibrated against human coding of these recordings."
    )


def _model(made: Provenance) -> str:
    if made.au_model is None:
        return "[the AU model: the table does not name it]"
    if made.is_fgnet:
        version = f"fgnet-plugin {made.version}" if made.version else "fgnet-plugin"
        return f"{made.au_model} (FG-Net; Yin et al., 2024; weights sha256 {str(made.digest)[:12]}…; {version})"
    return f"py-feat's model {made.au_model}"


def _faces(made: Provenance) -> str:
    if made.offline is None:
        return ""
    if made.offline:
        return "Faces and landmarks were found with BlazeFace (Bazarevsky et al., 2019) and FaceMesh (Kartynnik et al., 2019). "
    return "Faces and landmarks were found with py-feat (Cheong et al., 2023). "


def _count(number: int, what: str) -> str:
    return counted(number, what, form=",")


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
