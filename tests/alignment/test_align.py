"""Alignment against faces that FFHQ's own procedure cut out, points and heatmaps back on the photo, refusals."""

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from photos import read_photo
from torch import Tensor

from fgnet_plugin.alignment import align_faces, align_for_network, ffhq_square, padding, region

MIDDLE = slice(40, 216)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "ffhq_alignment.npz"))


@pytest.fixture(scope="module")
def photos(golden: dict[str, np.ndarray]) -> list[Tensor]:
    return [read_photo(str(golden[f"name{i}"])) for i in range(4)]


@pytest.fixture(scope="module")
def landmarks(golden: dict[str, np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(golden[f"landmarks{i}"])[None] for i in range(4)]


def psnr(found: Tensor, expected: np.ndarray, part: slice = slice(None)) -> float:
    """Of [3, H, W] and [H, W, 3], in dB."""
    error = found.permute(1, 2, 0)[part, part].double() - torch.from_numpy(expected)[part, part].double()
    return 10 * math.log10(255**2 / error.square().mean().item())


def test_faces_are_ffhqs(photos: list[Tensor], landmarks: list[Tensor], golden: dict[str, np.ndarray]) -> None:
    """The first one's square leaves the photo. FFHQ's own procedure asks for 45 dB in the middle, 40 dB over all."""
    faces = align_faces(photos, landmarks).faces
    whole = [psnr(face, golden[f"aligned{i}"]) for i, face in enumerate(faces)]
    middle = [psnr(face, golden[f"aligned{i}"], MIDDLE) for i, face in enumerate(faces)]
    print("\nPSNR, middle and whole:", [f"{m:.1f} {w:.1f}" for m, w in zip(middle, whole, strict=True)])
    assert faces.dtype == torch.uint8
    assert min(middle) > 54
    assert min(whole) > 53


def test_a_face_does_not_depend_on_its_batch(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    together = align_faces(photos, landmarks).faces
    alone = [align_faces(photo[None], points).faces for photo, points in zip(photos, landmarks, strict=True)]
    assert torch.equal(together, torch.cat(alone))


def half_a_pixel_off(photos: list[Tensor], landmarks: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Landmarks taken for continuous positions."""
    return align_faces(photos, [points - 0.5 for points in landmarks]).faces


def without_antialiasing(photos: list[Tensor], landmarks: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    monkeypatch.setattr(region, "_OVERSAMPLING", (1, 1))
    return align_faces(photos, landmarks).faces


def other_centre(photos: list[Tensor], landmarks: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The square's centre between the eyes."""
    return align_faces(photos, [points - 0.1 * eyes_to_mouth(points) for points in landmarks]).faces


def eyes_to_mouth(points: Tensor) -> Tensor:
    eyes = (points[:, 36:42].mean(1) + points[:, 42:48].mean(1)) / 2
    return ((points[:, 48] + points[:, 54]) / 2 - eyes)[:, None]


@pytest.mark.parametrize(("mutation", "at_most"), [(half_a_pixel_off, 42), (without_antialiasing, 54), (other_centre, 30)])
def test_wrong_alignment_is_noticed(
    mutation: object,
    at_most: float,
    photos: list[Tensor],
    landmarks: list[Tensor],
    golden: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = mutation(photos, landmarks, monkeypatch)  # type: ignore[operator]
    assert min(psnr(face, golden[f"aligned{i}"], MIDDLE) for i, face in enumerate(faces)) < at_most


@pytest.mark.parametrize("wrong", ["mirrored only", "nothing beyond the border"])
def test_a_wrong_border_is_noticed(
    wrong: str, photos: list[Tensor], landmarks: list[Tensor], golden: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "mirrored only":
        monkeypatch.setattr(padding, "_outside", lambda x, *_: torch.full_like(x, -1.0))
    else:
        monkeypatch.setattr(padding, "_blurred_outside", lambda picture, *_: torch.zeros_like(picture))
    assert psnr(align_faces(photos[:1], landmarks[:1]).faces[0], golden["aligned0"]) < 40


def test_several_faces_of_some_photos(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    one = align_faces(photos, landmarks)
    shifted = landmarks[1] + 7
    points = [landmarks[0].numpy(), np.concatenate([landmarks[1], shifted]), torch.empty(0, 68, 2), landmarks[3]]
    found = align_faces(photos, points)
    assert found.photo.tolist() == [0, 1, 1, 3]
    assert len(found) == 4
    assert torch.equal(found.faces[[0, 1, 3]], one.faces[[0, 1, 3]])
    assert torch.equal(found.faces[2], align_faces([photos[1]], [shifted]).faces[0])
    assert found.photo_sizes == tuple(photo.shape[1:] for photo in photos)
    none = align_faces([], [])
    assert none.faces.shape == (0, 3, 256, 256)
    assert none.heatmaps_to_photo(torch.zeros(0, 2, 8, 8)) == []
    assert align_faces(photos[:1], [torch.empty(0, 68, 2)]).points_to_photo(torch.empty(0, 5, 2)).shape == (0, 5, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_floating_point_photos(dtype: torch.dtype, photos: list[Tensor], landmarks: list[Tensor]) -> None:
    """Any range, kept: Lanczos's overshoot is cut. FFHQ's loss of half a level is a matter of 8-bit values only."""
    whole = align_faces(photos[:2], landmarks[:2]).faces
    found = align_faces([(photo.to(dtype) / 127.5 - 1) for photo in photos[:2]], landmarks[:2]).faces
    assert found.dtype == dtype
    assert -1 <= found.min() < -0.9
    assert 0.9 < found.max() <= 1
    difference = (found.double() + 1) * 127.5 - whole.double()
    assert difference.abs().max() < 1.2
    assert difference.mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("size", [64, 128, 512])
def test_other_sizes_show_the_same(size: int, photos: list[Tensor], landmarks: list[Tensor]) -> None:
    usual, found = align_faces(photos, landmarks), align_faces(photos, landmarks, size=size)
    assert found.faces.shape == (4, 3, size, size)
    to = min(size, 256)
    a, b = (torch.nn.functional.interpolate(x.faces.float(), size=(to, to), mode="area") for x in (usual, found))
    assert (a - b).square().mean().sqrt() < 4
    corners = torch.tensor([[-0.5, -0.5], [size - 0.5, size - 0.5]]).expand(4, 2, 2)
    square = ffhq_square(torch.cat(landmarks))
    torch.testing.assert_close(found.points_to_photo(corners), square[:, [0, 2]], atol=1e-2, rtol=0)
    if size < 256:
        assert (a - torch.nn.functional.avg_pool2d(usual.faces.float(), 256 // size)).abs().max() <= 0.5
        none = align_faces(photos, [torch.empty(0, 68, 2)] * len(photos), size=size)
        assert none.faces.shape == (0, 3, size, size)


def test_large_faces_are_shrunk_first() -> None:
    """A square of 1200 px: shrinking by 2 and then cutting is what FFHQ does; here, of something smooth."""
    y, x = torch.meshgrid(torch.arange(1501.0), torch.arange(1703.0), indexing="ij")
    photo = torch.stack([x / 1703, y / 1501, 0.5 + 0.5 * torch.sin(x / 60) * torch.cos(y / 70)])
    points = torch.from_numpy(np.load(GOLDEN / "ffhq_alignment.npz")["landmarks3"])[None] * 7 - torch.tensor([725.0, 295.0])
    aligned = align_faces(photo[None], points)
    side = ffhq_square(points)[0]
    assert (side[3] - side[0]).norm() > 1024
    i, j = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="xy")
    at = aligned.points_to_photo(torch.stack([i, j], -1).view(1, -1, 2))[0].T.view(2, 256, 256)
    expected = torch.stack([at[0] / 1703, at[1] / 1501, 0.5 + 0.5 * torch.sin(at[0] / 60) * torch.cos(at[1] / 70)])
    inside = (at[0] > 200) & (at[0] < 1504) & (at[1] > 200) & (at[1] < 1300)  # beyond, the border's blur begins
    assert inside.float().mean() > 0.5
    assert ((aligned.faces[0] - expected).abs() * inside).max() < 2e-3


@pytest.mark.parametrize("size", [64, 256])
def test_hard_edges_stay_in_the_photos_range(size: int) -> None:
    """Lanczos's filter overshoots, when it shrinks the photo (64 px) as when it reduces the samples."""
    squares = (torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    photo = torch.nn.functional.interpolate(squares, scale_factor=50.0).expand(1, 3, -1, -1) * 2 - 1
    points = torch.from_numpy(np.load(GOLDEN / "ffhq_alignment.npz")["landmarks3"])[None] * 6 - torch.tensor([600.0, 250.0])
    faces = align_faces(photo, points, size=size).faces
    assert (faces.min(), faces.max()) == (-1, 1)


def test_points_go_where_the_pixels_went(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    """A dot on the photo appears where `points_to_face` says; there and back is where it began."""
    points = torch.cat([landmarks[1], landmarks[3]])
    dotted = [torch.zeros_like(photos[i]) for i in (1, 3)]
    dots = points[:, [36, 45, 8]].round()
    for photo, of_face in zip(dotted, dots, strict=True):
        for x, y in of_face.int().tolist():
            photo[:, y - 1 : y + 2, x - 1 : x + 2] = 255
    aligned = align_faces(dotted, points[:, None].unbind())
    for face, expected in zip(aligned.faces.float().mean(1), aligned.points_to_face(dots), strict=True):
        for x, y in expected:
            top, left = int(y) - 9, int(x) - 9
            patch = face[top : top + 19, left : left + 19]
            mass = patch.sum()
            assert (patch.sum(0) @ (torch.arange(19.0) + left) / mass - x).abs() < 0.25
            assert (patch.sum(1) @ (torch.arange(19.0) + top) / mass - y).abs() < 0.25
    torch.testing.assert_close(aligned.points_to_photo(aligned.points_to_face(points)), points, atol=1e-3, rtol=0)


def test_heatmaps_land_on_the_landmarks(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    aligned = align_faces(photos, landmarks)
    centres = aligned.points_to_face(torch.cat(landmarks)[:, [48, 54]]) / 2  # on maps of 128 px, as the targets have it
    at = torch.arange(128.0)
    distance = (at - centres[..., 0:1])[..., None, :] ** 2 + (at - centres[..., 1:2])[..., :, None] ** 2
    heatmaps = torch.exp(-distance / (2 * 4**2))  # [4, 2, 128, 128]
    on_photos = aligned.heatmaps_to_photo(heatmaps)
    for i, maps in enumerate(on_photos):
        assert maps.shape == (2, *photos[i].shape[1:])
        for one, corner in zip(maps, landmarks[i][0, [48, 54]], strict=True):
            rows, columns = torch.arange(1.0 * len(one)), torch.arange(1.0 * one.shape[1])
            middle = torch.stack([one.sum(0) @ columns, one.sum(1) @ rows]) / one.sum()
            assert (middle - corner).abs().max() < 0.1
            assert 0.9 < one.max() <= 1
    outside = aligned.heatmaps_to_photo(torch.ones(4, 1, 128, 128))[3][0]
    assert outside[0, 0] == 0
    assert outside[120, 225] == 1
    with pytest.raises(ValueError, match=re.escape("[4, A, h, w], got [3, 2, 128, 128]")):
        aligned.heatmaps_to_photo(heatmaps[:3])


def test_heatmaps_on_a_part_of_the_photo(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    """Any part: around the face, beside it, of one row or pixel, even beyond the border."""
    aligned = align_faces(photos, landmarks)
    heatmaps = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = aligned.heatmaps_to_photo(heatmaps)
    corners = torch.cat(landmarks).mean(1).int().tolist()
    for left, up, right, down in ((40, 40, 50, 30), (0, 0, 1, 1), (20, 0, 20, 1), (0, 9, 1, 9)):
        boxes = [(x - left, y - up, x + right, y + down) for x, y in corners]
        for part, full, (x0, y0, x1, y1) in zip(aligned.heatmaps_to_photo(heatmaps, boxes), whole, boxes, strict=True):
            assert part.shape == (3, y1 - y0, x1 - x0)
            torch.testing.assert_close(part, full[:, y0:y1, x0:x1], atol=1e-4, rtol=0)
            assert part.max() > 0
    beyond = aligned.heatmaps_to_photo(heatmaps, [(-20, -10, 3, 2)] * 4)
    for part, full in zip(beyond, whole, strict=True):
        torch.testing.assert_close(part[:, 10:, 20:], full[:, :2, :3], atol=1e-4, rtol=0)
    for wrong in ([(0, 0, 1, 1)] * 3, [(0, 0, 1, 1)] * 3 + [(5, 0, 5, 1)], [(0, 0, 1)] * 4):
        with pytest.raises(ValueError, match=r"boxes must be 4 times \(x0, y0, x1, y1\)"):
            aligned.heatmaps_to_photo(heatmaps, wrong)  # type: ignore[arg-type]


def test_square_of_many_shapes(landmarks: list[Tensor]) -> None:
    points = torch.cat(landmarks)
    square = ffhq_square(points)
    torch.testing.assert_close(ffhq_square(points.view(2, 2, 68, 2)), square.view(2, 2, 4, 2))
    sides = (square - square.roll(1, 1)).norm(dim=-1)
    torch.testing.assert_close(sides, sides[:, :1].expand(4, 4))
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(ffhq_square(points @ turn), square @ turn, atol=1e-3, rtol=0)
    assert ffhq_square(torch.ones(68, 2)).isnan().all()


@pytest.mark.parametrize("shift", [-100.0, 100.0])
def test_a_face_mostly_outside(shift: float, photos: list[Tensor], landmarks: list[Tensor]) -> None:
    """Only finite colours of the photo's range, even where the photo is mirrored more than once."""
    photo = photos[3][:, 60:200, 150:290]
    aligned = align_faces([photo.float() / 255], [landmarks[3] - torch.tensor([150.0, 60.0]) + shift])
    assert aligned.faces.isfinite().all()
    assert aligned.faces.std() > 0.01
    assert align_faces([photo[:, :1, :1]], [landmarks[3] - torch.tensor([225.0, 130.0])]).faces.float().std((2, 3)).max() == 0


def test_refusals(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    photo, points = photos[3], landmarks[3]
    broken = points.clone()
    broken[0, 40, 1] = math.nan
    for wrong in (broken, torch.full((1, 68, 2), 50.0)):
        with pytest.raises(ValueError, match="face 1 in photo 0 show no face"):
            align_faces([photo], [torch.cat([points, wrong])])
    with pytest.raises(ValueError, match="face 0 in photo 1 lie outside of it"):
        align_faces([photo, photo], [points, points + 2000])
    with pytest.raises(
        ValueError, match=re.escape("sequence of photos, got [3, 512, 512]; a single photo goes in as photo[None]")
    ):
        align_faces(photo, points)
    with pytest.raises(ValueError, match=re.escape("[3, H, W], got [512, 512, 3]; channels come first")):
        align_faces([photo.permute(1, 2, 0)], [points])
    with pytest.raises(ValueError, match=re.escape("[N, 68, 2], got [68, 2]")):
        align_faces(photo[None], points[0])
    with pytest.raises(ValueError, match=re.escape("[n, 68, 2], got [68, 2]; a single face goes in as points[None]")):
        align_faces([photo], [points[0]])
    with pytest.raises(ValueError, match="2 photos need the landmarks of 2 photos, got 1"):
        align_faces([photo, photo], [points])
    with pytest.raises(ValueError, match="size must be at least 8"):
        align_faces([photo], [points], size=4)
    with pytest.raises(TypeError, match=r"photo 0 must be a torch tensor .* got ndarray"):
        align_faces([photo.numpy()], [points])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"uint8 or floating point, got torch\.int64"):
        align_faces([photo.long()], [points])
    with pytest.raises(TypeError, match="share dtype and device"):
        align_faces([photo, photo.float()], [points, points])


def test_unrounded_faces_are_the_rounded_ones_before_rounding() -> None:
    photo = read_photo("skimage/astronaut")[None]
    with np.load(GOLDEN / "ffhq_alignment.npz") as file:
        points = next(file[f"landmarks{i}"] for i in range(4) if str(file[f"name{i}"]) == "skimage/astronaut")[None]
    exact = align_faces(photo, points, rounded=False)
    assert exact.faces.dtype == torch.float32
    assert torch.equal(exact.faces.round().to(torch.uint8), align_faces(photo, points).faces)
    moved = align_faces(photo, points + 1e-4, rounded=False)
    assert (moved.faces - exact.faces).abs().max() < 0.05
    assert align_faces(photo.float(), points, rounded=False).faces.dtype == torch.float32


def test_only_the_faces_parts_of_the_photos_are_sent(photos: list[Tensor], landmarks: list[Tensor]) -> None:
    """To another device: of faces inside, across a border, and so large that their photo is shrunk first; that one whole."""
    frames = [torch.nn.functional.pad(photo, (0, 1500, 0, 900)) for photo in photos]
    large = torch.nn.functional.interpolate(photos[1][None].float(), scale_factor=6.0)[0].to(torch.uint8)
    frames, points = [*frames, photos[0], large], [*landmarks, landmarks[0], 6 * landmarks[1]]
    sent: list[Tensor] = []

    def send(pictures: Sequence[Tensor]) -> list[Tensor]:
        sent.extend(pictures)
        return [picture.clone() for picture in pictures]

    found = align_for_network(frames, points, 128, torch.float32, send=send)
    expected = align_for_network(frames, points, 128, torch.float32)
    assert torch.equal(found.faces, expected.faces)
    assert torch.equal(found.to_photo, expected.to_photo)
    assert found.photo_sizes == expected.photo_sizes
    sides = (ffhq_square(torch.cat(points))[:, 3] - ffhq_square(torch.cat(points))[:, 0]).norm(dim=-1)
    assert all(max(part.shape[1:]) < 1.8 * side for part, side in zip(sent[:-1], sides.tolist(), strict=False))
    assert sent[-1].shape == large.shape
