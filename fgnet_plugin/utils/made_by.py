"""What the AUs of a table were made by: the weights, and the models that found faces and landmarks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.utils.journal import read_settings
from fgnet_plugin.utils.tables import read_origin

RUN_ATTRIBUTE = "fgnet_run"
"""The key in a DataFrame's ``attrs`` under which the settings of its run are, as JSON: pandas copies texts at no cost."""
_ATTRIBUTE = "made_by"


@dataclass(frozen=True)
class MadeBy:
    """What the AUs of a table were made by. Scores of two tables mean the same only where all of this is the same."""

    weights: str
    """The digest of FG-Net's checkpoint, as ``fgnet weights`` shows it; the name of another AU model."""
    face_model: str
    landmark_model: str

    def note(self, table: pd.DataFrame) -> None:
        """Note it in the attributes of a table of another tool, which pandas keeps through selections."""
        table.attrs[_ATTRIBUTE] = asdict(self)

    @staticmethod
    def of_table(table: pd.DataFrame) -> MadeBy | None:
        """Get what `detect` or `note` noted in a table; None without."""
        noted, run = table.attrs.get(_ATTRIBUTE), table.attrs.get(RUN_ATTRIBUTE)
        if isinstance(noted, dict):
            return MadeBy(**noted)
        return MadeBy.of_settings(json.loads(run)) if isinstance(run, str) else None

    @staticmethod
    def of_file(path: Path) -> MadeBy | None:
        """Read what the file beside a table of ``fgnet detect`` says (``fex.csv.run``), or a Parquet file itself; None without.

        Raises InputError for a damaged file.
        """
        settings = read_settings(path)
        if settings is None and path.suffix.lower() == ".parquet" and path.is_file():
            noted = read_origin(path)
            settings = None if noted is None else json.loads(noted)
        return None if settings is None else MadeBy.of_settings(settings)

    @staticmethod
    def of_settings(run: dict[str, Any]) -> MadeBy:
        """Make it of the settings of a run of ``fgnet detect``."""
        return MadeBy.of_models(run.get("checkpoint"), run.get("models") or {})

    @staticmethod
    def of_models(digest: str | None, models: dict[str, Any]) -> MadeBy:
        """Make it of the digest of FG-Net's checkpoint, if there is one, and a detector's names of its models."""
        return MadeBy(*(str(name or "") for name in (digest or models.get("au_model"), *map(models.get, _MODELS))))


_MODELS = "face_model", "landmark_model"
