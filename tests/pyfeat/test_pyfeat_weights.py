"""py-feat's real detector on made-up weights and substituted faces: it runs, and nothing of it stays behind."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from photos import FACES, feat_path, read_photo
from pyfeat_weights import hub_cache, landmark_template, make_hub_cache, real_face_boxes

pytestmark = [
    pytest.mark.filterwarnings("ignore:face_model='retinaface'"),
    pytest.mark.filterwarnings("ignore::UserWarning:torchvision"),
    pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning"),
]


@pytest.fixture
def made_up(hub_folder: Path) -> Iterator[None]:
    with hub_cache(hub_folder), real_face_boxes():
        yield


@pytest.fixture(scope="module")
def detector(hub_folder: Path) -> Any:
    import feat

    with hub_cache(hub_folder):
        return feat.Detectorv1()


@pytest.fixture
def one_face() -> str:
    return str(feat_path("single_face.jpg"))


@pytest.fixture
def plots() -> Iterator[None]:
    import matplotlib
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("Agg")
    with matplotlib.rc_context():
        yield
    plt.close("all")
    plt.switch_backend(backend)


def predictions(fex: Any) -> np.ndarray:
    """Everything but the box and what is known without a face."""
    columns = [*fex.landmark_columns, *fex.facepose_columns, *fex.au_columns, *fex.emotion_columns]
    return fex[[*columns, *fex.gaze_columns, *fex.identity_columns]].to_numpy(float)


def assert_one_face_in_its_place(fex: Any) -> None:
    assert fex.shape == (1, 694)
    x, y = fex.landmarks_dlib68_xy(row=fex.iloc[0])
    assert np.isfinite([x, y]).all()
    assert 0 < x.min() < x.max() < fex.FrameWidth[0]
    assert 0 < y.min() < y.max() < fex.FrameHeight[0]
    middle_x, middle_y, width = FACES["pyfeat/single_face.jpg"][0]
    assert abs((x.min() + x.max()) / 2 - middle_x) < 0.2 * width
    assert abs((y.min() + y.max()) / 2 - middle_y) < 0.4 * width
    assert abs(x.max() - x.min() - width) < 0.3 * width


def test_made_up_weights_run_the_default_models_on_a_substituted_face(detector: Any, made_up: None, one_face: str) -> None:
    fex = detector.detect([one_face], progress_bar=False)
    assert_one_face_in_its_place(fex)
    assert np.isfinite(predictions(fex)).all()
    assert ((fex.aus >= 0) & (fex.aus <= 1)).all(axis=None)
    np.testing.assert_allclose(fex.emotions.sum(axis=1), 1, rtol=1e-5)
    assert np.abs(fex.gazes.to_numpy()).max() < 0.1


@pytest.mark.parametrize(
    "models",
    [
        {"au_model": "svm"},
        {"au_model": "svm", "emotion_model": "svm", "identity_model": "facenet", "landmark_model": "pfld", "gaze_model": None},
        # mobilenet takes crops of 224 px, for which py-feat's AU models have too few inputs
        {"landmark_model": "mobilenet", "au_model": None, "emotion_model": None, "identity_model": None, "gaze_model": None},
        {"face_model": "img2pose", "emotion_model": None, "identity_model": None, "gaze_model": None},
    ],
    ids=["svm", "svm-pfld-facenet", "mobilenet", "img2pose"],
)
def test_made_up_weights_run_other_models_on_a_substituted_face(
    models: dict[str, str | None], made_up: None, one_face: str
) -> None:
    import feat

    fex = feat.Detectorv1(**models).detect([one_face], progress_bar=False)
    assert_one_face_in_its_place(fex)
    assert np.isfinite(fex.poses).all(axis=None)
    if models.get("au_model", "xgb"):
        assert np.isfinite(fex.aus.to_numpy(float)).all()
    if models.get("identity_model", "arcface"):
        assert np.isfinite(fex.identity_embeddings.to_numpy(float)).all()


def test_made_up_weights_leave_a_photo_without_faces_empty(detector: Any, made_up: None) -> None:
    fex = detector.detect([str(feat_path("free-mountain-vector-01.jpg"))], progress_bar=False)
    assert fex.shape == (1, 694)
    assert np.isnan(predictions(fex)).all()


def test_made_up_weights_find_no_faces_of_their_own(hub_folder: Path, detector: Any, one_face: str) -> None:
    with hub_cache(hub_folder):
        fex = detector.detect([one_face], progress_bar=False)
    assert fex.shape == (1, 694)
    assert np.isnan(predictions(fex)).all()


def test_substituted_faces_of_a_batch_and_their_boxes(detector: Any) -> None:
    photo = read_photo("pyfeat/single_face.jpg").float()
    batch = torch.stack([photo, torch.zeros_like(photo)])
    with real_face_boxes():
        found, none = detector.facepose_detector(batch)
        with pytest.raises(ValueError, match="must be"):
            detector.facepose_detector(batch[0])
    assert none == []
    ((x1, y1, x2, y2, score),) = found
    assert x1 < 280 < x2
    assert y1 < 300 < y2
    assert 0.8 <= score <= 1


@pytest.mark.parametrize("faces", ["landmarks", "aus", "au_regions"])
def test_plots_of_made_up_detections(faces: str, detector: Any, made_up: None, one_face: str, plots: None) -> None:
    fex = detector.detect([one_face], progress_bar=False)
    (figure,) = fex.plot_detections(faces=faces, muscles=faces == "aus", poses=True, gazes=True)
    figure.canvas.draw()
    drawn = figure.axes[0]
    assert drawn.lines or drawn.collections


def test_interactive_plots_of_made_up_detections(detector: Any, made_up: None, one_face: str) -> None:
    fex = detector.detect([one_face], progress_bar=False)
    figure = fex.iplot_detections(aus=True, landmarks=True, poses=True, emotions=True, gazes=True, bounding_boxes=True)
    assert figure.to_dict()["layout"]


def test_made_up_weights_leave_py_feat_as_it_was(hub_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import feat.detector
    import feat.plotting
    import feat.pretrained
    from feat.face_detectors.Retinaface.Retinaface_test import Retinaface
    from feat.facepose_detectors.img2pose.deps.models import FasterDoFRCNN
    from feat.utils import face_pose_mlp
    from feat.utils import io as feat_io
    from huggingface_hub import constants

    readers = [feat_io, feat.detector, feat.plotting, feat.pretrained]
    monkeypatch.setenv("FEAT_ARCFACE_R50_PATH", "elsewhere")

    def state() -> list[object]:
        paths = [reader.get_resource_path for reader in readers]
        caches = [face_pose_mlp._CACHE, feat.plotting._PLS_LMK_MODELS]
        detectors = [Retinaface.forward, "forward" in vars(FasterDoFRCNN)]
        return [*paths, *map(id, caches), *detectors, constants.HF_HUB_OFFLINE, torch.is_grad_enabled(), dict(os.environ)]

    before = state()
    assert torch.is_grad_enabled()
    with hub_cache(hub_folder), real_face_boxes():
        assert [reader.get_resource_path() for reader in readers] == [str(hub_folder)] * len(readers)
        assert constants.HF_HUB_OFFLINE
        assert Retinaface.forward is not before[len(readers) + 2]
        Retinaface(device="cpu")
        assert not torch.is_grad_enabled()
    assert state() == before

    def fails() -> None:
        with hub_cache(hub_folder), real_face_boxes():
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    assert state() == before


def test_the_same_seed_makes_the_same_weights(hub_folder: Path, tmp_path: Path) -> None:
    random = torch.random.get_rng_state()
    again = make_hub_cache(tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), random)
    for file in hub_folder.rglob("*.safetensors"):
        assert file.read_bytes() == (again / file.relative_to(hub_folder)).read_bytes(), file.name
    shutil.rmtree(again)


def test_the_template_is_a_frontal_face_inside_of_its_box() -> None:
    template = landmark_template()
    assert template.shape == (68, 2)
    assert 0 < template.min() < template.max() < 1
    torch.testing.assert_close(template[36:48, 0].mean(), torch.tensor(0.5))
    assert template[36:48, 1].mean() < template[30, 1] < template[48:, 1].mean() < template[8, 1]
