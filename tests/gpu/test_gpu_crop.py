"""Faces cut out of photos on a GPU, against the CPU's: ``make gpu``.

FGNET_DEVICE=cpu rehearses it: the crop kernel's text then runs on the CPU (cuda_on_cpu.py).
"""

from collections.abc import Iterator

import pytest
import torch
from gpu_device import BRIEF, DEVICE, MARKS, ON_GPU
from torch import Tensor

from fgnet_plugin.alignment import align, align_faces, align_for_network, ffhq_square
from fgnet_plugin.ops import ffhq_crop, nvrtc

LEVELS = {torch.float32: 0.05, torch.bfloat16: 0.3, torch.float16: 0.1}  # of 255: positions and sums, and the result's rounding

pytestmark = MARKS


@pytest.fixture(scope="module", autouse=True)
def _launches() -> Iterator[None]:
    if ON_GPU:
        nvrtc.make_all(torch.cuda.current_device())
        yield
        return
    pytest.importorskip("ziglang", reason="compiles the kernels for the CPU")
    import cuda_on_cpu

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nvrtc, "launch", cuda_on_cpu.launch)
        patch.setattr(align, "ffhq_crop", ffhq_crop.ffhq_crop_cuda)
        yield


def landmarks(x: float, y: float, eyes: float, turn: float = 0.0) -> Tensor:
    """[1, 68, 2]: a face whose eyes are so far apart around (x, y), turned so many degrees."""
    points = torch.zeros(68, 2, dtype=torch.float64)
    points[36:42], points[42:48] = torch.tensor([-0.5, 0.0]), torch.tensor([0.5, 0.0])
    points[48], points[54] = torch.tensor([-0.4, 1.1]), torch.tensor([0.4, 1.1])
    angle = torch.deg2rad(torch.tensor(turn, dtype=torch.float64))
    turned = points @ torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    return (turned * eyes + torch.tensor([x, y]))[None]


def photo(height: int, width: int, seed: int) -> Tensor:
    """Blobs of a few pixels and up, and some noise: uint8 [3, height, width]."""
    generator = torch.Generator().manual_seed(seed)
    found = 12 * torch.randn(3, height, width, generator=generator)
    for step in (6, 20, 70):
        coarse = torch.randn(1, 3, height // step + 2, width // step + 2, generator=generator)
        found += 40 * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0]
    return (found + 128).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def frames() -> tuple[list[Tensor], list[Tensor]]:
    """Photos of several sizes, planar and interleaved; faces with two and four samples a pixel, shrunk, and padded."""
    photos = [photo(481, 641, 0), photo(700, 903, 1).permute(1, 2, 0).contiguous().permute(2, 0, 1), photo(1300, 1301, 2)]
    points = [
        torch.cat([landmarks(200, 180, 30), landmarks(400, 250, 41, 33), landmarks(30, 40, 50)]),
        torch.cat([landmarks(450, 300, 155, -12), landmarks(300, 320, 62, 170)]),
        landmarks(640, 560, 290, 5),
    ]
    sides = [(square[3] - square[0]).norm().item() for of_photo in points for square in ffhq_square(of_photo)]
    assert min(sides) < 512 < max(sides[:5]) < 1024 < max(sides)
    return photos, points


def on_device(photos: list[Tensor]) -> list[Tensor]:
    return [frame.to(DEVICE) for frame in photos]


@pytest.mark.parametrize("dtype", list(LEVELS), ids=str)
@pytest.mark.parametrize("size", [64] if BRIEF else [64, 128, 256, 300, 512])
def test_faces_are_the_cpus(size: int, dtype: torch.dtype, frames: tuple[list[Tensor], list[Tensor]]) -> None:
    photos, points = frames
    expected = align_faces(photos, points, size, rounded=False)
    found = align_for_network(on_device(photos), points, size, dtype, kernels=True)
    assert found.normalised
    assert found.faces.dtype == dtype
    assert found.faces.device.type == DEVICE.type
    assert found.faces.is_contiguous(memory_format=torch.channels_last)
    difference = ((found.faces.float().cpu() + 1) * 127.5 - expected.faces).abs().amax((1, 2, 3))
    print(f"\n{size} px, {dtype}: levels of each face {difference.tolist()}")
    assert difference.max() < LEVELS[dtype]
    torch.testing.assert_close(found.to_photo.cpu(), expected.to_photo)


def test_rounded_faces_are_the_cpus(frames: tuple[list[Tensor], list[Tensor]]) -> None:
    photos, points = frames
    expected = align_faces(photos, points, 64)
    found = align_faces(on_device(photos), points, 64, kernels=True)
    assert found.faces.dtype == torch.uint8
    difference = (found.faces.cpu().int() - expected.faces.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.02


def test_a_face_of_many_is_the_face_alone(frames: tuple[list[Tensor], list[Tensor]]) -> None:
    """Bit for bit, in one launch as in many."""
    count = 3 if BRIEF else 200
    image = on_device(frames[0])[0]
    points = torch.cat([landmarks(150 + i, 150 + i / 3, 20 + i / 10, 7.0 * i) for i in range(count)])
    together = align_for_network([image], [points], 64, torch.bfloat16, kernels=True).faces
    for i in (0, 1, count - 1):
        assert torch.equal(
            together[i : i + 1], align_for_network([image], [points[i : i + 1]], 64, torch.bfloat16, kernels=True).faces
        )


@pytest.mark.skipif(not ON_GPU, reason="streams and waiting are a GPU's")
def test_nothing_waits_for_the_gpu(frames: tuple[list[Tensor], list[Tensor]]) -> None:
    """On a stream of its own, with torch refusing whatever would make the CPU wait."""
    photos, points = on_device(frames[0]), frames[1]
    expected = align_for_network(photos, points, 256, torch.float32, kernels=True)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            found = align_for_network(photos, points, 256, torch.float32, kernels=True)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    stream.synchronize()
    assert torch.equal(found.faces, expected.faces)
