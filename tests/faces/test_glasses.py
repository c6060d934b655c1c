"""Glasses: on photos on which some are drawn, and where nothing can be said."""

import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import torch
from photos import FACES, read_photo
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from fgnet_plugin.cli import main
from fgnet_plugin.errors import InputError
from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.faces.glasses import eye_strips, glasses
from fgnet_plugin.inference.columns import LANDMARKS
from fgnet_plugin.measures import quality, read_recordings
from fgnet_plugin.measures.quality import EYES

PHOTOS = [name for name in FACES if name != "pyfeat/multi_face.jpg"]


def with_glasses(photo: Tensor, points: Tensor) -> Tensor:
    """The photo with a dark frame before the eyes of the face with these landmarks."""
    picture: Image.Image = to_pil_image(photo)
    draw = ImageDraw.Draw(picture)
    eyes = [points[first : first + 6].mean(0) for first in (36, 42)]
    radius = float((eyes[1] - eyes[0]).norm()) * 0.36
    line = max(2, round(radius / 8))
    for x, y in (eye.tolist() for eye in eyes):
        draw.rounded_rectangle(
            (x - radius, y - 0.6 * radius, x + radius, y + 0.8 * radius), radius / 3, None, (20, 18, 15), line
        )
    (left, y), (right, _) = (eye.tolist() for eye in eyes)
    draw.line((left + radius, y, right - radius, y), (20, 18, 15), line)
    return pil_to_tensor(picture)


def test_drawn_glasses_are_seen() -> None:
    """The score is no probability: one of the bare photos has 0.7."""
    finder, bare, worn = FaceFinder("cpu"), [], []
    for name in PHOTOS:
        photo = read_photo(name)
        points = finder.find([photo], 0.5)[0].landmarks[:1]
        bare.append(float(glasses(photo, points)))
        worn.append(float(glasses(with_glasses(photo, points[0]), points)))
    assert min(worn) > max(0.9, *bare)
    assert np.median(bare) < 0.3
    half = torch.nn.functional.interpolate(photo[None].float(), scale_factor=0.5, mode="area")[0].byte()
    assert abs(float(glasses(half, points / 2 - 0.25)) - bare[-1]) < 0.2


def test_a_rule_excludes_frames_with_glasses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = read_photo("skimage/astronaut")[:, :256, 96:352]
    points = FaceFinder("cpu").find([photo], 0.5)[0].landmarks[0]
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, width=256, height=256, bit_rate=5_000_000)
        for picture in (photo, with_glasses(photo, points), photo):
            frame = av.VideoFrame.from_ndarray(picture.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    landmarks = dict(zip(LANDMARKS, points.T.flatten().tolist(), strict=True))
    table = pd.DataFrame({"input": "a.mp4", "frame": range(4), "AU12": [0.5, 0.5, 0.5, np.nan], **landmarks})
    table.loc[3, LANDMARKS] = np.nan
    table.to_csv(tmp_path / "fex.csv", index=False)

    monkeypatch.chdir(tmp_path)
    [read] = read_recordings(tmp_path / "fex.csv", rate=10, keep=EYES)
    read.rows["frame"] = [0, 1, 2, 2]  # the last row has no face, and no frame
    found = quality.glasses(read)
    assert found[1] > 0.9 > 0.5 > max(found[0], found[2])
    assert np.isnan(found[3])
    with pytest.raises(InputError, match="the landmarks of the eyes, which the table lacks"):
        quality.glasses(next(iter(read_recordings(table.drop(columns=LANDMARKS), rate=10))))

    table.iloc[:3].to_csv("fex.csv", index=False)
    monkeypatch.setattr(sys, "argv", ["fgnet", "summarize", "fex.csv", "--rate", "10", "--max-glasses", "0.9"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    assert "1 frame excluded: max_glasses" in capsys.readouterr().out
    assert pd.read_csv("summary/exclusions.csv")[["max_glasses", "used"]].iloc[0].tolist() == [1, 2]


def test_where_nothing_can_be_said() -> None:
    frame = torch.randint(0, 255, (3, 90, 120), dtype=torch.uint8)
    points = torch.zeros(4, 68, 2)
    points[:, 36:42] = torch.tensor([40.0, 30.0])
    points[:, 42:48] = torch.tensor([72.0, 30.0])
    points[1] += 1000  # outside
    points[2] = torch.nan
    points[3, 42:48] = torch.tensor([44.0, 30.0])  # 4 px
    assert glasses(frame, points).isnan().tolist() == [False, True, True, True]
    assert glasses(frame, torch.empty(0, 68, 2)).shape == (0,)


def test_strips_are_cut_where_the_eyes_are() -> None:
    """At 32 px between the eyes a pixel is a pixel; at twice as many, the mean of four."""
    frame = torch.arange(120.0).expand(3, 90, 120).byte()
    points = torch.zeros(1, 68, 2)
    points[:, 36:42] = torch.tensor([40.0, 40.0])
    points[:, 42:48] = torch.tensor([71.5, 40.0])
    strip = eye_strips(frame, points)[0] * 255
    torch.testing.assert_close(strip[0], torch.linspace(40 - 15.75, 71.5 + 15.75, 64), atol=0.01, rtol=0)
    large = torch.nn.functional.interpolate(frame[None].float(), scale_factor=2, mode="nearest")[0].byte()
    twice = eye_strips(large, 2 * points + 0.5)[0] * 255
    torch.testing.assert_close(twice, strip, atol=0.3, rtol=0)
