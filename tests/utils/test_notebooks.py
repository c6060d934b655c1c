"""What Jupyter shows: figures without pyplot, and no warning of a progress bar."""

import subprocess
import sys

import pytest


def test_a_figure_is_shown_without_pyplot() -> None:
    pytest.importorskip("matplotlib")
    from fgnet_plugin.utils.figures import NotebookFigure

    figure = NotebookFigure(figsize=(2, 1))
    figure.subplots()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_progress_bar_needs_no_widgets() -> None:
    """As in a notebook without ipywidgets, where tqdm warns at its import."""
    pytest.importorskip("tqdm")
    code = (
        "import sys, types; sys.modules['ipywidgets'] = None\n"
        "ipython = types.ModuleType('IPython'); shell = types.SimpleNamespace(config={'IPKernelApp': {}})\n"
        "ipython.get_ipython = lambda: shell; sys.modules['IPython'] = ipython\n"
        "from fgnet_plugin.utils.progress import tqdm; list(tqdm([1], disable=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
