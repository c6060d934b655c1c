"""The drop-in: `fgnet_plugin.Detector` beside py-feat's `Detectorv1`, on real photos and videos.

py-feat's weights can't be had without a network: where its models take part, their files are made up and faces come from a
substitute (`pyfeat_weights`), and the tests' names say so. The others run offline, with the weights of this package.
"""

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL
from photos import feat_path, read_frames
from PIL import Image
from pyfeat_weights import hub_cache, real_face_boxes

import fgnet_plugin
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo
from fgnet_plugin.errors import DownloadError
from fgnet_plugin.network import FGNet

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from offline import offline_detector

from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import AUS, LANDMARKS
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.utils.made_by import MadeBy

pytestmark = [
    pytest.mark.filterwarnings("ignore:face_model='retinaface'"),
    pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torchvision"),
]
KNOWN = [f"AU{number:02d}" for number in (1, 2, 4, 6, 10, 12, 15, 20, 24, 25, 26, 43)]
SINGLE, FIVE, NOBODY = "single_face.jpg", "multi_face.jpg", "free-mountain-vector-01.jpg"


@pytest.fixture(scope="module")
def offline() -> Detector:
    return offline_detector()


@pytest.fixture
def made_up(hub_folder: Path) -> Iterator[None]:
    with hub_cache(hub_folder), real_face_boxes():
        yield


@pytest.fixture(scope="module")
def pair(hub_folder: Path) -> tuple[Any, Detector]:
    """py-feat's detector with its defaults, and ours with FG-Net in the place of xgb."""
    import feat

    with hub_cache(hub_folder):
        return feat.Detectorv1(), Detector(au_model="fgnet-rendered")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an untrained small network in the place of fgnet-bp4d."""
    torch.manual_seed(0)
    info = CheckpointInfo(config=SMALL, corpus="BP4D", licence="none")
    fgnet_plugin.save(FGNet(SMALL), tmp_path / "fgnet-bp4d.safetensors", info)
    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    return tmp_path


def path(name: str) -> str:
    return str(feat_path(name))


def quietly(detector: Any, *args: Any, **kwargs: Any) -> Any:
    return detector.detect(*args, progress_bar=False, **kwargs)


@pytest.mark.parametrize("name", [SINGLE, FIVE, NOBODY])
def test_with_made_up_weights_a_fex_is_as_detectorv1s_but_for_its_aus(
    pair: tuple[Any, Detector], made_up: None, name: str
) -> None:
    theirs, ours = (quietly(detector, path(name)) for detector in pair)
    assert list(ours.columns) == list(theirs.columns)
    assert len(ours.columns) == 694
    assert dict(ours.dtypes) == dict(theirs.dtypes)
    same = [column for column in theirs.columns if column not in AUS]
    pd.testing.assert_frame_equal(pd.DataFrame(ours[same]), pd.DataFrame(theirs[same]), rtol=1e-5)
    for kind in theirs._metadata:
        if kind not in ("au_model", "fex_columns"):
            assert getattr(ours, kind) == getattr(theirs, kind), kind
    assert ours.au_model == "fgnet-rendered"
    found = ours["FaceRectX"].notna()
    assert ours.loc[found, KNOWN].notna().all(axis=None)
    assert ours.loc[~found, AUS].isna().all(axis=None)
    assert ours[[au for au in AUS if au not in KNOWN]].isna().all(axis=None)


@pytest.mark.parametrize("au_model", ["xgb", "svm", None])
def test_with_made_up_weights_other_au_models_give_what_detectorv1_gives(
    hub_folder: Path, made_up: None, au_model: str | None
) -> None:
    import feat

    models = {"au_model": au_model, "emotion_model": None, "identity_model": None, "gaze_model": None}
    theirs, ours = feat.Detectorv1(**models), Detector(**models)
    assert isinstance(ours, feat.Detectorv1)
    photos = [path(SINGLE), path(NOBODY), path(FIVE)]
    frames = torch.stack(read_frames("single_face.mp4", [0, 30]))
    for inputs, options in (
        (photos, {}),
        (photos, {"output_size": 400, "batch_size": 3}),
        (photos, {"output_size": (300, 400), "face_detection_threshold": 0.9}),
        (frames, {"data_type": "tensor", "batch_size": 2}),
    ):
        expected, found = (pd.DataFrame(quietly(detector, inputs, **options)) for detector in (theirs, ours))
        pd.testing.assert_frame_equal(found, expected)


def test_with_made_up_weights_save_writes_what_detectorv1_writes(hub_folder: Path, made_up: None, tmp_path: Path) -> None:
    import feat
    from feat.utils.io import read_feat

    models = {"emotion_model": None, "gaze_model": None}
    for name, detector in (("theirs", feat.Detectorv1(**models)), ("ours", Detector(**models))):
        fex = quietly(detector, [path(SINGLE), path(FIVE)], save=tmp_path / f"{name}.csv")
        assert read_feat(tmp_path / f"{name}.csv").equals(fex)
    assert (tmp_path / "ours.csv").read_text() == (tmp_path / "theirs.csv").read_text()
    assert not list(tmp_path.glob("*.progress"))


def test_names_and_paths_of_au_models(home: Path, tmp_path: Path) -> None:
    parts = {
        "face_model": "bundled",
        "landmark_model": "bundled",
        "emotion_model": None,
        "identity_model": None,
        "gaze_model": None,
    }
    for given, name in (("fgnet", "fgnet-bp4d"), ("fgnet-bp4d", "fgnet-bp4d"), (home / "fgnet-bp4d.safetensors", None)):
        fex = quietly(Detector(au_model=given, **parts), path(SINGLE))
        assert fex.au_model == (name or str(given))
        assert fex[list(SMALL.aus)].notna().all(axis=None)
        assert fex[[au for au in AUS if au not in SMALL.aus]].isna().all(axis=None)


def test_frames_are_read_at_their_own_resolution(offline: Detector) -> None:
    photo = path(SINGLE)
    fex = quietly(offline, photo, output_size=200)
    points = torch.from_numpy(fex[LANDMARKS].to_numpy(float).reshape(1, 2, 68).swapaxes(1, 2))
    image = torch.from_numpy(np.asarray(Image.open(photo)).copy()).permute(2, 0, 1)
    read = AUModel("fgnet-rendered").read([image], [points])
    np.testing.assert_allclose(fex[list(read.aus)].to_numpy(float), read.scores, atol=1e-5)


def test_batches_and_kinds_of_input_give_the_same_aus(offline: Detector, tmp_path: Path) -> None:
    numbers = list(range(0, 72, 8))
    frames = read_frames("single_face.mp4", numbers)
    pictures = []
    for number, frame in zip(numbers, frames, strict=True):
        pictures.append(str(tmp_path / f"{number:03d}.png"))
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(pictures[-1], compress_level=1)
    video = quietly(offline, path("single_face.mp4"), skip_frames=8, batch_size=1)
    assert list(video["frame"]) == numbers
    expected = video[KNOWN].to_numpy()
    assert (video["AU12"].to_numpy()[4:8] > 0.5).all()
    assert (video["AU12"].to_numpy()[:2] < 0.5).all()
    for size in (4, 16):
        again = quietly(offline, path("single_face.mp4"), skip_frames=8, batch_size=size)
        np.testing.assert_allclose(again[KNOWN], expected, atol=1e-4)
    for inputs, size in ((torch.stack(frames), 1), (torch.stack(frames).float(), 16), (pictures, 4), (pictures, 16)):
        np.testing.assert_allclose(quietly(offline, inputs, batch_size=size)[KNOWN], expected, atol=1e-4)


def test_workers_give_the_same(offline: Detector) -> None:
    alone, helped = (
        pd.DataFrame(quietly(offline, path("single_face.mp4"), skip_frames=12, batch_size=2, num_workers=n)) for n in (0, 2)
    )
    pd.testing.assert_frame_equal(alone, helped)


def test_five_faces_have_five_different_rows(offline: Detector) -> None:
    fex = quietly(offline, path(FIVE))
    assert len(fex) == 5
    aus = fex[KNOWN].to_numpy()
    apart = np.abs(aus[:, None] - aus).max(-1)[~np.eye(5, dtype=bool)]
    assert apart.min() > 0.01
    assert quietly(offline, path(FIVE), face_detection_threshold=0.99).shape[0] < 5


def test_a_video_with_and_without_faces(offline: Detector) -> None:
    fex = quietly(offline, path("face_noface.mov"), skip_frames=24, batch_size=4)
    assert len(fex) == 3 + 4 + 1
    assert list(fex["AU12"].isna()) == [False] * 3 + [True] * 5
    assert fex["FrameWidth"].notna().all()
    assert list(fex["approx_time"])[:2] == ["00:00", "00:00"]
    assert list(fex.columns[-4:]) == ["input", "frame", "approx_time", "Identity"]


def test_gradients_threads_and_warnings_stay_as_the_user_left_them(hub_folder: Path, made_up: None) -> None:
    threads = torch.get_num_threads()
    for wanted in (True, False):
        with torch.set_grad_enabled(wanted):
            quietly(Detector(au_model="fgnet-rendered", emotion_model=None, identity_model=None, gaze_model=None), path(SINGLE))
            assert torch.is_grad_enabled() is wanted
    assert torch.get_num_threads() == threads


def test_fg_net_uses_all_cores_though_py_feat_asks_for_one() -> None:
    script = """
import feat, torch
from fgnet_plugin.utils.threads import core_count, torch_threads
assert torch.get_num_threads() == 1
with torch_threads():
    print(torch.get_num_threads() == core_count(), end=" ")
print(torch.get_num_threads(), end=" ")
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "FGNET_NUM_THREADS")}
    run = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout == "True 1 "
    chosen = environment | {"OMP_NUM_THREADS": "1"}  # by the user, not by py-feat, which need not be imported to see that
    run[-1] = script.replace("core_count(),", "1,").replace(
        "import feat, torch", "import sys, torch; sys.modules['feat'] = torch"
    )
    assert subprocess.run(run, env=chosen, capture_output=True, text=True, check=True).stdout == "True 1 "


def test_what_cannot_be_fetched_is_said_at_once_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import feat.utils.io
    from huggingface_hub import constants

    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(tmp_path))  # an empty cache
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"(?s)face_model 'retinaface'.*gaze_model 'l2cs'.*Detector\.offline"):
        Detector(au_model="fgnet-rendered")
    with pytest.raises(DownloadError, match="'xgb'"):
        Detector.offline("xgb")
    monkeypatch.setenv("FGNET_HOME", str(tmp_path))
    with pytest.raises(fgnet_plugin.CheckpointError, match="fgnet-bp4d is not on this machine"):
        Detector.offline("fgnet")


def test_models_that_there_are_not() -> None:
    for models, message in (
        ({"au_model": "fgnet-nope"}, "fgnet-bp4d"),
        ({"au_model": "nope"}, "xgb"),
        ({"face_model": "nope"}, "face_model"),
        ({"landmark_model": "bundled"}, "goes with face_model"),
        ({"au_model": "fgnet", "landmark_model": None}, "landmark_model must not be None"),
    ):
        with pytest.raises(ValueError, match=message):
            Detector(**models)


def test_several_au_models_on_the_same_faces_with_made_up_weights(
    pair: tuple[Any, Detector], made_up: None, home: Path
) -> None:
    theirs, ours = pair
    photos = [path(FIVE), path(NOBODY)]
    found = ours.detect_several(photos, ["fgnet-rendered", "xgb", "fgnet"], progress_bar=False)
    assert list(found) == ["fgnet-rendered", "xgb", "fgnet"]
    assert [fex.au_model for fex in found.values()] == ["fgnet-rendered", "xgb", "fgnet-bp4d"]
    for name, fex in (("fgnet-rendered", quietly(ours, photos)), ("xgb", quietly(theirs, photos))):
        pd.testing.assert_frame_equal(pd.DataFrame(found[name]), pd.DataFrame(fex), check_dtype=name != "xgb", rtol=1e-5)
    assert found["fgnet"]["AU12"].notna().sum() == 5
    comparison = ours.compare(photos, ["fgnet-rendered", "xgb"], progress_bar=False)
    assert (comparison.agreement["n"] == 5).all()
    assert quietly(ours, path(SINGLE)).shape == (1, 694)  # and nothing of it stays


def test_detectors_in_two_threads(offline: Detector) -> None:
    other, found = Detector.offline(), {}

    def work(name: str, detector: Detector, photo: str) -> None:
        found[name] = quietly(detector, photo)[KNOWN].to_numpy()

    jobs = [threading.Thread(target=work, args=args) for args in (("a", offline, path(SINGLE)), ("b", other, path(FIVE)))]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    np.testing.assert_allclose(found["a"], quietly(offline, path(SINGLE))[KNOWN], atol=1e-5)
    np.testing.assert_allclose(found["b"], quietly(offline, path(FIVE))[KNOWN], atol=1e-5)


def test_another_model_offline(offline: Detector, home: Path) -> None:
    """No network for head poses is there, which must not matter."""
    found = offline.detect_several(path(SINGLE), ["fgnet-rendered", "fgnet"], progress_bar=False)
    assert [fex["AU12"].notna().all() for fex in found.values()] == [True, True]
    assert offline.fgnet is not None
    weights = [offline.fgnet.digest, offline.load_au_model("fgnet").digest]
    assert [MadeBy.of_table(fex) for fex in found.values()] == [MadeBy(one, "bundled", "bundled") for one in weights]
    assert (offline.compare(path(FIVE), ["fgnet", "fgnet-rendered"], progress_bar=False).agreement["n"] == 5).all()


def test_one_detector_in_two_threads(offline: Detector) -> None:
    photos = [path(SINGLE), path(FIVE)]
    expected, found = [quietly(offline, photo) for photo in photos], {}

    def work(i: int) -> None:
        found[i] = [quietly(offline, photos[i]) for _ in range(3)]

    jobs = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    for i, same in enumerate(expected):
        for fex in found[i]:
            np.testing.assert_allclose(fex[[*LANDMARKS, *KNOWN]], same[[*LANDMARKS, *KNOWN]], atol=1e-3)


def test_a_video_leaves_nothing_behind_in_the_detector(offline: Detector) -> None:
    photo = torch.from_numpy(np.asarray(Image.open(path(FIVE))).copy()).permute(2, 0, 1)[None]
    before = len(offline.detect_faces(photo)[0]["scores"])
    state = {name: value for name, value in vars(offline).items() if name != "_modules"}
    quietly(offline, path("single_face.mp4"), skip_frames=36)
    assert len(offline.detect_faces(photo)[0]["scores"]) == before == 5
    assert {name: value for name, value in vars(offline).items() if name != "_modules"} == state


def test_a_detector_can_be_copied_and_pickled(offline: Detector) -> None:
    expected = quietly(offline, path(SINGLE))
    for other in (copy.deepcopy(offline), pickle.loads(pickle.dumps(offline))):
        pd.testing.assert_frame_equal(pd.DataFrame(quietly(other, path(SINGLE))), pd.DataFrame(expected))


def test_dark_frames_and_overshooting_pixels(offline: Detector) -> None:
    frames = torch.stack(read_frames("single_face.mp4", [0, 30])).float()
    frames[0] = 0.5
    frames[1, :, :4] = 256.5
    fex = quietly(offline, frames, batch_size=2)
    assert list(fex["AU12"].isna()) == [True, False]


def test_landmarks_of_shrunk_frames_keep_their_place(offline: Detector) -> None:
    """Pixel i of a frame that was shrunk to half covers pixels 2i and 2i + 1 of the original."""
    frame = read_frames("single_face.mp4", [30])[0]
    doubled = frame.repeat_interleave(2, 1).repeat_interleave(2, 2)
    batch = {
        "Image": frame[None],
        "FileName": ["frame"],
        "Padding": dict.fromkeys(("Left", "Top", "Right", "Bottom"), torch.zeros(1)),
    }
    faces = offline.detect_faces(frame[None])
    plain = offline.forward(faces, batch | {"Scale": torch.ones(1)})
    shrunk = offline.forward(faces, batch | {"Scale": torch.full((1,), 0.5), "Original": [doubled]})
    np.testing.assert_allclose(shrunk[LANDMARKS], 2 * plain[LANDMARKS] + 0.5, atol=1e-3)
    np.testing.assert_allclose(shrunk[KNOWN], plain[KNOWN], atol=0.02)
