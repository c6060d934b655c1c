"""register() and unregister(): FG-Net in scripts that only know py-feat."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from photos import feat_path
from pyfeat_weights import hub_cache, real_face_boxes

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

import feat
import feat.detector

import fgnet_plugin
from fgnet_plugin.pyfeat.detector import Detector

pytestmark = pytest.mark.filterwarnings(
    "ignore:face_model='retinaface'",
    "ignore:The image decoding and encoding:DeprecationWarning",
    "ignore::UserWarning:torchvision",
)
OFFLINE = {
    "face_model": "bundled",
    "landmark_model": "bundled",
    "emotion_model": None,
    "identity_model": None,
    "gaze_model": None,
}


@pytest.fixture
def registered() -> Iterator[None]:
    fgnet_plugin.register()
    yield
    fgnet_plugin.unregister()


def state() -> dict[str, Any]:
    """Everything of py-feat's that can be seen from outside, down to the detector's attributes."""
    modules = {
        name: dict(vars(module))
        for name, module in (("feat", feat), ("feat.detector", feat.detector), ("feat.data", feat.data))
    }
    detector = {name: value for cls in feat.Detectorv1.__mro__[:-1] for name, value in vars(cls).items()}
    options = {key: list(value["options"]) for key, value in feat.Detectorv1.SUPPORTED_MODELS.items()}
    return {**modules, "detector": detector, "own": set(vars(feat.Detectorv1)), "options": options, "fex": dict(vars(feat.Fex))}


def test_registering_is_undone_exactly(hub_folder: Path) -> None:
    before = state()
    for _ in range(2):
        fgnet_plugin.register()
        fgnet_plugin.register()
        assert state() != before
        fgnet_plugin.unregister()
        fgnet_plugin.unregister()
        assert state() == before
    with hub_cache(hub_folder), pytest.raises(ValueError, match="fgnet-rendered is not currently supported"):
        feat.Detectorv1(au_model="fgnet-rendered")


def test_existing_scripts_get_fg_net(registered: None) -> None:
    detector = feat.Detectorv1(au_model="fgnet-rendered", **OFFLINE)
    assert type(detector) is Detector
    assert isinstance(detector, feat.Detectorv1)
    positional = feat.Detectorv1("bundled", "bundled", "fgnet-rendered", None, None, None)
    for made in (detector, positional):
        assert made.detect(str(feat_path("single_face.jpg")), progress_bar=False)["AU12"][0] > 0.5
    assert {"fgnet", "fgnet-bp4d", "fgnet-disfa", "fgnet-rendered", "xgb"} <= set(
        feat.detector_capabilities()["Detectorv1"]["au_model"]["options"]
    )


def test_with_made_up_weights_other_models_stay_py_feats_own(registered: None, hub_folder: Path) -> None:
    with hub_cache(hub_folder):
        plain = feat.Detectorv1(emotion_model=None, identity_model=None, gaze_model=None)
    assert type(plain) is feat.Detectorv1


def test_scripts_for_py_feat_0_6_with_made_up_weights(registered: None, hub_folder: Path, tmp_path: Path) -> None:
    with hub_cache(hub_folder), real_face_boxes():
        with pytest.warns(UserWarning, match="'mtcnn'"):
            detector = feat.Detector(
                face_model="mtcnn",
                landmark_model="mobilefacenet",
                au_model="fgnet-rendered",
                emotion_model="resmasknet",
                facepose_model="img2pose",
                identity_model="facenet",
                n_jobs=1,
                verbose=False,
            )
        photo, video = str(feat_path("single_face.jpg")), str(feat_path("single_face.mp4"))
        assert len(detector.detect_image([photo, photo], batch_size=2)) == 2
        assert len(detector.detect_image(photo, outputFname=tmp_path / "out.csv")) == 1
        assert (tmp_path / "out.csv").is_file()
        fex = detector.detect_video(video, skip_frames=24, data_type="video", face_detection_threshold=0.95)
        assert len(detector.detect_video(video, 24)) == len(fex) == 3
    assert isinstance(fex, feat.Fex)


def test_detectors_outlive_unregistering() -> None:
    fgnet_plugin.register()
    detector = feat.Detectorv1(au_model="fgnet-rendered", **OFFLINE)
    fgnet_plugin.unregister()
    assert len(detector.detect(str(feat_path("single_face.jpg")), progress_bar=False)) == 1
    assert not hasattr(feat, "Detector")
