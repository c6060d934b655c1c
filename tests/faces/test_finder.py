"""From photos to faces with landmarks: what photos may be, the two looks, and what the bundled weights reach."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from photos import FACES, feat_path, moved, read_frames, read_photo, turned
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.faces import finder as finder_module
from fgnet_plugin.faces import landmark_net
from fgnet_plugin.faces.crops import MIRRORED, crop_square, to_crop
from fgnet_plugin.faces.finder import FaceFinder, face_boxes, find_faces
from fgnet_plugin.faces.landmark_net import FORMAT, LandmarkNet, load_landmark_net


def save(net: LandmarkNet, path: Path, kind: str = FORMAT) -> Path:
    state = {name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()}
    save_file(state, path, {"format": kind})
    return path


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save(LandmarkNet(), tmp_path / "net.safetensors")


class Stub(torch.nn.Module):
    """Sees the same upright face in every crop, as surely as told."""

    def __init__(self, logit: float = 4.0, turns: float = 0.0) -> None:
        super().__init__()
        landmarks = torch.from_numpy(np.load(GOLDEN / "ffhq_alignment.npz")["landmarks3"])
        straight = to_crop(landmarks, crop_square(landmarks))
        angle = torch.tensor(turns).deg2rad()
        self.points = straight @ torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]])
        self.logit, self.seen = logit, 0

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += len(crops)
        return self.points.expand(len(crops), -1, -1), torch.full((len(crops),), self.logit)


def finder(untrained: Path, stub: Stub, **settings: float) -> FaceFinder:
    found = FaceFinder(untrained, **settings)  # type: ignore[arg-type]
    found.net = stub  # type: ignore[assignment]
    return found


def test_what_the_network_takes_for_faces_comes_back(untrained: Path) -> None:
    photos = [
        read_photo(name) for name in ("skimage/astronaut", "pyfeat/free-mountain-vector-01.jpg", "pyfeat/single_face.jpg")
    ]
    found = finder(untrained, Stub()).find(photos)
    assert [len(one) > 0 for one in found] == [True, False, True]
    none = found[1]
    assert none.boxes.shape == (0, 5)
    assert none.landmarks.shape == (0, 68, 2)
    for one, name in ((found[0], "skimage/astronaut"), (found[2], "pyfeat/single_face.jpg")):
        assert one.boxes.dtype == one.landmarks.dtype == torch.float32
        assert (one.scores.diff() <= 0).all()
        assert (one.scores <= 1).all()
        x, y, width = FACES[name][0]
        left, top, right, bottom = one.boxes[0, :4].tolist()
        assert left < x < right
        assert top < y < bottom
        assert 0.7 * width < right - left < 1.4 * width
        torch.testing.assert_close(one.boxes[:, :4], face_boxes(one.landmarks))
        assert (one.landmarks[:, 8, 1] > one.landmarks[:, 27, 1]).all()  # the chin is below the nose


def test_photos_are_looked_at_one_by_one(untrained: Path) -> None:
    photos = [read_photo("skimage/astronaut"), read_photo("pyfeat/single_face.jpg"), read_photo("pyfeat/multi_face.jpg")]
    looking = FaceFinder(untrained, threshold=0.0)
    together = looking.find(photos)
    for photo, one in zip(photos, together, strict=True):
        (alone,) = looking.find([photo])
        torch.testing.assert_close(alone.boxes, one.boxes, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(alone.landmarks, one.landmarks, rtol=1e-4, atol=1e-2)
    assert looking.find([]) == []


def test_doubtful_or_contradictory_looks_are_no_faces(untrained: Path) -> None:
    astronaut = [read_photo("skimage/astronaut")]
    assert len(finder(untrained, Stub(logit=-3.0)).find(astronaut)[0]) == 0
    assert len(finder(untrained, Stub(logit=0.2), threshold=0.9).find(astronaut)[0]) == 0
    # A network that sees every crop turned by 60° says another thing of the straightened crop than before.
    assert len(finder(untrained, Stub(turns=60.0)).find(astronaut)[0]) == 0


def test_tilted_faces_are_looked_for_where_there_is_no_upright_one(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, ...]] = []
    original = finder_module.find_windows

    def recorded(photo: Tensor, smallest_face: float | None, tilts: tuple[float, ...]) -> object:
        asked.append(tilts)
        return original(photo, smallest_face, tilts)

    monkeypatch.setattr(finder_module, "find_windows", recorded)
    upright = read_photo("skimage/astronaut")
    leaning, _ = turned(upright, 30.0)
    found = finder(untrained, Stub(), thorough=False).find([upright, leaning])
    assert [len(one) > 0 for one in found] == [True, True]
    assert asked[:2] == [(0.0,), (0.0,)]
    asked.clear()
    finder(untrained, Stub(), thorough=True).find([upright])
    assert asked == [(0.0,), (-22.0, 22.0)]


def test_mirrored_points_take_each_others_places() -> None:
    assert sorted(MIRRORED) == list(range(68))
    assert all(MIRRORED[MIRRORED[i]] == i for i in range(68))
    points = crop_points()
    mirror = points[list(MIRRORED)] * torch.tensor([-1.0, 1.0])
    assert (mirror - points).norm(dim=1).max() < 0.25  # a face is about symmetric


def crop_points() -> Tensor:
    landmarks = torch.from_numpy(np.load(GOLDEN / "ffhq_alignment.npz")["landmarks0"])
    return to_crop(landmarks, crop_square(landmarks))


def test_pictures_of_all_kinds(tmp_path: Path) -> None:
    photo = read_photo("skimage/astronaut")[:, :100, :80]
    array = photo.permute(1, 2, 0).numpy()
    same = [array, photo, photo.float(), photo.double() + 0.2]
    Image.fromarray(array).save(tmp_path / "photo.png")
    same += [tmp_path / "photo.png", str(tmp_path / "photo.png")]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter clockwise for showing
    Image.fromarray(np.rot90(array).copy()).save(tmp_path / "turned.png", exif=exif)
    same.append(tmp_path / "turned.png")
    alpha = np.full((100, 80, 1), 255, dtype=np.uint8)
    same.append(np.concatenate([array, alpha], 2))
    for image in same:
        found = finder_module.read_photo(image)
        assert found.dtype == torch.uint8
        assert torch.equal(found, photo)
    alpha[:50] = 0
    half = np.concatenate([array, alpha], 2)
    Image.fromarray(half).save(tmp_path / "half.png")
    for image in (half, tmp_path / "half.png", torch.from_numpy(half).permute(2, 0, 1)):
        found = finder_module.read_photo(image)
        assert torch.equal(found[:, 50:], photo[:, 50:])
        assert (found[:, :50] == 255).all()
    grey = array[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    for image in (grey, grey[:, :, None], torch.from_numpy(grey.copy())[None], tmp_path / "grey.png", tmp_path / "deep.png"):
        assert torch.equal(finder_module.read_photo(image), photo[:1].expand(3, -1, -1))
    assert not finder_module.read_photo(torch.zeros(3, 8, 8)).any()  # a video that fades to black
    assert finder_module.read_photo(feat_path("Image_with_alpha.png")).shape == (3, 1036, 1524)


def test_what_is_no_photo(tmp_path: Path, untrained: Path) -> None:
    with pytest.raises(FileNotFoundError):
        finder_module.read_photo(tmp_path / "nothing.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(InputError, match="no picture in a format"):
        finder_module.read_photo(tmp_path / "text.jpg")
    with pytest.raises(TypeError, match=re.escape("uint8 in [0, 255], got float64")):
        finder_module.read_photo(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=re.escape("got [4, 4, 2]")):
        finder_module.read_photo(np.zeros((4, 4, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match=re.escape("[3, H, W] (or 1 or 4 channels), got [8, 8, 3]")):
        finder_module.read_photo(torch.zeros(8, 8, 3))
    with pytest.raises(ValueError, match=re.escape("must be in [0, 255], got values from 0 to 1")):
        finder_module.read_photo(torch.eye(8).expand(3, 8, 8))
    with pytest.raises(ValueError, match="must be in"):
        finder_module.read_photo(torch.full((3, 8, 8), math.nan))
    with pytest.raises(TypeError, match=r"uint8 or floating point, got torch\.int32"):
        finder_module.read_photo(torch.zeros(3, 8, 8, dtype=torch.int32))
    with pytest.raises(TypeError, match="got list"):
        finder_module.read_photo([[1]])  # type: ignore[arg-type]
    looking = FaceFinder(untrained)
    for single in (tmp_path / "a.jpg", torch.zeros(3, 8, 8), np.zeros((8, 8, 3), dtype=np.uint8)):
        with pytest.raises(TypeError, match=re.escape("a single one goes in as [photo]")):
            looking.find(single)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        FaceFinder(untrained, threshold=1.5)
    with pytest.raises(ValueError, match="smallest_face must be at least 8 px, got 3"):
        FaceFinder(untrained, smallest_face=3)


def test_weights_that_are_none(tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = load_landmark_net(untrained)
    assert not net.training
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in net.parameters())
    with pytest.raises(CheckpointError, match="no such file"):
        load_landmark_net(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match=r"holds no landmark network .*'other/1'"):
        load_landmark_net(save(LandmarkNet(), tmp_path / "other.safetensors", kind="other/1"))
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"format": FORMAT})
    with pytest.raises(CheckpointError, match="of another version"):
        load_landmark_net(tmp_path / "a.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(untrained.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors: not a safetensors file, or truncated"):
        load_landmark_net(tmp_path / "cut.safetensors")
    monkeypatch.setattr(landmark_net, "data_folder", lambda name: tmp_path)
    with pytest.raises(CheckpointError, match="come with the package, but this version lacks"):
        find_faces([])


@pytest.fixture(scope="module")
def bundled() -> FaceFinder:
    return FaceFinder()


def marks(landmarks: Tensor) -> Tensor:
    """[68, 2] -> [4, 2]: eye centres and mouth corners."""
    return torch.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[48], landmarks[54]])


def off(found: Tensor, truth: Tensor) -> float:
    """The largest distance of eye centres and mouth corners, as a part of the inter-ocular distance."""
    return float((marks(found) - truth).norm(dim=-1).max() / (truth[1] - truth[0]).norm())


@pytest.mark.parametrize("name", FACES)
def test_every_frontal_face_and_no_other(name: str, bundled: FaceFinder) -> None:
    (found,) = bundled.find([read_photo(name)])
    assert len(found) == len(FACES[name])
    for x, y, width in FACES[name]:
        middles = found.landmarks.mean(1)
        assert (middles - torch.tensor([x, y])).norm(dim=1).min() < 0.4 * width


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 30.0])
@pytest.mark.parametrize(("width", "most"), [(None, 0.14), (40.0, 0.2)])
def test_eyes_and_mouth(degrees: float, width: float | None, most: float, bundled: FaceFinder) -> None:
    """Against marks made by eye, which are good to about 0.04 themselves; heads that lean exactly so much."""
    golden = np.load(GOLDEN / "ffhq_alignment.npz")
    errors = []
    for name, points in json.loads((GOLDEN / "eyes_and_mouths.json").read_text())["faces"].items():
        truth = torch.tensor(points, dtype=torch.float32)
        box = next(golden[f"landmarks{i}"] for i in range(4) if str(golden[f"name{i}"]) == name)
        scale = 1.0 if width is None else width / float(np.ptp(box[:, 0]))
        across = truth[1] - truth[0]
        leans = math.degrees(math.atan2(float(across[1]), float(across[0])))
        photo, matrix = turned(read_photo(name), degrees - leans, scale)
        (found,) = bundled.find([photo])
        errors.append(min((off(points, moved(truth, matrix)) for points in found.landmarks), default=math.inf))
    print(f"\n{degrees:.0f}°, width {width}: {[f'{error:.3f}' for error in errors]} of the inter-ocular distance")
    assert max(errors) < most


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "grass", "gravel", "moon", "page"])
def test_no_face(name: str, bundled: FaceFinder) -> None:
    assert [len(found) for found in bundled.find([read_photo(f"skimage/{name}")])] == [0]


@pytest.mark.parametrize(
    ("name", "frames"),
    [("single_face.mp4", range(0, 72, 4)), ("WolfgangLanger_Pexels.mp4", [*range(0, 60, 12), *range(226, 472, 12)])],
)
def test_videos(name: str, frames: list[int]) -> None:
    found = FaceFinder(thorough=False).find(read_frames(name, frames))
    assert np.mean([len(one) == 1 for one in found]) >= 0.95
