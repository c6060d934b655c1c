"""Checkpoints whose decisions are chosen on held-out faces."""

from pathlib import Path

import pytest
import torch
from networks import learnt
from torch import Tensor

from fgnet_plugin import load
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, read_info, save
from fgnet_plugin.network import FGNet, small_config
from fgnet_plugin.training.finish import finish


class Faces:
    """Random faces of which the network's first AU is labelled by its own activations, and the others by chance."""

    def __init__(self, net: FGNet, count: int = 60) -> None:
        random = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (count, 3, 64, 64), generator=random, dtype=torch.uint8)
        self.activations = net.predict(self.images, 16).activations
        self.labels = (torch.rand(self.activations.shape, generator=random) < 0.5).float()
        self.labels[:, 0] = (self.activations[:, 0] > self.activations[:, 0].quantile(0.7)).float()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "labels": self.labels[index]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Faces]:
    net = learnt(small_config(("AU06", "AU12", "AU25"), 64, 32))
    path = tmp_path_factory.mktemp("finish") / "fgnet.safetensors"
    save(net, path, CheckpointInfo(net.config, "test", training={"by": "a test"}))
    return path, Faces(net)


def test_decisions_agree_with_held_out_faces(made: tuple[Path, Faces], tmp_path: Path) -> None:
    path, faces = made
    found = finish(path, tmp_path / "out.safetensors", faces, ("AU06", "AU12", "AU25"), least_auc=0.95)
    assert [decision.kept for decision in found] == [True, False, False]
    assert found[0].auc == pytest.approx(1)
    net, info = load(tmp_path / "out.safetensors"), read_info(tmp_path / "out.safetensors")
    assert net.aus == ("AU06",)
    assert set(info.training["left_out"]) == {"AU12", "AU25"}
    assert info.training["by"] == "a test"
    present = net.predict(faces.images).present[:, 0]
    assert (present.float() == faces.labels[:, 0]).float().mean() > 0.95  # half precision moves faces at the threshold
    before = load(path).predict(faces.images).present[:, 0]
    assert (before.float() == faces.labels[:, 0]).float().mean() < 0.95


def test_aus_without_labels_are_left_out(made: tuple[Path, Faces], tmp_path: Path) -> None:
    path, faces = made
    found = finish(path, tmp_path / "out.safetensors", faces, ("AU06", "AU01", "AU02"), least_auc=0.5)
    assert [decision.au for decision in found if decision.kept] == ["AU06"]


def test_what_cannot_be_finished(made: tuple[Path, Faces], tmp_path: Path) -> None:
    path, faces = made
    with pytest.raises(ValueError, match=r"no AU reaches an AUC of 0\.9"):
        finish(path, tmp_path / "out.safetensors", faces, ("AU01", "AU02", "AU04"), least_auc=0.9)
    with pytest.raises(ValueError, match="pixels must be"):
        finish(path, tmp_path / "out.safetensors", faces, ("AU06", "AU12", "AU25"), pixels=0.5)
    assert not (tmp_path / "out.safetensors").exists()
