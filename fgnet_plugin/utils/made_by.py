"""What the AUs of a table were made by: the weights, and the models that found faces and landmarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fgnet_plugin.utils.journal import read_settings

_ATTRIBUTE = "made_by"


@dataclass(frozen=True)
class MadeBy:
    """What the AUs of a table were made by. Scores of two tables mean the same only where all of this is the same."""

    weights: str
    """The digest of FG-Net's checkpoint, as ``fgnet weights`` shows it; the name of another AU model."""
    face_model: str
    landmark_model: str

    def note(self, table: pd.DataFrame) -> None:
        """Note it in the attributes of a table, which pandas keeps through selections and in its own Parquet files."""
        table.attrs[_ATTRIBUTE] = asdict(self)

    @staticmethod
    def of_table(table: pd.DataFrame) -> MadeBy | None:
        """Get what `note` noted in a table; None without."""
        noted = table.attrs.get(_ATTRIBUTE)
        return MadeBy(**noted) if isinstance(noted, dict) else None

    @staticmethod
    def of_file(path: Path) -> MadeBy | None:
        """Read what the file beside a table of ``fgnet detect`` says (``fex.csv.run``); None without such a file."""
        settings = read_settings(path)
        return None if settings is None else MadeBy.of_models(settings.get("checkpoint"), settings.get("models") or {})

    @staticmethod
    def of_models(digest: str | None, models: dict[str, Any]) -> MadeBy:
        """Make it of the digest of FG-Net's checkpoint, if there is one, and a detector's names of its models."""
        return MadeBy(*(str(name or "") for name in (digest or models.get("au_model"), *map(models.get, _MODELS))))


_MODELS = "face_model", "landmark_model"
