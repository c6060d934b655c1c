"""A pytest plug-in that runs py-feat's own tests on made-up weights: ``python -m pytest -p pyfeat_suite --pyargs feat.tests``.

$FGNET_HUB is a folder of `pyfeat_weights.make_hub_cache`. With $FGNET_SUITE = "register", `fgnet_plugin.register` is called
first; with "detector", py-feat's tests get FG-Net's detector in the place of ``Detectorv1``.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

_open = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    import feat.detector
    import matplotlib as mpl
    from pyfeat_weights import hub_cache, real_face_boxes

    import fgnet_plugin

    mpl.use("Agg")
    _open.enter_context(hub_cache(Path(os.environ["FGNET_HUB"])))
    _open.enter_context(real_face_boxes())
    mode = os.environ.get("FGNET_SUITE")
    if mode == "register":
        fgnet_plugin.register()
    if mode == "detector":

        class WithFGNet(fgnet_plugin.Detector):
            def __init__(self, **models: Any) -> None:
                super().__init__(**({"au_model": "fgnet-rendered"} | models))

        feat.Detectorv1 = feat.detector.Detectorv1 = WithFGNet


def pytest_unconfigure(config: pytest.Config) -> None:
    _open.close()


@pytest.fixture(autouse=True)
def _figures_closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
