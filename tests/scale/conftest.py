"""What processes that Ray starts for tests need."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="session", autouse=True)
def environment_of_workers() -> Iterator[None]:
    """They find the detectors that fail, and are not kept waiting by the tests beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
        patch.setenv("RAY_worker_niceness", "0")
        yield
