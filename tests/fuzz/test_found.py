"""What the fuzz has found, each in the smallest file that shows it."""

import io
from pathlib import Path

import pytest
import torch

from fgnet_plugin.checkpoints.published import read_torch_file
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.training.config import yaml_dataclass
from fgnet_plugin.training.config.detector import DetectorConfig
from fgnet_plugin.utils import safetensors_file
from fgnet_plugin.utils.journal import Journal, read_csv, read_table, run_path


@pytest.mark.parametrize("new", [True, False])
def test_pickles_cut_off_anywhere(tmp_path: Path, new: bool) -> None:
    """IndexError, struct.error and AssertionError of torch's unpickler."""
    data = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": {"c": [1, 2.0, "d"]}}, data, _use_new_zipfile_serialization=new)
    path = tmp_path / "a.pth"
    for length in range(1, data.tell(), 9):
        path.write_bytes(data.getvalue()[:length])
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            read_torch_file(path)


def test_a_few_lines_of_yaml_that_stand_for_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a]\n")
    with pytest.raises(
        ValueError, match=r"a\.yaml: not a YAML file \(it refers to another place with \*; write the value out\)"
    ):
        yaml_dataclass.read(DetectorConfig, path)
    path.write_text("a: &a [*a]\n")
    with pytest.raises(ValueError, match=r"a\.yaml: not a YAML file"):
        yaml_dataclass.read(DetectorConfig, path)


@pytest.mark.parametrize(
    "content", [b"[1]\n", b'{"a": 1}\nx1\n', b'{"a": 1}\n-5\n', b'{"a": 1}\n50\n20\n', b"[" * 100_000 + b"\n"]
)
def test_a_damaged_file_about_a_run(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "a.csv"
    table.write_text("a\n" * 50)
    run_path(table).write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv\.run is damaged; delete it and start anew"):
        Journal(table, {"a": 1}, resume=True)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n1,2,3,4\n", b"\xff\xfe\x00input\n", b'a,b\n"1,2\n'])
def test_tables_that_are_none(tmp_path: Path, content: bytes) -> None:
    for name in ("a.csv", "a.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is not a readable (CSV|parquet) file"):
            read_table(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")


def test_a_safetensors_header_of_four_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes((2**32).to_bytes(8, "little") + b"{}")
    for read in (safetensors_file.read_metadata, safetensors_file.read_tensors, safetensors_file.read_shapes):
        with pytest.raises(CheckpointError, match=r"a\.safetensors: not a safetensors file, or truncated .*header too large"):
            read(path)


def test_lists_and_texts_are_no_videos(tmp_path: Path) -> None:
    """FFmpeg would open the files that a list names, and draw a text as a film."""
    pytest.importorskip("av")
    from fgnet_plugin.media.video import Video

    clip = Path(__file__).parents[1] / "media" / "files" / "concat.ts"
    for name, content in {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile {clip}\n",
        "c.txt": "a text\n" * 200,
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=rf"{name} cannot be read as a video"):
            Video(tmp_path / name)


@pytest.mark.parametrize("codec", ["ffv1", "rawvideo"])
def test_a_video_that_claims_100_000_pixels(tmp_path: Path, codec: str) -> None:
    """Of width and height each: 30 GB a frame."""
    resource = pytest.importorskip("resource")
    av = pytest.importorskip("av")
    from fgnet_plugin.media.video import Video

    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        file.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 12
    data[at : at + 8] = 2 * (100_000).to_bytes(4, "little")
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"a\.avi"):
        Video(path)[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB
