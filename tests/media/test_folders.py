"""What of a folder is read, in which order, and why the rest is not."""

import os
from pathlib import Path

import pytest
from PIL import Image

from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError
from fgnet_plugin.media.folders import SUBFOLDER, list_folder, natural_order

FILES = Path(__file__).with_name("files")


def names(files: object, folder: Path) -> list[str]:
    return [str(Path(file).relative_to(folder)) for file in files]  # type: ignore[attr-defined]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder as labs have it."""
    folder = tmp_path / "study"
    for subfolder in ("sub-2", "sub-10", ".cache", "none"):
        (folder / subfolder).mkdir(parents=True)
    for name in ("P10.jpg", "P2.JPG", "p1.png", "._P2.JPG", "sub-10/a.jpg", "sub-2/b.jpg", ".cache/c.jpg", "001", "NA"):
        picture = Image.new("RGB", (8, 8))
        picture.save(folder / name, "PNG")
    for name in ("P3.MTS", "P4.VOB", "P5.ogv", "P6.asf", "P7.m2v", "P8"):
        (folder / name).write_bytes((FILES / "concat.ts").read_bytes())
    (folder / "notes.txt").write_text("one\ntwo\n" * 100)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nP3.MTS\n#EXT-X-ENDLIST\n")
    (folder / "empty.mp4").touch()
    return folder


def test_what_can_be_read_is_listed_and_the_rest_has_a_reason(study: Path) -> None:
    pytest.importorskip("av")
    listing = list_folder(study)
    assert names(listing.files, study) == [
        *("001", "NA", "p1.png", "P2.JPG", "P3.MTS", "P4.VOB", "P5.ogv", "P6.asf", "P7.m2v", "P8", "P10.jpg"),
    ]
    assert {str(path.relative_to(study)): reason for path, reason in listing.left_out.items()} == {
        "._P2.JPG": "hidden",
        "empty.mp4": "empty",
        "list.m3u8": "no picture or video",
        "notes.txt": "no picture or video",
        "table.csv": "no picture or video",
        ".cache": "a hidden folder",
        "sub-2": SUBFOLDER,
        "sub-10": SUBFOLDER,
    }
    assert listing.note() == (
        f"{study}: left out ._P2.JPG (hidden); empty.mp4 (empty); list.m3u8, notes.txt, table.csv (no picture or video); "
        ".cache (a hidden folder); sub-2, sub-10 (a subfolder, not searched)"
    )


def test_subfolders_on_request(study: Path) -> None:
    listing = list_folder(study, recursive=True)
    assert names(listing.files, study)[-2:] == ["sub-2/b.jpg", "sub-10/a.jpg"]
    assert SUBFOLDER not in listing.left_out.values()


def test_links(tmp_path: Path) -> None:
    """A link to a file is read; those to folders may lead in a circle."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "none.png")
    (tmp_path / "d").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "e.mp4")
    listing = list_folder(tmp_path, recursive=True)
    assert names(listing.files, tmp_path) == ["a.png", "b.png"]
    assert {path.name: reason for path, reason in listing.left_out.items()} == {
        "c.png": "a link to nothing",
        "d": "a link to a folder",
        "e.mp4": "no file",
    }


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: this folder can't be read"):
        list_folder(tmp_path / "none")


def test_natural_order() -> None:
    names = ["P10", "p9", "P1", "P01", "a2b10", "a2b9", "²"]
    assert sorted(names, key=natural_order) == ["a2b9", "a2b10", "P01", "P1", "p9", "P10", "²"]


def test_the_command_line_says_what_is_left_out(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = find_inputs([str(study), str(study / "P2.JPG")])
    assert names(found, study)[2:4] == ["p1.png", "P2.JPG"]
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {study}: left out ._P2.JPG (hidden); ")
    assert said.endswith("; sub-2, sub-10 (a subfolder, not searched); --recursive searches it\n")
    assert len(find_inputs([str(study)], recursive=True)) == len(found) + 2
    assert "--recursive" not in capsys.readouterr().err
    assert names(find_inputs([str(study / "P*")]), study)[0] == "P2.JPG"
    with pytest.raises(InputError, match=r"none: no pictures or videos in this folder$"):
        find_inputs([str(study / "none")])
    (study / "none" / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"no pictures or videos in this folder: left out a\.txt \(no picture or video\)"):
        find_inputs([str(study / "none")])
