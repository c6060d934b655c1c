"""docs/bad_inputs.md says what the command line does."""

from pathlib import Path

import bad_inputs
import pytest
from photos import feat_path

pytest.importorskip("av")
PAGE = Path(__file__).parents[2] / "docs" / "bad_inputs.md"


@pytest.mark.slow
def test_the_table_is_what_runs_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGNET_NUM_THREADS", "1")
    written = PAGE.read_text().split(bad_inputs.BEGIN)[1].split(bad_inputs.END)[0]
    found = bad_inputs.table(feat_path("single_face.jpg"), bad_inputs.in_process)
    assert found.splitlines() == written.splitlines()
