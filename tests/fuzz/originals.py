"""Whole files of each kind, small ones, which are then damaged."""

import io
import itertools
import json
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILES = Path(__file__).parents[1] / "media" / "files"
CANARY = "executed"
"""A file that code in a pickle or YAML file would leave behind."""


def pictures(folder: Path) -> list[bytes]:
    from PIL import Image

    from fgnet_plugin.media import images  # noqa: F401  (registers HEIF)

    y, x = np.mgrid[:32, :48]
    frames = [Image.fromarray(np.stack([5 * x, 7 * y + 40 * i, x + y], -1).astype(np.uint8)) for i in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [b"P6\n48 32\n255\n" + frames[0].tobytes(), b"P2\n4 4\n255\n" + b"1 2 3 4 " * 4]
    for kind, options in (
        *((kind, {}) for kind in ("BMP", "JPEG2000", "HEIF", "AVIF", "TGA", "ICO")),
        *((kind, {"exif": exif}) for kind in ("JPEG", "PNG", "WEBP")),
        *((kind, {"save_all": True, "append_images": frames[1:], "duration": 40}) for kind in ("GIF", "PNG", "WEBP", "TIFF")),
        *(("TIFF", {"compression": kind}) for kind in ("tiff_lzw", "jpeg")),
    ):
        data = io.BytesIO()
        frames[0].save(data, kind, **options)
        found.append(data.getvalue())
    return found


def videos(folder: Path) -> list[bytes]:
    import av

    found = []
    kinds: tuple[tuple[str, str, str, dict[str, str]], ...] = (
        ("a.mp4", "libx264", "yuv420p", {"x264-params": "keyint=6:bframes=2"}),
        ("a.mkv", "libx264", "yuv420p", {"x264-params": "keyint=6:bframes=2"}),
        ("a.ts", "libx264", "yuv420p", {"x264-params": "keyint=6:bframes=0"}),
        ("a.flv", "flv", "yuv420p", {"g": "6"}),
        ("a.avi", "mpeg4", "yuv420p", {"g": "6"}),
        ("a.mov", "mjpeg", "yuvj420p", {}),
        ("a.mpg", "mpeg2video", "yuv420p", {"g": "6"}),
        ("a.webm", "libvpx", "yuv420p", {"g": "6", "deadline": "realtime", "cpu-used": "8"}),
        ("b.webm", "libvpx-vp9", "yuv420p", {"g": "6", "deadline": "realtime", "cpu-used": "8"}),
        ("b.mp4", "libx265", "yuv420p", {"x265-params": "keyint=6:log-level=none:pools=none"}),
        ("a.wmv", "wmv2", "yuv420p", {"g": "6"}),
    )
    y, x = np.mgrid[:48, :64]
    for name, codec, layout, options in kinds:
        with av.open(str(folder / name), "w") as file:
            stream = file.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, layout
            stream.codec_context.thread_count = 1
            for i in range(16):
                picture = np.stack([5 * x + 9 * i, 7 * y, x + y], -1).astype(np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=layout)))
            file.mux(stream.encode())
        found.append((folder / name).read_bytes())
    return [*found, (FILES / "kinds" / "P05.ogv").read_bytes()]


def _table() -> Any:
    import pandas as pd

    chance = np.random.default_rng(0)
    numbers = {f"{axis}_{i}": chance.uniform(0, 100, 5).round(2) for axis in "xy" for i in range(68)}
    face = {f"FaceRect{name}": chance.uniform(0, 100, 5) for name in ("X", "Y", "Width", "Height")} | {"FaceScore": [0.9] * 5}
    aus = {f"AU{n:02}": chance.uniform(0, 1, 5) for n in (1, 6, 12)}
    where = {"input": ["001", "NA", "clip.mp4", "a,b", "é"], "frame": range(5), "approx_time": ["00:01"] * 5}
    return pd.DataFrame({**face, **numbers, **aus, **where})


def tables(folder: Path) -> list[bytes]:
    fex = _table()
    names = {f"{axis}_{i}": f" {axis}_{i}" for axis in "xy" for i in range(68)}
    openface = fex.drop(columns=["input", "approx_time"]).rename(columns=names)
    openface.insert(0, " success", 1)
    openface.insert(1, " confidence", 0.9)
    openface = openface.rename(columns={"frame": "frame", "AU01": " AU01_r", "AU06": " AU06_c", "AU12": " AU12_r"})
    labels = "file,subject,AU01,AU06,AU12\na.png,s1,0,1,\nb.png,s2,1,0,9\n"
    return [fex.to_csv(index=False).encode(), openface.to_csv(index=False).encode(), labels.encode(), labels.encode("utf-16")]


def parquets(folder: Path) -> list[bytes]:
    found = []
    for options in ({}, {"compression": "gzip"}, {"compression": None}):
        data = io.BytesIO()
        _table().to_parquet(data, index=False, **options)
        found.append(data.getvalue())
    return found


def settings(folder: Path) -> list[bytes]:
    from fgnet_plugin.training.config.bundled import config_path

    names = ("rendered-ci", "generator-small", "bp4d")
    code = f"a: !!python/object/apply:os.system ['touch {CANARY}']\n".encode()
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n".encode() for before, name in itertools.pairwise("abcdefgh")
    )
    return [*(config_path(name).read_bytes() for name in names), code, bomb]


def runs(folder: Path) -> list[bytes]:
    about = {
        "paths": ["a.mp4"],
        "data_type": None,
        "mixed_sizes": "single",
        "folder": "/",
        "errors": "skip",
        "relative_to": None,
    }
    models = {
        "face_model": "retinaface",
        "au_model": "fgnet",
        "emotion_model": None,
        "identity_model": None,
        "gaze_model": None,
    }
    run = {"about": {**about, "device": "cpu"}, "inputs": [["a.mp4", "video", 99, 72]], "batch_size": 8, "models": models}
    run |= {"output_size": None, "skip_frames": None, "precision": "float32", "checkpoint": "0" * 64}
    return [
        b"\n".join([json.dumps(run).encode(), b"120", b"340", *end]) for end in ([b""], [b"finishing", b""], [b"finished", b""])
    ]


def weights(folder: Path) -> list[bytes]:
    import torch

    from fgnet_plugin.checkpoints import fgnet
    from fgnet_plugin.network import FGNet
    from fgnet_plugin.network.config import FGNetConfig
    from fgnet_plugin.utils import safetensors_file

    config = FGNetConfig(
        aus=("AU01", "AU06"),
        image_size=64,
        generator_size=64,
        generator_channels=(8, 8, 8, 8, 8),
        style_dim=8,
        mapping_layers=1,
        encoder_channels=(8, 8, 8, 8),
        encoder_units=(1, 1, 1, 1),
        squeeze_reduction=4,
        heatmap_size=16,
    )
    torch.manual_seed(0)
    fgnet.save(FGNet(config), folder / "a.safetensors", fgnet.CheckpointInfo(config, "example"))
    safetensors_file.write(folder / "b.safetensors", {"a": torch.zeros(3, 4)}, {"format": "example/1"})
    found = []
    for name in ("a.safetensors", "b.safetensors"):
        data = (folder / name).read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        head = json.dumps(json.loads(data[8:begin]), sort_keys=True).encode()  # safetensors writes it in any order
        found.append(len(head).to_bytes(8, "little") + head + data[begin:])
    return [*found, (2**32).to_bytes(8, "little") + b"{}"]


class _Code:
    """What leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return eval, (f"open({CANARY!r}, 'w')",)


def pickles(folder: Path) -> list[bytes]:
    import torch

    content = {"latent_avg": torch.zeros(4, 8), "state_dict": {"a.weight": torch.ones(3)}, "opts": Namespace(lr=1e-3)}
    found = []
    for value, options in (
        (content, {}),
        (content, {"_use_new_zipfile_serialization": False}),
        ({"global_step": 3, "state": {"a": torch.zeros(2)}}, {}),
        ({"a": _Code()}, {}),
        ({"a": _Code()}, {"_use_new_zipfile_serialization": False}),
    ):
        data = io.BytesIO()
        torch.save(value, data, **options)
        found.append(data.getvalue())
    return [*found, pickle.dumps(_Code()), b"<!DOCTYPE html><html></html>"]
