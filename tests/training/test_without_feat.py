"""Training, evaluation and rendering need no package but those of the extra `train`, and so no py-feat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="the extra `train` is not installed")

from conftest import HELPERS
from toy_training import settings, toy_corpus


def test_the_extra_train_suffices(tmp_path: Path) -> None:
    code = """
import sys
from only_packages import refuse_other_packages

others = refuse_other_packages("fgnet-plugin[train]")
assert {"feat", "pytest", "plotly", "pyarrow"} <= others, others
settings, out = sys.argv[1:]
from fgnet_plugin.cli.app import app

app(["train", "detector", "--config", settings], standalone_mode=False)
options = "--domain studio --count 4 --bootstrap 5 --device cpu".split()
app(["train", "evaluate", f"{out}/out", "--out", f"{out}/tested", *options], standalone_mode=False)
options = "--domain studio --count 2 --size 32 --workers 0".split()
app(["train", "render", f"{out}/rendered", *options], standalone_mode=False)
print(others & set(sys.modules))
"""
    toy_corpus(tmp_path, n=16)
    config = settings(tmp_path, optimiser={"epochs": 1})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), str(HELPERS.parents[1])])}
    command = [sys.executable, "-c", code, str(config), str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    for file in ("out/fgnet.safetensors", "tested/report.html"):
        assert (tmp_path / file).is_file(), file
    assert len(list((tmp_path / "rendered").rglob("*.png"))) == 2
