"""From photos to faces with landmarks: what photos may be, and which faces are found where."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from photos import FACES, feat_path, moved, noisy, read_frames, read_photo, turned
from PIL import Image
from torch import Tensor

from fgnet_plugin.errors import InputError
from fgnet_plugin.faces import finder as finder_module
from fgnet_plugin.faces.crops import MIRRORED
from fgnet_plugin.faces.face_mesh import landmarks_68
from fgnet_plugin.faces.finder import FaceFinder, find_faces

# Without a face, or with a drawn one.
WITHOUT_FACES = ["skimage/cat", "skimage/coffee", "skimage/gravel", "skimage/coins", "skimage/text", "skimage/rocket",
                 "skimage/brick", "skimage/moon", "skimage/page", "pyfeat/free-mountain-vector-01.jpg"]  # fmt: skip
PROFILE, COVERED = "pyfeat/45-m7-di-ph.jpg", "pyfeat/Image_with_alpha.png"


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def test_what_is_found(finder: FaceFinder) -> None:
    photos = [read_photo(name) for name in ("skimage/astronaut", "pyfeat/multi_face.jpg", "skimage/coffee")]
    found = finder.find(photos)
    assert [len(faces) for faces in found] == [1, 5, 0]
    for faces, count in zip(found, (1, 5, 0), strict=True):
        shapes = {"boxes": (count, 5), "landmarks": (count, 68, 2), "mesh": (count, 468, 3), "presence": (count,)}
        assert {name: tuple(getattr(faces, name).shape) for name in shapes} == shapes
        assert all(getattr(faces, name).dtype == torch.float32 for name in shapes)
    (astronaut, group, _) = found
    x, y, width = FACES["skimage/astronaut"][0]
    left, top, right, bottom, score = astronaut.boxes[0].tolist()
    assert left < x < right
    assert top < y < bottom
    assert 0.7 * width < right - left < 1.4 * width
    assert 0.5 < score == astronaut.scores[0] <= 1
    assert (group.scores.diff() <= 0).all()
    assert (group.presence > 0.9).all()
    assert (group.landmarks[:, 8, 1] > group.landmarks[:, 27, 1]).all()  # the chin is below the nose
    assert (group.mesh[:, 1, 2] < group.mesh[:, 234, 2]).all()  # and the nose is nearer than the ears


def test_each_photo_by_itself(finder: FaceFinder) -> None:
    """Other photos of the same call don't change a digit, whatever their sizes."""
    photos = [read_photo("skimage/astronaut"), *read_frames("single_face.mp4", [0, 36]), read_photo("pyfeat/multi_face.jpg")]
    for photo, together in zip(photos, finder.find(photos), strict=True):
        (alone,) = finder.find([photo])
        for name in ("boxes", "landmarks", "mesh", "presence"):
            assert torch.equal(getattr(alone, name), getattr(together, name))
    assert finder.find([]) == []
    assert torch.equal(find_faces(photos[:1])[0].mesh, finder.find(photos[:1])[0].mesh)


def test_photos_of_one_size_at_once(finder: FaceFinder) -> None:
    """As on a GPU, where the networks read batches."""
    frames = [*read_frames("single_face.mp4", [0, 20, 36]), torch.zeros(3, 360, 640, dtype=torch.uint8)]
    with torch.no_grad():
        together = finder.find_alike(frames, 0.5)
    for one, other in zip(together, finder.find(frames), strict=True):
        torch.testing.assert_close(one.mesh, other.mesh, rtol=0, atol=0.01)


def test_half_precision(finder: FaceFinder) -> None:
    """As on a GPU: landmarks stay within a hundredth of the face's width."""
    half = FaceFinder()
    half.detector.half()
    half.mesh.half()
    photo = read_photo("pyfeat/multi_face.jpg")
    (exact,), (rounded,) = finder.find([photo]), half.find([photo])
    assert len(exact) == len(rounded) == 5
    nearest = torch.cdist(exact.landmarks.mean(1), rounded.landmarks.mean(1)).argmin(1)
    apart = (exact.landmarks - rounded.landmarks[nearest]).norm(dim=-1).mean(1)
    assert (apart < 0.01 * (exact.boxes[:, 2] - exact.boxes[:, 0])).all()
    torch.testing.assert_close(exact.pose[:, :3], rounded.pose[nearest, :3], rtol=0, atol=0.03)


def test_mirrored_landmarks(finder: FaceFinder) -> None:
    assert sorted(MIRRORED) == list(range(68))
    assert all(MIRRORED[MIRRORED[i]] == i for i in range(68))
    points = landmarks_68(finder.mesh.canonical)  # x and y of a symmetric face
    mirror = points[list(MIRRORED)] * torch.tensor([-1.0, 1.0])
    assert (mirror - points).norm(dim=1).max() < 0.01  # cm


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


def test_what_is_no_photo(tmp_path: Path, finder: FaceFinder) -> None:
    with pytest.raises(FileNotFoundError):
        finder_module.read_photo(tmp_path / "nothing.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(InputError, match="is not a readable image"):
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
    for single in (tmp_path / "a.jpg", torch.zeros(3, 8, 8), np.zeros((8, 8, 3), dtype=np.uint8)):
        with pytest.raises(TypeError, match=re.escape("a single one goes in as [photo]")):
            finder.find(single)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        FaceFinder(threshold=1.5)
    with pytest.raises(ValueError, match="smallest_face must be at least 8 px, got 3"):
        FaceFinder(smallest_face=3)


def marks(landmarks: Tensor) -> Tensor:
    """[68, 2] -> [4, 2]: eye centres and mouth corners."""
    return torch.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[48], landmarks[54]])


def off(found: Tensor, truth: Tensor) -> float:
    """The largest distance of eye centres and mouth corners, as a part of the inter-ocular distance."""
    return float((marks(found) - truth).norm(dim=-1).max() / (truth[1] - truth[0]).norm())


@pytest.mark.parametrize("name", FACES)
def test_every_frontal_face_and_no_other(name: str, finder: FaceFinder) -> None:
    (found,) = finder.find([read_photo(name)])
    assert len(found) == len(FACES[name])
    for x, y, width in FACES[name]:
        middles = found.landmarks.mean(1)
        assert (middles - torch.tensor([x, y])).norm(dim=1).min() < 0.4 * width


def test_eyes_and_mouth_of_untouched_photos(finder: FaceFinder) -> None:
    """Eye centres and mouth corners against marks made by eye to 2 px, which are 0.04 of the smallest inter-ocular distance."""
    errors = []
    for name, points in json.loads((GOLDEN / "eyes_and_mouths.json").read_text())["faces"].items():
        truth = torch.tensor(points, dtype=torch.float32)
        (found,) = finder.find([read_photo(name)])
        nearest = min(found.landmarks, key=lambda landmarks: off(landmarks, truth))
        errors.append((marks(nearest) - truth).norm(dim=-1) / (truth[1] - truth[0]).norm())
    distance = torch.stack(errors)
    print(f"\nmean {distance.mean():.3f}, worst of each face {[f'{error:.3f}' for error in distance.amax(1).tolist()]}")
    assert distance.mean() < 0.03
    assert distance.max() < 0.06


@pytest.mark.parametrize("name", ["skimage/astronaut", "pyfeat/single_face.jpg"])
def test_noise_hardly_moves_landmarks(name: str, finder: FaceFinder) -> None:
    """Their standard deviation is under a hundredth of the inter-ocular distance; `landmark_noise.py` has the figures."""
    photo, random = read_photo(name), torch.Generator().manual_seed(0)
    found = finder.find([noisy(photo, random) for _ in range(10)])
    points = torch.stack([faces.landmarks[0] for faces in found])
    eyes = marks(points.mean(0))[:2]
    assert points.var(0).sum(-1).mean().sqrt() < 0.01 * (eyes[1] - eyes[0]).norm()


@pytest.mark.parametrize("degrees", [0.0, 15.0, 30.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize(("width", "most"), [(None, 0.075), (40.0, 0.09)])
def test_eyes_and_mouth(degrees: float, width: float | None, most: float, finder: FaceFinder) -> None:
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
        (found,) = finder.find([photo])
        errors.append(min((off(points, moved(truth, matrix)) for points in found.landmarks), default=math.inf))
    print(f"\n{degrees:.0f}°, width {width}: {[f'{error:.3f}' for error in errors]} of the inter-ocular distance")
    assert max(errors) < most


@pytest.mark.parametrize("name", [PROFILE, COVERED])
def test_profiles_and_covered_faces(name: str, finder: FaceFinder) -> None:
    assert [len(found) for found in finder.find([read_photo(name)])] == [1]


@pytest.mark.parametrize("quarters", [0, 1, 2])
def test_groups(quarters: int, finder: FaceFinder) -> None:
    """20 faces, four times as small a part of the photo; the whole group may be turned."""
    group = read_photo("pyfeat/multi_face.jpg").repeat(1, 2, 2).rot90(quarters, (1, 2))
    assert [len(found) for found in finder.find([group])] == [20]


@pytest.mark.parametrize("width", [24.0, 32.0])
def test_small_faces(width: float, finder: FaceFinder) -> None:
    """In a photo of 4K they are found, too."""
    large = torch.full((3, 2160, 3840), 96, dtype=torch.uint8)
    for i, name in enumerate(("skimage/astronaut", "pyfeat/single_face.jpg", "pyfeat/0-f1-su-ph.jpg")):
        small, _ = turned(read_photo(name), 0.0, width / FACES[name][0][2])
        large[:, 1000 : 1000 + small.shape[1], 950 * (i + 1) : 950 * (i + 1) + small.shape[2]] = small
    assert [len(found) for found in finder.find([large])] == [3]


@pytest.mark.parametrize("name", ["pyfeat/single_face.jpg", "pyfeat/0-f15-hao-ph.jpg"])
def test_tight_crops(name: str, finder: FaceFinder) -> None:
    """The photo's border cuts through forehead and chin."""
    photo = read_photo(name)
    (whole,) = finder.find([photo])
    x1, y1, x2, y2 = (round(value) for value in whole.boxes[0, :4].tolist())
    margin = (y2 - y1) // 20
    (tight,) = finder.find([photo[:, y1 + margin : y2 - margin, x1 + margin : x2 - margin]])
    assert len(tight) == 1
    shift = torch.tensor([x1 + margin, y1 + margin])
    assert off(tight.landmarks[0] + shift, marks(whole.landmarks[0])) < 0.1


@pytest.mark.parametrize("name", WITHOUT_FACES)
def test_no_face(name: str, finder: FaceFinder) -> None:
    assert [len(found) for found in finder.find([read_photo(name)])] == [0]


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 20, 300), (3, 200, 200)])
def test_photos_too_small_or_plain(shape: tuple[int, ...], finder: FaceFinder) -> None:
    assert [len(found) for found in finder.find([torch.full(shape, 128, dtype=torch.uint8)])] == [0]


@pytest.mark.parametrize(
    ("name", "frames"),
    [("single_face.mp4", range(0, 72, 6)), ("WolfgangLanger_Pexels.mp4", [*range(0, 60, 12), *range(226, 472, 16)])],
)
def test_videos(name: str, frames: list[int], finder: FaceFinder) -> None:
    assert [len(found) for found in finder.find(read_frames(name, frames))] == [1] * len(frames)
