"""Pictures as phones and the web leave them."""

import io
from pathlib import Path

import pytest
from PIL import Image

from fgnet_plugin.errors import InputError
from fgnet_plugin.media import images
from fgnet_plugin.media.images import SUFFIXES, read_picture


def gradient(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


@pytest.mark.parametrize("name", ["a.heic", "a.heif", "a.jpg", "a.avif", "a.pgm", "a.jpe"])
def test_formats_that_are_read(tmp_path: Path, name: str) -> None:
    """HEIC also under the name of a JPEG."""
    if name in ("a.heic", "a.heif", "a.jpg"):
        pytest.importorskip("pillow_heif")
    kinds = {"a.avif": "AVIF", "a.pgm": "PPM", "a.jpe": "JPEG"}
    gradient().save(tmp_path / name, format=kinds.get(name, "HEIF"))
    picture = read_picture(tmp_path / name)
    assert tuple(picture.shape) == (3, 48, 64)
    assert picture[:, 0].float().mean() < 20
    assert picture[:, -1].float().mean() > 235
    assert Path(name).suffix in SUFFIXES


def test_without_pillow_heif_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic" + bytes(100))
    monkeypatch.setattr(images, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(InputError, match=r"a\.heic is not a readable image; run: pip install pillow-heif"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_brings_a_warning(tmp_path: Path, kind: str) -> None:
    frames = [gradient().rotate(90 * i) for i in range(3)]
    data = io.BytesIO()
    frames[0].save(data, kind, save_all=True, append_images=frames[1:])
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data.getvalue())
    with pytest.warns(UserWarning, match=rf"a\.{kind} is animated: of its 3 frames, only the first is read"):
        assert tuple(read_picture(path).shape) == (3, 48, 64)
