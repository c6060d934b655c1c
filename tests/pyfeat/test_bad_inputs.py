"""What users give by mistake, or by right in an odd format: it works, or brings an error that names it and says what to do."""

import errno
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from photos import feat_path
from PIL import Image

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from offline import batch_detector, offline_detector, remembered_faces

from fgnet_plugin.errors import CheckpointError, InputError, OutputError, SkippedInput
from fgnet_plugin.inference.columns import AUS
from fgnet_plugin.media.images import read_picture
from fgnet_plugin.pyfeat.annotate import annotate
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.pyfeat.fex import Fex
from fgnet_plugin.utils.journal import Journal, read_table

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

FACE, FIVE, CLIP = feat_path("single_face.jpg"), feat_path("multi_face.jpg"), feat_path("single_face.mp4")


@pytest.fixture
def detect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fex]]:
    """`Detector.detect` without a progress bar, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    with remembered_faces():
        yield lambda inputs, **options: offline_detector().detect(inputs, progress_bar=False, **options)


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return Image.open(FACE).convert("RGB")


def assert_same(
    a: pd.DataFrame, b: pd.DataFrame, but: tuple[str, ...] = ("input", "frame", "approx_time"), digits: int | None = None
) -> None:
    """Exactly the same float32 numbers (those from a file are float64); with other frames in a batch, to so many digits."""
    a, b = (pd.DataFrame(fex).drop(columns=list(but), errors="ignore") for fex in (a, b))
    a, b = (fex.astype(dict.fromkeys(fex.select_dtypes("float64"), "float32")) for fex in (a, b))
    tolerance = {"check_exact": True} if digits is None else {"rtol": 0.1**digits, "atol": 0.1**digits}
    pd.testing.assert_frame_equal(a, b, **tolerance)


def write_sound(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux([*stream.encode(frame), *stream.encode(None)])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.jpg": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\); copy or export the file again"),
    "empty.mp4": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\); copy or export the file again"),
    "text.jpg": (
        lambda path: path.write_text("dear diary"),
        "is not a readable image; export it as JPEG or",
    ),
    "cut.jpg": (lambda path: path.write_bytes(FACE.read_bytes()[:40000]), r"is damaged or cut off .*; copy or export the pic"),
    "huge.png": (
        lambda path: Image.new("1", (14000, 14000)).save(path),
        r"has too many pixels \(179 million at most are read\); ",
    ),
    "folder.jpg": (lambda path: path.mkdir(), "is a folder, not a file; give the path of a file in it"),
    "text.mp4": (
        lambda path: path.write_text("dear diary" * 500),
        "cannot be read as a video: it is .* another kind of file; c",
    ),
    "cut.mp4": (
        lambda path: path.write_bytes(CLIP.read_bytes()[:99999]),
        "its index is missing, as after a copy that broke off",
    ),
    "sound.mp4": (write_sound, "holds no video, at most sound and its cover; give a file with a video stream"),
    "noname": (lambda path: path.write_text("dear diary"), "cannot be read as a video: it is damaged or another kind of file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file(name: str, detect: Callable[..., Fex]) -> None:
    make, says = BROKEN[name]
    make(Path(name))
    with pytest.raises(InputError, match=f"{name} .*{says}"):
        detect(name)
    if Path(name).suffix in (".jpg", ".png"):
        with pytest.raises(InputError, match=name):
            read_picture(name)
    with pytest.warns(SkippedInput, match=f"{name} ") as told:
        rest = detect([name, FACE], errors="skip")
    assert [warning.message.path for warning in told if isinstance(warning.message, SkippedInput)] == [name]
    assert rest["input"].tolist() == [str(FACE)]


def test_missing_files_are_all_named_at_once(detect: Callable[..., Fex]) -> None:
    with pytest.raises(FileNotFoundError, match=r"^nope\.jpg: no such file; check the path$"):
        detect("nope.jpg")
    with pytest.raises(FileNotFoundError, match=r"^nope\.jpg: no such file"):
        read_picture("nope.jpg")
    Path("empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"(?s)3 files can't be read:.*nope\.jpg: no.*empty\.mp4 is empty.*nope\.mp4: no"):
        detect(["nope.jpg", FACE, "empty.mp4", "nope.mp4"])
    with pytest.warns(SkippedInput), pytest.raises(InputError, match="none of the inputs could be read; the warnings say why"):
        detect(["nope.jpg", "empty.mp4"], errors="skip", save="x.csv")
    assert [path.name for path in Path().iterdir()] == ["empty.mp4"]


def test_a_picture_that_breaks_a_run_keeps_those_before(detect: Callable[..., Fex]) -> None:
    Path("text.jpg").write_text("dear diary")
    with pytest.raises(InputError, match=r"text\.jpg") as caught:
        detect([FACE, "text.jpg", FIVE])
    assert caught.value.fex["input"].tolist() == [str(FACE)]
    assert "attribute fex" in caught.value.__notes__[0]


def test_a_video_that_is_damaged_in_the_middle(detect: Callable[..., Fex]) -> None:
    content = bytearray(CLIP.read_bytes())
    content[len(content) // 2 :][:30000] = content[len(content) // 2 : len(content) // 2 + 30000] = bytes(30000)
    Path("damaged.mp4").write_bytes(content)
    whole = detect(CLIP, batch_size=8, skip_frames=3)
    with pytest.raises(InputError, match=r"damaged\.mp4 .* damaged or cut off .* frames before that can be used") as caught:
        detect("damaged.mp4", batch_size=8, skip_frames=3)
    before = caught.value.fex
    assert 5 < len(before) < len(whole)
    assert_same(before, whole[: len(before)], digits=5)
    with pytest.warns(SkippedInput) as told:
        skipped = detect(["damaged.mp4", FACE], batch_size=4, skip_frames=3, errors="skip")
    said = [str(warning.message) for warning in told if isinstance(warning.message, SkippedInput)]
    assert len(said) == 1
    # Its one keyframe is frame 0. Frame 36 is stored before the damage.
    assert re.match(r"damaged\.mp4: frames 33 to 71 \(1\.10 to 2\.37 s\) cannot be decoded", said[0])
    assert before["frame"].tolist() == [*range(0, 33, 3)]
    assert skipped["frame"].tolist() == [*range(0, 33, 3), 36, 0]
    assert skipped["input"].tolist() == ["damaged.mp4"] * 12 + [str(FACE)]
    with pytest.raises(InputError) as caught:
        detect("damaged.mp4", batch_size=4, skip_frames=3, save="x.csv")
    assert "complete batches); detect(…, save=…, resume=True) continues from there" in caught.value.__notes__[0]
    with pytest.warns(SkippedInput):
        resumed = detect("damaged.mp4", batch_size=4, skip_frames=3, save="x.csv", resume=True, errors="skip")
    assert resumed["frame"].tolist() == [*range(0, 33, 3), 36]
    assert_same(resumed[:11], before, digits=5)


def test_a_size_that_changes_in_mid_video(detect: Callable[..., Fex]) -> None:
    """Each frame in its own size, whatever the batch; the next input is read."""
    clip = Path(__file__).parents[1] / "media/files/02_zoom.webm"
    several = detect([clip, FACE], batch_size=8, skip_frames=3)
    assert several["frame"].tolist() == [*range(0, 24, 3), 0]
    assert several["FrameWidth"].tolist()[:8] == [480] * 4 + [320] * 4
    assert_same(several[:8], detect(clip, batch_size=1, skip_frames=3), digits=4)


def test_odd_pictures_have_the_pixels_of_ordinary_ones(detect: Callable[..., Fex], face: Image.Image) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV writes RGB of 16 bits, Pillow does not")
    grey, palette = face.convert("L"), face.quantize(256)
    face.save("rgb.png")
    grey.save("grey.png")
    face.convert("LA").save("grey-alpha.png")
    face.convert("RGBA").save("rgba.png")
    palette.save("palette.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save("grey16.png")
    cv2.imwrite("rgb16.png", np.asarray(face).astype(np.uint16)[..., ::-1] * 257)
    for name, same in {
        "grey": grey,
        "grey-alpha": grey,
        "grey16": grey,
        "rgba": face,
        "rgb16": face,
        "palette": palette,
    }.items():
        expected = torch.from_numpy(np.array(same.convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(read_picture(f"{name}.png"), expected), name
    face.save("rgb.jpg", quality=95)
    face.convert("CMYK").save("cmyk.jpg", quality=95)
    names = sorted(str(path) for path in Path().iterdir())
    fex = detect(names, batch_size=3)
    assert fex["input"].tolist() == names
    aus = fex.aus.dropna(axis=1).set_axis(names)
    assert aus.shape[1] == 12
    assert (aus - aus.loc["rgb.png"]).abs().max(axis=None) < 0.12  # without its colours a face is read a little differently
    for name, same in {"rgba": "rgb", "rgb16": "rgb", "grey16": "grey", "grey-alpha": "grey"}.items():
        assert np.allclose(aus.loc[f"{name}.png"], aus.loc[f"{same}.png"], atol=1e-5), name
    noise = read_picture("cmyk.jpg").float() - read_picture("rgb.jpg")
    assert noise.abs().mean() < 1
    assert (aus.loc["cmyk.jpg"] - aus.loc["rgb.jpg"]).abs().max() < 0.02


def test_transparent_is_white(tmp_path: Path) -> None:
    pixels = np.array([[(10, 20, 30, 255), (10, 20, 30, 0)]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").tolist() == [[[10, 255]], [[20, 255]], [[30, 255]]]


def test_tiny_pictures_have_no_face(detect: Callable[..., Fex], face: Image.Image) -> None:
    face.resize((1, 1)).save("one.png")
    face.resize((3, 40)).save("strip.png")
    fex = detect(["one.png", "strip.png"])
    assert fex["input"].tolist() == ["one.png", "strip.png"]
    assert fex[[*AUS, "FaceRectX"]].isna().all(axis=None)
    assert fex[["FrameWidth", "FrameHeight"]].to_numpy().tolist() == [[1, 1], [3, 40]]


@pytest.mark.slow
def test_a_picture_of_100_megapixels(detect: Callable[..., Fex], face: Image.Image) -> None:
    """Needs 5 GB."""
    face.resize((10000, 10000), Image.Resampling.BILINEAR).save("big.jpg", quality=80)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
        big = detect("big.jpg")
    small = detect(FACE)
    corners = ["FaceRectX", "FaceRectWidth", "x_30"]
    assert np.allclose(big[corners] / 10000, small[corners] / face.width, atol=0.01)
    assert ((big.aus > 0.5) == (small.aus > 0.5)).all(axis=None)


@pytest.mark.parametrize("name", ["Jörg's fötos 表情/ä b #1%", "a:b [1]", "-x"])
def test_names_of_files(name: str, detect: Callable[..., Fex]) -> None:
    photo, clip = f"{name}.jpg", f"{name}.mp4"
    Path(photo).parent.mkdir(exist_ok=True)
    shutil.copy(FACE, photo)
    shutil.copy(CLIP, clip)
    fex = detect([photo, Path(clip)], skip_frames=36, save=f"{name}.csv")
    assert fex["input"].tolist() == [photo, clip, clip]
    assert_same(fex, detect([FACE, CLIP], skip_frames=36))
    assert read_table(Path(f"{name}.csv"))["input"].tolist() == [photo, clip, clip]


def test_a_photo_that_is_stored_turned_brings_a_warning(detect: Callable[..., Fex], face: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    face.save("turned.jpg", exif=exif)
    with pytest.warns(UserWarning, match=r"turned\.jpg is stored turned \(EXIF orientation\).* save an upright copy"):
        batch_detector().detect("turned.jpg", progress_bar=False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_without_py_feats_models_photos_are_read_upright(
    orientation: int, detect: Callable[..., Fex], face: Image.Image
) -> None:
    """In all eight ways that a photo can be stored: the same numbers, also when AUs are added to the table later."""
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE"}
    turns |= {8: "ROTATE_270"}  # that undo what the EXIF data say
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = face.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else face
    face.save("upright.png")
    stored.save("stored.png", exif=exif)
    upright, fex = detect("upright.png"), detect("stored.png")
    assert_same(fex.assign(input="upright.png"), upright)
    again = annotate(pd.DataFrame(fex), "fgnet-rendered", progress_bar=False)
    pd.testing.assert_frame_equal(pd.DataFrame(again)[AUS], pd.DataFrame(upright)[AUS], rtol=1e-4)


def test_tensors(detect: Callable[..., Fex]) -> None:
    photo = read_picture(FACE)[None]
    assert_same(detect(photo), detect(FACE))
    assert_same(detect(photo.float()), detect(FACE))
    assert_same(detect(photo, data_type="Tensor"), detect(FACE))


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (torch.zeros(3, 8, 8), InputError, r"shape \[N, 3, H, W\], got \[3, 8, 8\]; a single image goes in as tensor\[None\]"),
        (torch.zeros(1, 1, 8, 8), InputError, r"got \[1, 1, 8, 8\]; grey images go in as tensor\.expand\(-1, 3, -1, -1\)"),
        (torch.zeros(0, 3, 8, 8), InputError, r"must have shape \[N, 3, H, W\], got \[0, 3, 8, 8\]"),
        (
            torch.rand(1, 3, 8, 8),
            InputError,
            r"lies in \[0, 1\], and py-feat takes pixel values in \[0, 255\]: pass 255 \* tens",
        ),
        (torch.full((1, 3, 64, 64), 3000.0), InputError, r"in \[0, 255\], and this tensor has values from 3e\+03 to 3e\+03"),
        (torch.full((1, 3, 64, 64), float("nan")), InputError, "values from nan to nan"),
        (None, TypeError, "path of a picture or video, several paths, or a torch tensor .* got NoneType$"),
        (3, TypeError, "got int$"),
        (b"x.jpg", TypeError, "got bytes$"),
        ({"x.jpg": 1}, TypeError, "got dict$"),
        ([FACE, None], TypeError, "got a list with NoneType$"),
        (np.zeros((1, 3, 8, 8)), TypeError, "got ndarray; torch.from_numpy makes a tensor of it"),
        ([torch.zeros(3, 8, 8)], TypeError, "got a list with Tensor; make one tensor of them with torch.stack"),
        ([], InputError, "nothing to detect: inputs is empty"),
        ("", InputError, "inputs holds an empty path"),
    ],
)
def test_inputs_that_are_none(inputs: Any, error: type[Exception], says: str, detect: Callable[..., Fex]) -> None:
    with pytest.raises(error, match=says):
        detect(inputs)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"data_type": "photo"}, ValueError, "data_type must be one of image, video, tensor, got 'photo'"),
        ({"data_type": 3}, ValueError, "data_type must be one of image, video, tensor, got 3"),
        ({"data_type": "tensor"}, TypeError, "data_type='tensor' takes a torch tensor, got "),
        *(({"skip_frames": bad}, ValueError, "skip_frames must be a whole number from 1 on, got") for bad in (0, -2, 1.5, "2")),
        *(({"batch_size": bad}, ValueError, "batch_size must be a whole number from 1 on, got") for bad in (0, 1.5, None)),
        ({"errors": "ignore"}, ValueError, "errors must be 'raise' or 'skip', got 'ignore'"),
        ({"mixed_sizes": "pad"}, ValueError, "mixed_sizes must be 'raise' or 'single', got 'pad'"),
        ({"resume": True}, ValueError, "give save, too"),
        ({"save": 3}, TypeError, "int"),
    ],
)
def test_options_that_make_no_sense(
    options: dict[str, Any], error: type[Exception], says: str, detect: Callable[..., Fex]
) -> None:
    with pytest.raises(error, match=says):
        detect(FACE, **options)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"au_model": "fgnet-foo"}, ValueError, "unknown au_model 'fgnet-foo'; FG-Net's are fgnet, fgnet-bp4d, fgnet-disfa, "),
        ({"au_model": "nope"}, ValueError, "xgb, svm, None, fgnet, .*fgnet-rendered.* checkpoint"),
        (
            {"au_model": "folder/nope.safetensors"},
            CheckpointError,
            "^folder/nope.safetensors: no such checkpoint; give the path",
        ),
        ({"au_model": "./garbage.safetensors"}, CheckpointError, "garbage.safetensors: not a safetensors file, or truncated"),
        ({"au_model": "fgnet-bp4d"}, CheckpointError, "fgnet weights download fgnet-bp4d"),
        ({"landmark_model": None}, ValueError, "needs landmarks"),
        ({"au_batch_size": 0}, ValueError, "au_batch_size must be at least 1, got 0"),
        ({"device": "mps"}, ValueError, "device='mps': torch finds no such GPU; use device='cpu' or 'auto'"),
    ],
)
def test_models_that_there_are_not(
    options: dict[str, Any], error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options.get("device") == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is such a GPU here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    Path("garbage.safetensors").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(error, match=says):
        Detector.offline(**options)


def test_pictures_of_several_sizes(detect: Callable[..., Fex]) -> None:
    """They can't share a batch of py-feat's; without its models they need not."""
    photos, batches = [FACE, FIVE, FACE], batch_detector()
    with pytest.raises(
        InputError, match=r'face\.jpg has \d+×\d+ pixels and .*face\.jpg \d+×\d+: .* mixed_sizes="single" or batch'
    ):
        batches.detect(photos, batch_size=4, progress_bar=False)
    one_by_one = batches.detect(photos, progress_bar=False)
    assert one_by_one["frame"].tolist() == [0, 1, 1, 1, 1, 1, 2]
    single = batches.detect(photos, batch_size=4, mixed_sizes="single", progress_bar=False)
    assert_same(single, one_by_one, but=())
    assert detect(photos, batch_size=4)["frame"].tolist() == [0, 1, 1, 1, 1, 1, 2]


def test_photos_and_videos_in_one_list_and_twice_the_same(detect: Callable[..., Fex]) -> None:
    fex = detect([FACE, CLIP, FACE], skip_frames=36, batch_size=2)
    assert fex["input"].tolist() == [str(path) for path in (FACE, CLIP, CLIP, FACE)]
    assert fex["frame"].tolist() == [0, 0, 36, 1]
    assert fex["approx_time"].tolist() == [None, "00:00", "00:01", None]
    assert_same(fex[:1], fex[3:].reset_index(drop=True))


@pytest.mark.parametrize("place", ["file.txt/fex.csv", "folder"])
def test_a_table_that_cannot_be_written(place: str, detect: Callable[..., Fex]) -> None:
    Path("file.txt").write_text("precious")
    Path("folder").mkdir()
    with pytest.raises(OutputError, match=rf"^{place} can't be written \(.*\); choose another place$"):
        detect(FACE, save=place)
    assert sorted(path.name for path in Path().rglob("*")) == ["file.txt", "folder"]


@pytest.fixture(params=["a disk of 100 KB", "a disk of 300 KB", "files of at most 100 KB"])
def little_space(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """A folder, and what makes space in it."""
    folder = tmp_path / "full"
    folder.mkdir()
    if "files" in request.param:
        resource = pytest.importorskip("resource")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100 << 10, before[1]))
        try:
            yield folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    size = request.param.split()[3]
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], check=False).returncode:
        pytest.skip("small disks can't be mounted here")
    try:
        yield folder, lambda: subprocess.run([mount, "-o", "remount,size=1m", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(little_space: tuple[Path, Callable[[], object]], detect: Callable[..., Fex]) -> None:
    """At 100 KB between stretches, at 300 KB when the whole table takes the place of the growing one."""
    folder, make_space = little_space
    table = folder / "fex.csv"
    with pytest.raises(OutputError, match=r"fex\.csv can't be written \(.*\); free some space") as caught:
        detect(CLIP, save=table)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert sorted(path.name for path in folder.iterdir()) == ["fex.csv", "fex.csv.run"]
    kept = read_table(table)
    assert len(kept) in (30, 72)
    assert f"what was done before is in {table} ({-(-len(kept) // 15)} complete batches)" in caught.value.__notes__[0]
    make_space()
    resumed = detect(CLIP, save=table, resume=True)
    whole = detect(CLIP, save="whole.csv")
    assert table.read_bytes() == Path("whole.csv").read_bytes()
    assert_same(resumed, whole, but=())


def test_what_is_left_of_a_write_that_was_killed_is_cut_off(tmp_path: Path) -> None:
    """Half a batch in the table, half a line in the progress, or nothing but a begun first line."""
    table, rows = tmp_path / "x.csv", pd.DataFrame({"a": [0.1, 1 / 3]})
    Journal(table, {"n": 1}).append(rows)
    progress = Path(f"{table}.run")
    complete = table.read_bytes(), progress.read_bytes()
    table.write_bytes(complete[0] + b"0.25\n0.1")
    progress.write_bytes(complete[1] + b"1")
    again = Journal(table, {"n": 1}, resume=True)
    assert (again.batches, table.read_bytes(), progress.read_bytes()) == (1, *complete)
    pd.testing.assert_frame_equal(again.read(), rows, check_exact=True)
    with pytest.raises(
        InputError, match=r"begun with other settings \(n was 1, now 2\): repeat those to continue, start anew, or"
    ):
        Journal(table, {"n": 2}, resume=True)
    progress.write_bytes(complete[1][:4])
    assert Journal(table, {"n": 2}, resume=True).batches == 0


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_a_run_that_was_killed_while_it_finished_is_finished(tmp_path: Path, name: str, renamed: bool) -> None:
    table, rows = tmp_path / name, pd.DataFrame({"a": [0.1, 1 / 3]})
    journal = Journal(table, {"n": 1})
    journal.append(rows)
    growing = journal.growing.read_bytes()
    journal.finish(rows.assign(b=1))
    journal.run.write_bytes(journal.run.read_bytes().removesuffix(b"finished\n"))
    if not renamed:
        table.rename(f"{table}.whole")
        journal.growing.write_bytes(growing)
    for _ in range(2):
        again = Journal(table, {"n": 1}, resume=True)
        assert again.finished
        pd.testing.assert_frame_equal(again.read(), rows.assign(b=1), check_exact=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.run"]
    with pytest.raises(InputError, match=r"begun with other settings \(n was 1, now 2\)"):
        Journal(table, {"n": 2}, resume=True)
    Journal(table, {"n": 2})  # starting anew is another thing
    assert not journal.growing.read_bytes()


def test_a_finished_table_is_not_taken_for_the_result_of_other_settings(detect: Callable[..., Fex]) -> None:
    shutil.copy(CLIP, "a.mp4")
    first = detect("a.mp4", save="x.csv", skip_frames=24)
    assert_same(detect("a.mp4", save="x.csv", skip_frames=24, resume=True), first, but=())
    for options in (
        {"skip_frames": 12},
        {"skip_frames": 24, "face_detection_threshold": 0.6},
        {"skip_frames": 24, "output_size": 300},
    ):
        with pytest.raises(InputError, match="begun with other settings"):
            detect("a.mp4", save="x.csv", resume=True, **options)
    Path("a.mp4").write_bytes(feat_path("no_face.mp4").read_bytes())  # another video of that name
    with pytest.raises(InputError, match=r"begun with other settings \(inputs: now with a changed a\.mp4\)"):
        detect("a.mp4", save="x.csv", skip_frames=24, resume=True)
    frames = torch.zeros(2, 3, 64, 64)
    detect(frames, save="y.csv")
    assert len(detect(frames, save="y.csv", resume=True)) == 2
    with pytest.raises(InputError, match="begun with other settings"):
        detect(frames + 9, save="y.csv", resume=True)
