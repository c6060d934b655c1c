"""The text of the crop kernel, run on the CPU (cuda_on_cpu.py), against what `align_faces` cuts out of photos."""

import math
import re

import cuda_on_cpu
import numpy as np
import pytest
import torch
from conftest import GOLDEN
from pairwise import pairwise
from photos import moved, read_photo, turned
from torch import Tensor

from fgnet_plugin.alignment import AlignedFaces, align, align_faces, align_for_network, ffhq_square
from fgnet_plugin.ops import antialias, nvrtc
from fgnet_plugin.ops import ffhq_crop as crop
from fgnet_plugin.ops.ffhq_crop import ffhq_crop

LEVELS = 0.02  # of 255, between the kernel's positions and sums and torch's
DECIBELS = {torch.float32: 90, torch.bfloat16: 55, torch.float16: 70}

pytestmark = pytest.mark.filterwarnings("ignore:.*fill_uninitialized_memory")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return read_photo("skimage/astronaut")


@pytest.fixture(scope="module")
def landmarks() -> Tensor:
    """Of its face: [1, 68, 2]."""
    with np.load(GOLDEN / "ffhq_alignment.npz") as file:
        return torch.from_numpy(next(file[f"landmarks{i}"] for i in range(4) if str(file[f"name{i}"]) == "skimage/astronaut"))[
            None
        ]


@pytest.fixture
def on_kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Crops go through the emulated kernel; the names of those that were started. Memory that nothing wrote is NaN."""
    started: list[str] = []

    def launch(name: str, *arguments: object) -> None:
        started.append(name)
        cuda_on_cpu.launch(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(nvrtc, "launch", launch)
    monkeypatch.setattr(align, "ffhq_crop", crop.ffhq_crop_cuda)
    new = Tensor.new_empty
    monkeypatch.setattr(
        Tensor,
        "new_empty",
        lambda self, *size, **k: new(self, *size, **k).fill_(float("nan")) if k.get("dtype") else new(self, *size, **k),
    )
    return started


def poisoned(photo: Tensor, value: int = 255) -> Tensor:
    """The same photo between margins of another colour in memory: what is read beyond it shows."""
    wide = torch.nn.functional.pad(photo, (9, 9, 9, 9), value=value)
    return wide[:, 9:-9, 9:-9]


def decibels(found: Tensor, expected: Tensor) -> float:
    return 10 * math.log10(255**2 / (found.double() - expected.double()).square().mean().item())


def levels(aligned: AlignedFaces) -> Tensor:
    """Faces in [0, 255], float32."""
    return (aligned.faces.float() * 0.5 + 0.5) * 255 if aligned.normalised else aligned.faces.float()


@pytest.mark.parametrize("size", [256, 264])
def test_a_face_of_a_photo(size: int, photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """Rounded, not rounded and for the network; 264 px end within a tile."""
    expected = align_faces([photo], [landmarks], size, rounded=False)
    whole = align_faces([photo], [landmarks], size)
    found = align_faces([photo], [landmarks], size, rounded=False, kernels=True)
    as_bytes = align_faces([photo], [landmarks], size, kernels=True)
    for_network = align_for_network([photo], [landmarks], size, torch.float32, kernels=True)
    assert on_kernel == ["ffhq_crop2_float32"] * 3
    assert (found.faces - expected.faces).abs().max() < LEVELS
    assert (found.faces.dtype, as_bytes.faces.dtype) == (torch.float32, torch.uint8)
    assert found.faces.is_contiguous()
    assert as_bytes.faces.is_contiguous()
    # where the kernel's and torch's values lie on two sides of a half
    difference = (as_bytes.faces.int() - whole.faces.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.01
    assert for_network.normalised
    assert for_network.faces.is_contiguous(memory_format=torch.channels_last)
    assert (levels(for_network) - expected.faces).abs().max() < LEVELS
    assert torch.equal(found.to_photo, expected.to_photo)
    assert torch.equal(for_network.to_photo, expected.to_photo)


@pytest.mark.parametrize(("dtype", "factor", "descending"), pairwise(list(DECIBELS), (2, 4), (False, True)), ids=str)
def test_squares_of_several_pictures(
    dtype: torch.dtype, factor: int, descending: bool, photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turned, mirrored and skewed squares that touch their pictures' borders; pictures of odd sizes, planar and interleaved."""
    names: list[str] = []

    def launch(name: str, *arguments: object) -> None:
        names.append(name)
        cuda_on_cpu.launch(name, *arguments, descending=descending)  # type: ignore[arg-type]

    monkeypatch.setattr(nvrtc, "launch", launch)
    size = 21
    interleaved = photo.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    pictures = [photo[:, 100:141, 200:237].contiguous(), interleaved[:, 40:160, 160:301], poisoned(photo[:, 7:70, 9:70])]
    pictures.append(pictures[1])
    squares = torch.tensor(
        [
            [[18.0, 20.0], [18.0, 0.0], [0.0, 20.0]],  # the whole picture, from pixel centre to pixel centre
            [[66.2, 61.3], [19.0, 17.1], [-17.1, 19.0]],
            [[30.0, 31.0], [-12.0, 18.0], [18.0, 12.0]],
            [[70.1, 59.9], [0.3, 16.0], [20.0, 1.25]],
        ],
        dtype=torch.float64,
    )
    found = crop.ffhq_crop_cuda(pictures, squares, factor, size, dtype, True)
    assert names == [f"ffhq_crop{factor}_{nvrtc.TYPES[dtype]}"]
    assert (found.dtype, found.shape) == (dtype, (4, 3, size, size))
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = crop.ffhq_crop_reference(pictures, squares, factor, size)
    as_levels = (found.float() + 1) * 127.5
    assert as_levels.isfinite().all()
    assert decibels(as_levels, expected) > DECIBELS[dtype]
    if dtype == torch.float32:
        assert (as_levels - expected).abs().max() < LEVELS
        plain = crop.ffhq_crop_cuda(pictures, squares, factor, size, dtype, False)
        assert (plain - expected).abs().max() < LEVELS
        assert expected.std() > 10
    else:  # the value that float32 has, rounded once
        exact = crop.ffhq_crop_cuda(pictures, squares, factor, size, torch.float32, True)
        assert torch.equal(found, exact.to(dtype))


def test_one_pixel_astray_is_noticed(photo: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above sees a position that is off by a fiftieth of a pixel, and a tap that is left out."""
    monkeypatch.setattr(nvrtc, "launch", cuda_on_cpu.launch)
    square = torch.tensor([[[70.0, 60.0], [19.0, 17.0], [-17.0, 19.0]]], dtype=torch.float64)
    picture = photo[:, 40:160, 160:301]
    expected = crop.ffhq_crop_reference([picture], square, 2, 24)

    def worst(moved: float) -> float:
        found = crop.ffhq_crop_cuda([picture], square + square.new_tensor([moved, 0, 0])[:, None], 2, 24, torch.float32, False)
        return float((found - expected).abs().max())

    assert worst(0.0) < LEVELS < worst(0.02)
    table = crop.filter_weights(2).clone()
    table[:, 0] = 0
    monkeypatch.setattr(crop, "filter_weights", lambda factor: table)
    assert worst(0.0) > LEVELS


@pytest.mark.parametrize("degrees", [37.0, -160.0])
def test_turned_and_large_faces(degrees: float, photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """Side 164 px and, with 4 samples a pixel, 640 px; 64 px a side, so through the mean of the 256 px face."""
    for scale, kernel in ((1.0, "ffhq_crop2_float32"), (3.9, "ffhq_crop4_float32")):
        picture, matrix = turned(photo[:, :250, 90:360], degrees, scale)
        points = moved(landmarks - landmarks.new_tensor([90.0, 0.0]), matrix.to(landmarks.dtype))
        expected = align_faces([picture], [points], 64, rounded=False)
        found = align_for_network([poisoned(picture)], [points], 64, torch.bfloat16, kernels=True)
        assert on_kernel.pop() == kernel
        assert not on_kernel
        assert found.faces.dtype == torch.bfloat16
        assert found.faces.is_contiguous(memory_format=torch.channels_last)
        assert decibels(levels(found), expected.faces) > DECIBELS[torch.bfloat16]


def test_faces_near_the_border_and_beyond(photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """The photo cut ever closer to the square: the kernel takes the faces that need no padding, torch the others."""
    low, high = (
        ffhq_square(landmarks)[0].amin(0).floor().int().tolist(),
        ffhq_square(landmarks)[0].amax(0).ceil().int().tolist(),
    )
    photos, points = [], []
    for room in (9, 4, 3, -30):
        x0, y0 = low[0] - room, low[1] - room
        photos.append(poisoned(photo[:, y0 : high[1] + room, x0 : high[0] + room]))
        points.append(landmarks - landmarks.new_tensor([x0, y0]))
    expected = align_faces(photos, points, 128, rounded=False)
    found = align_faces(photos, points, 128, rounded=False, kernels=True)
    for_network = align_for_network(photos, points, 128, torch.float16, kernels=True)
    assert on_kernel == ["ffhq_crop2_float32"] * 2
    assert (found.faces - expected.faces).abs().max() < LEVELS
    assert torch.equal(found.faces[2:], expected.faces[2:])  # torch's own
    assert decibels(levels(for_network), expected.faces) > DECIBELS[torch.float16]


def test_some_faces_by_kernel_some_not(photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """With two, with four samples a pixel, shrunk first, padded, in any order: each in its place."""
    part, of_part = photo[:, :232, 110:342], landmarks - landmarks.new_tensor([110.0, 0.0])
    (larger, matrix), (huge, shrunk) = turned(part, 0.0, 5.0), turned(part, 0.0, 6.5)
    photos = [larger, photo, huge, photo[:, :, :230], photo]
    points = [moved(of_part, matrix.to(landmarks.dtype)), torch.cat([landmarks, landmarks + 3])]
    points += [moved(of_part, shrunk.to(landmarks.dtype)), landmarks, landmarks[:0]]
    expected = align_faces(photos, points, 64, rounded=False)
    found = align_for_network(photos, points, 64, torch.float32, kernels=True)
    assert sorted(on_kernel) == ["ffhq_crop2_float32", "ffhq_crop4_float32"]
    assert found.photo.tolist() == expected.photo.tolist() == [0, 1, 1, 2, 3]
    assert (levels(found) - expected.faces).abs().max() < LEVELS
    assert found.faces.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_only_padded_faces(dtype: torch.dtype, photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """No face for the kernel: the result is of the same kind."""
    beside = photo[:, :, :230]
    expected = align_faces([beside], [landmarks], 256, rounded=False)
    found = align_for_network([beside], [landmarks], 256, dtype, kernels=True)
    assert on_kernel == []
    assert (found.faces.dtype, found.normalised) == (dtype, True)
    assert found.faces.is_contiguous(memory_format=torch.channels_last)
    assert decibels(levels(found), expected.faces) > DECIBELS[dtype]


def test_far_out_in_a_large_photo_nothing_is_lost(photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """The same face near the corner of an 8K frame: not a bit of it changes."""
    frame = torch.zeros(3, 4320, 7680, dtype=torch.uint8)
    x, y = 7680 - 512, 4320 - 512
    frame[:, y:, x:] = photo
    points = landmarks.double()
    near = align_for_network([photo], [points], 64, torch.float32, kernels=True)
    far = align_for_network([frame], [points + points.new_tensor([x, y])], 64, torch.float32, kernels=True)
    assert len(on_kernel) == 2
    assert torch.equal(near.faces, far.faces)


def test_flat_photos_lose_half_a_level(on_kernel: list[str]) -> None:
    """Weights sum to 1 wherever the border cuts them; the range holds."""
    squares = torch.tensor([[[50.0, 50.0], [21.0, 9.0], [-9.0, 21.0]]], dtype=torch.float64)
    for value, expected in ((0, 0.0), (7, 6.51), (255, 254.51)):
        picture = torch.full((3, 101, 101), value, dtype=torch.uint8)
        for factor in (2, 4):
            found = crop.ffhq_crop_cuda([picture], squares, factor, 11, torch.float32, False)
            torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0, atol=1e-3)
    edges = torch.zeros(3, 101, 101, dtype=torch.uint8)
    edges[:, torch.arange(101) % 20 < 10] = 255
    found = crop.ffhq_crop_cuda([edges], squares, 2, 64, torch.float16, True)
    assert (found.min(), found.max()) == (-1, 1)  # Lanczos's filter overshoots


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("size", [8, 33, 256])
def test_weights_are_lanczos_at_every_size(factor: int, size: int) -> None:
    table, taps = crop.filter_weights(factor), 6 * factor
    dense = torch.zeros(size, size * factor, dtype=torch.float64)
    for rows, columns, matrix in antialias.lanczos(size * factor, size, 0, size):
        dense[rows, columns] = matrix
    found = torch.zeros(size, size * factor + 2 * taps, dtype=torch.float64)
    for pixel in range(size):
        start = taps + pixel * factor + factor // 2 - taps // 2
        row = pixel if pixel < 3 else max(pixel - size + 7, 3)
        found[pixel, start : start + taps] = table[row].double()
    torch.testing.assert_close(found[:, taps:-taps], dense, rtol=0, atol=1e-7)
    assert found[:, :taps].abs().max() == found[:, -taps:].abs().max() == 0


def test_photos_that_the_kernel_does_not_take(photo: Tensor, landmarks: Tensor, on_kernel: list[str]) -> None:
    """Floating-point photos, and faces with gradients on: as ever."""
    expected = align_faces([photo.float()], [landmarks], 64)
    found = align_for_network([photo.float()], [landmarks], 64, torch.bfloat16, kernels=True)
    none = align_for_network([], [], 64, torch.bfloat16, kernels=True)
    empty = align_for_network([photo], [landmarks[:0]], 64, torch.bfloat16, kernels=True)
    assert on_kernel == []
    assert not found.normalised
    assert torch.equal(found.faces, expected.faces)
    assert len(none) == len(empty) == 0
    assert empty.network_input().shape == none.network_input().shape == (0, 3, 64, 64)
    assert empty.faces.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [None, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_the_network_reads_and_what_is_shown(kind: torch.dtype | None, photo: Tensor, landmarks: Tensor) -> None:
    """Through the operation as registered; None: plain torch."""
    exact = align_faces([photo], [landmarks], 64, rounded=False)
    whole = align_faces([photo], [landmarks], 64)
    found = align_for_network([photo], [landmarks], 64, kind or torch.bfloat16, kernels=kind is not None)
    assert found.normalised == (kind is not None)
    assert found.network_input().dtype == (kind or torch.float32)
    assert decibels((found.network_input().float() + 1) * 127.5, exact.faces.clamp(0, 254.99)) > 55
    assert found.pictures().dtype == torch.uint8
    difference = (found.pictures().int() - exact.faces.round().int()).abs()
    assert difference.max() <= (0 if kind is None else 1)
    assert torch.equal(whole.pictures(), whole.faces)
    torch.testing.assert_close(whole.network_input(), (whole.faces.float() / 255 - 0.5) / 0.5, rtol=0, atol=0)


def test_the_operation_is_registered_as_torch_wants(photo: Tensor) -> None:
    square = torch.tensor([[[50.0, 50.0], [21.0, 9.0], [-9.0, 21.0]]] * 2, dtype=torch.float64)
    pictures = [photo[:, :101, :103], photo[:, 200:300, 100:200].contiguous()]
    checks = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
    with torch.no_grad():
        torch.library.opcheck(torch.ops.fgnet.ffhq_crop, (pictures, square, 2, 16, torch.bfloat16, True), test_utils=checks)
    with pytest.raises(RuntimeError, match="ffhq_crop is for detection only and has no gradient"):
        ffhq_crop(pictures, square.requires_grad_(), 2, 16, torch.float32).sum().backward()


@pytest.mark.parametrize("form", [crop.ffhq_crop, crop.ffhq_crop_cuda], ids=["reference", "kernel"])
def test_refusals(form: object, photo: Tensor) -> None:
    """The kernel trusts what it is told: nothing that would make it read beside a picture reaches it."""
    good = torch.tensor([[[50.0, 50.0], [21.0, 9.0], [-9.0, 21.0]]], dtype=torch.float64)
    small = photo[:, :101, :103]

    def call(
        pictures: list[Tensor], squares: Tensor, factor: int = 2, size: int = 16, dtype: torch.dtype = torch.float32
    ) -> None:
        form(pictures, squares, factor, size, dtype, True)  # type: ignore[operator]

    for axis, shift in ((0, -21.0), (0, 23.0), (1, -21.0), (1, 21.0)):
        moved = good.clone()
        moved[0, 0, axis] += shift
        with pytest.raises(ValueError, match=re.escape("square 0 is not inside of its picture (103×101 px)")):
            call([small], moved)
    for wrong in (good * math.nan, good * 1e12):
        with pytest.raises(ValueError, match="less than 2 px apart; shrink the pictures first"):
            call([small], wrong)
    with pytest.raises(ValueError, match=r"squares must be float64 \[2, 3, 2\] on the CPU, got torch.float64 \[1, 3, 2\]"):
        call([small, small], good)
    with pytest.raises(ValueError, match=r"got torch.float32"):
        call([small], good.float())
    with pytest.raises(ValueError, match=r"picture 0 must be uint8 \[3, h, w\] on cpu, got torch.float32"):
        call([small.float()], good)
    with pytest.raises(ValueError, match="picture 1 must be uint8"):
        call([small, photo[:2]], good.expand(2, 3, 2))
    with pytest.raises(ValueError, match="takes 2 or 4 samples a pixel, got 3"):
        call([small], good, 3)
    with pytest.raises(ValueError, match="8 px a side or more, got 7"):
        call([small], good, 2, 7)
    with pytest.raises(TypeError, match="makes float32, bfloat16, float16, got"):
        call([small], good, dtype=torch.float64)
    with pytest.raises(ValueError, match="at least one picture"):
        call([], good[:0])
