"""The table of docs/bad_inputs.md, taken from runs: ``PYTHONPATH=.:tests/helpers python tests/cli/bad_inputs.py``.

Each row is a run of `fgnet detect --offline` with a good photo and something else.
"""

import contextlib
import io
import os
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fgnet_plugin.utils.journal import read_table

FILES = Path(__file__).parents[1] / "media" / "files"
BEGIN, END = "<!-- taken from runs by tests/cli/bad_inputs.py -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Case:
    """Something that is given beside a good photo."""

    what: str
    inputs: str
    make: Callable[[Path], object]
    options: str = ""


def claimed_png(path: Path, side: int) -> None:
    """A PNG of a few bytes whose header claims so many pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))


def cut(source: Path, path: Path, share: float) -> None:
    path.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])


def turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(folder / "good.jpg")
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "phone.jpg", exif=exif)


def mixed_folder(folder: Path) -> None:
    (folder / "clips" / "s1").mkdir(parents=True)
    shutil.copy(folder / "good.jpg", folder / "clips" / "a.jpg")
    shutil.copy(folder / "good.jpg", folder / "clips" / "s1" / "b.jpg")
    (folder / "clips" / "notes.txt").write_text("no picture")
    (folder / "clips" / "._a.jpg").write_text("left by macOS")


def file_of(name: str, called: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(FILES / name, folder / called)


def text(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).write_text("dear diary") for name in names]


CASES = [
    Case("files that are not there", "no.jpg no.mp4", lambda folder: None),
    Case("an empty file", "empty.mp4", lambda folder: (folder / "empty.mp4").touch()),
    Case("a text named as a picture", "text.jpg", text("text.jpg")),
    Case("a text named as a video", "text.mp4", text("text.mp4")),
    Case("two of them, with `--errors raise`", "one.mp4 two.mp4", text("one.mp4", "two.mp4"), "--errors raise"),
    Case("a photo that is cut off", "cut.jpg", lambda folder: cut(folder / "good.jpg", folder / "cut.jpg", 0.4)),
    Case("a picture that claims 60,000 × 60,000 pixels", "huge.png", lambda folder: claimed_png(folder / "huge.png", 60_000)),
    Case("a phone's photo that is stored on its side", "phone.jpg", turned),
    Case("an animated GIF", "anim.gif", file_of("anim.gif", "anim.gif")),
    Case("the same, with `--data-type video`", "anim.gif", file_of("anim.gif", "anim.gif"), "--data-type video"),
    Case("a video that is cut off", "cut.webm", lambda folder: cut(FILES / "02_zoom.webm", folder / "cut.webm", 0.6)),
    Case("a video with its index lost", "cut.mp4", lambda folder: cut(FILES / "hflip.mp4", folder / "cut.mp4", 0.6)),
    Case("a video with damage in the middle", "damaged.mp4", file_of("dam1.mp4", "damaged.mp4")),
    Case("two recordings that were joined", "joined.ts", file_of("concat.ts", "joined.ts")),
    Case("a recording that begins between keyframes", "begun.ts", file_of("midgop.ts", "begun.ts")),
    Case("a webcam with a varying frame rate", "webcam.mp4", file_of("vfr_webcam.mp4", "webcam.mp4")),
    Case("a video whose picture size changes", "zoom.webm", file_of("02_zoom.webm", "zoom.webm")),
    Case("a folder with other files and a subfolder", "clips", mixed_folder),
    Case("a folder without pictures or videos", "nothing", lambda folder: (folder / "nothing").mkdir()),
    Case("a pattern without a match", "*.avi", lambda folder: None),
    Case("an output that is there already", "", lambda folder: (folder / "t.csv").write_text("precious")),
    Case("weights that are none", "", text("w.safetensors"), "--au-model w.safetensors"),
    Case("a table in a folder that can't be made", "", text("file"), "--out file/t.csv"),
]


def run(case: Case, photo: Path, fgnet: Callable[..., int]) -> tuple[str, str, str]:
    """Run one case in a folder of its own: what it is, what happens, what is said."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(photo, folder / "good.jpg")
        case.make(folder)
        os.chdir(folder)
        out = io.StringIO(), io.StringIO()
        try:
            options = case.options.split()
            target = [] if "--out" in options else ["--out", "t.csv"]
            with contextlib.redirect_stdout(out[0]), contextlib.redirect_stderr(out[1]):
                code = fgnet("detect", "--offline", "good.jpg", *case.inputs.split(), *options, *target)
            said = [line.split("frame/s]")[-1] for line in out[1].getvalue().splitlines()]
            messages = [line for line in said if line.startswith(("warning: ", "error: ", "  ")) and line.strip()]
            return case.what, _happens(case, code), _shown(messages, name)
        finally:
            os.chdir(before)


def _happens(case: Case, code: int) -> str:
    if not Path("t.csv.run").is_file():
        return "an error; nothing is written"
    rows = read_table(Path("t.csv"))
    others = rows[rows["input"] != "good.jpg"]
    frames = len(others[["input", "frame"]].drop_duplicates())
    if not frames:
        return "left out"
    if (others["approx_time"].notna().any()) if "approx_time" in others else False:
        return f"{frames} frames are read" + (", then an exit status of 1" if code else "")
    return "read" + (", then an exit status of 1" if code else "")


def _shown(messages: list[str], folder: str) -> str:
    """One line for each message; the list at the end repeats warnings."""
    end = next((i for i, line in enumerate(messages) if line.startswith("error: 1 of ")), len(messages))
    lines = [line.replace(folder + "/", "") for line in messages[:end]]
    return "<br>".join(f"`{line.strip()}`" for line in lines) or "nothing"


def table(photo: Path, fgnet: Callable[..., int]) -> str:
    """Make the table of all cases."""
    rows = [run(case, photo, fgnet) for case in CASES]
    escaped = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "| input | what happens | what is said |\n| --- | --- | --- |\n" + "".join(f"| {row} |\n" for row in escaped)


def in_process(*arguments: str) -> int:
    """The command in this process: its exit status."""
    from fgnet_plugin.cli.app import main

    before, sys.argv = sys.argv, ["fgnet", *arguments]
    try:
        main()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    finally:
        sys.argv = before
    return 0


def main() -> None:
    """Write the table to docs/bad_inputs.md."""
    from photos import feat_path

    page = Path(__file__).parents[2] / "docs" / "bad_inputs.md"
    before = page.read_text()
    start, end = before.index(BEGIN) + len(BEGIN), before.index(END)
    page.write_text(before[:start] + table(feat_path("single_face.jpg"), in_process) + before[end:])


if __name__ == "__main__":
    main()
