"""The Fex that our detector returns: everything that works on Detectorv1's works on it."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import feat_path
from pyfeat_weights import hub_cache

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

import feat
import matplotlib as mpl
from offline import offline_detector

from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.columns import AUS
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.pyfeat.faces_from_aus import from_mesh_model
from fgnet_plugin.pyfeat.fex import Fex, FexSeries

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning", "ignore::UserWarning")
KNOWN = ["AU01", "AU02", "AU04", "AU06", "AU12", "AU25"]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return offline_detector()


@pytest.fixture(scope="module")
def video(detector: Detector) -> Fex:
    return detector.detect(feat_path("single_face.mp4"), skip_frames=6, batch_size=4, progress_bar=False)


@pytest.fixture(scope="module")
def photo(detector: Detector) -> Fex:
    return detector.detect(feat_path("single_face.jpg"), progress_bar=False)


@pytest.fixture(scope="module")
def group(detector: Detector) -> Fex:
    return detector.detect(feat_path("multi_face.jpg"), progress_bar=False)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_groups_of_columns(video: Fex) -> None:
    assert isinstance(video, feat.Fex)
    for group, width in (
        ("aus", 20),
        ("emotions", 7),
        ("landmarks", 136),
        ("poses", 6),
        ("faceboxes", 5),
        ("gazes", 3),
        ("identity_embeddings", 512),
        ("landmarks_x", 68),
    ):
        assert getattr(video, group).shape == (12, width), group
    assert list(video.inputs) == [str(feat_path("single_face.mp4"))] * 12
    assert video.au_model == "fgnet-rendered"
    assert video.face_model == video.landmark_model == "bundled"
    assert video.emotion_model is None


def test_what_pandas_makes_of_it_keeps_its_metadata(video: Fex) -> None:
    for made in (video.iloc[2:5], video.copy(), copy.deepcopy(video), pd.concat([video, video]), video[video["AU12"] > 0.5]):
        assert type(made) is Fex
        assert made.au_model == "fgnet-rendered"
        assert list(made.aus.columns) == AUS
    assert type(video.iloc[0]) is FexSeries
    assert list(video.iloc[0].aus.index) == AUS
    pd.testing.assert_frame_equal(pd.DataFrame(pickle.loads(pickle.dumps(video))), pd.DataFrame(video))


def test_saved_and_read_back(video: Fex, tmp_path: Path) -> None:
    from feat.utils.io import read_feat

    video.to_csv(tmp_path / "fex.csv", index=False)
    back = read_feat(str(tmp_path / "fex.csv"))
    assert list(back.columns) == list(video.columns)
    np.testing.assert_allclose(back.aus, video.aus, rtol=1e-6)
    np.testing.assert_allclose(back.landmarks, video.landmarks, rtol=1e-6)


def test_statistics(video: Fex) -> None:
    assert set(video.extract_mean().columns) >= {"mean_AU12"}
    smiling = np.where(video["frame"] > 20, 1.0, 0.0)
    sessions = video.update_sessions(np.where(smiling, "smile", "rest"))
    means = sessions.extract_mean()
    assert means.loc["smile", "mean_AU12"] > 0.5 > means.loc["rest", "mean_AU12"]
    for extract in ("extract_std", "extract_sem", "extract_min", "extract_max"):
        assert len(getattr(sessions, extract)()) == 2
    assert len(sessions.extract_summary(mean=True, std=True, max=True, min=True).columns) > 4 * 20
    b, *_ = video.regress(X=pd.DataFrame({"smile": smiling, "one": 1.0}), y=video[KNOWN], fit_intercept=False)
    assert b["AU12"].iloc[0] > 0.3
    t, p = sessions.ttest_ind(col="AU12", sessions=("smile", "rest"))
    assert t > 0
    assert p < 0.05
    t, p = video[KNOWN].ttest_1samp(0.5)
    assert len(t) == len(KNOWN)
    twice = pd.concat([video, video.assign(input="other.mp4")])
    assert twice.isc(col="AU12").iloc[0, 1] == pytest.approx(1.0)
    _, scores = video.predict(X=KNOWN, y=pd.Series(smiling, index=video.index), cv_kwargs={"cv": 2})
    assert len(scores) == 2


def test_signals(video: Fex) -> None:
    signal = video[KNOWN]
    signal.sampling_freq = 5.0
    cleaned = signal.clean(detrend=True, standardize=True, confounds=None)
    assert cleaned.shape == (12, len(KNOWN))
    assert abs(float(cleaned["AU12"].mean())) < 1e-6
    assert len(signal.downsample(target=2, target_type="samples")) == 6
    assert len(signal.upsample(target=10, target_type="hz")) > 12
    assert signal.baseline("begin").shape == signal.shape
    assert signal.distance().shape == (12, 12)
    assert signal.decompose(algorithm="pca", axis=1, n_components=2)["components"].shape[1] == 2


def test_identities(group: Fex) -> None:
    assert group["Identity"].isna().all()  # no identity model offline
    group = group.copy()
    embeddings = np.eye(5, 512)
    embeddings[1] = embeddings[0]
    group[group.identity_columns] = embeddings
    assert list(group.compute_identities(threshold=0.8)["Identity"]) == [
        "Person_0",
        "Person_0",
        "Person_1",
        "Person_2",
        "Person_3",
    ]


@pytest.mark.parametrize("faces", ["landmarks", "aus", "au_regions", False])
@pytest.mark.parametrize("which", ["photo", "video", "row"])
def test_plots_with_a_made_up_face_model(
    photo: Fex, video: Fex, hub_folder: Path, which: str, faces: str | bool, tmp_path: Path
) -> None:
    shown = {"photo": photo, "video": video.iloc[[0, 8]], "row": video.iloc[8]}[which]
    with hub_cache(hub_folder):
        figures = shown.plot_detections(faces=faces, muscles=True, poses=True, gazes=True)
    assert len(figures) == {"photo": 1, "video": 2, "row": 1}[which]
    for figure in figures:
        figure.savefig(tmp_path / "figure.png")
        if faces is not False:
            assert figure.axes[0].has_data() or figure.axes[0].patches or figure.axes[0].collections


def test_a_face_drawn_from_aus_shows_unknown_ones_as_absent(photo: Fex, hub_folder: Path) -> None:
    with hub_cache(hub_folder):
        drawn = photo.plot_detections(faces="aus")[0].axes[0]
        zeros = photo.fillna(dict.fromkeys(AUS, 0.0)).plot_detections(faces="aus")[0].axes[0]
    lines, expected = ([line.get_xydata() for line in axis.lines] for axis in (drawn, zeros))
    assert len(lines) > 5
    for line, other in zip(lines, expected, strict=True):
        assert np.isfinite(line).all()
        np.testing.assert_allclose(line, other)
    assert photo.au_model == "fgnet-rendered"


def titled(figures: list[plt.Figure]) -> list[tuple[str, int]]:
    """What a figure's photo is called, and the faces on it."""
    axes = [figure.axes[0] for figure in figures]
    return [(axis.get_title().replace("\n", ""), sum(isinstance(p, Rectangle) for p in axis.patches)) for axis in axes]


def test_plots_of_several_inputs_do_not_mix_their_faces(photo: Fex, video: Fex, group: Fex, hub_folder: Path) -> None:
    """All have a frame 0; two videos have many frames in common."""
    other = video.iloc[[0, 1]].assign(input=str(feat_path("multi_face.jpg")))
    several = pd.concat([group, video.iloc[[0, 1]], photo])
    smiling, five, one = "single_face.mp4", "multi_face.jpg", "single_face.jpg"
    expected = [(five, 5), (smiling, 1), (smiling, 1), (one, 1)]
    assert titled(several.plot_detections()) == expected
    assert titled(several.iloc[[5, 0, 7, 1, 6, 2, 3, 4]].plot_detections()) == [expected[i] for i in (1, 2, 0, 3)]
    assert titled(pd.concat([video.iloc[[0, 1]], other]).plot_detections()) == [(smiling, 1)] * 2 + [(five, 1)] * 2
    assert titled(pd.concat([photo, group.assign(frame=1)]).plot_detections()) == [(one, 1), (five, 5)]
    with hub_cache(hub_folder):  # py-feat draws no faces from AUs where a frame has several
        assert len(pd.concat([photo, video.iloc[[0, 1]]]).plot_detections("aus")) == 3
    with pytest.raises(
        InputError, match=r"frame 0 belongs to several inputs \(.*multi_face\.jpg, .*single_face\.mp4, .*choose"
    ):
        several.iplot_detections(landmarks=True)
    assert several[several["input"] == str(feat_path(five))].iplot_detections(bounding_boxes=True).layout.shapes


def test_faces_are_drawn_offline_too(
    photo: Fex, hub_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """With the hub's model where there is one, else with that of py-feat's package: nearly the same face."""
    import feat.plotting
    import feat.utils.io
    from huggingface_hub import constants

    with hub_cache(hub_folder):
        assert photo.plot_detections(faces="aus")
    assert not [warning for warning in recwarn if "AU-to-mesh" in str(warning.message)]
    feat.plotting._PLS_LMK_MODELS.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(feat.utils.io, "get_resource_path", lambda: str(tmp_path))  # an empty cache
    monkeypatch.setattr(feat.plotting, "get_resource_path", lambda: str(tmp_path))
    for plot in (lambda: photo.plot_detections("aus"), lambda: photo.iloc[0].plot_detections(faces="aus", muscles=True)):
        with pytest.warns(UserWarning, match="faces are drawn with the AU-to-mesh model of py-feat's package"):
            (figure,) = plot()
        assert len(figure.axes[0].lines) > 5
    assert feat.plotting._PLS_LMK_MODELS == {}
    closed, smile = (from_mesh_model().predict(np.array([[0.0] * 9 + [au12] + [0.0] * 10])).reshape(2, 68) for au12 in (0, 1))
    corners = closed[:, [48, 54]], smile[:, [48, 54]]
    assert np.ptp(corners[1][0]) > np.ptp(corners[0][0]) + 5, "the mouth is wider"
    assert closed[1, 8] > closed[1, 30] > closed[1, 27], "y points down: chin, tip and root of the nose"


def test_py_feats_tutorials_with_aus_that_are_not_known(video: Fex) -> None:
    """Eight of twenty columns are NaN throughout."""
    smiling = pd.Series(np.where(video["frame"] > 20, 1.0, 0.0), index=video.index)
    model, scores = video.predict(X="aus", y=smiling, cv_kwargs={"cv": 2})
    assert (model.n_features_in_, len(scores)) == (12, 2)
    assert len(video.predict(X=video.aus, y=smiling, cv_kwargs={"cv": 2})[1]) == 2
    assert video.regress(X="aus", y=video[["AU12"]])[0].shape == (13, 1)
    assert video.regress(X=pd.DataFrame({"smile": smiling}), y="aus")[0].shape == (2, 20)
    cleaned = video.aus.clean(detrend=True, standardize=True)
    assert (type(cleaned), list(cleaned.columns), list(cleaned.index)) == (Fex, AUS, list(video.index))
    assert cleaned["AU05"].isna().all()
    np.testing.assert_allclose([cleaned["AU12"].mean(), cleaned["AU12"].std(ddof=0)], [0, 1], atol=0.05)
    for algorithm in ("pca", "nnmf", "ica", "fa"):
        parts = video.aus.decompose(algorithm=algorithm, axis=1, n_components=2)
        assert (parts["components"].shape, parts["weights"].shape) == ((12, 2), (12, 2))
    np.testing.assert_allclose(video.aus.distance(), video[video.aus._known().columns].distance())
    assert len(video.dropna(subset=video.au_columns)) == 12
    assert len(pd.concat([video, video.assign(AU12=np.nan)]).dropna(subset=video.au_columns)) == 12
    assert len(video.dropna(subset=["AU12"])) == len(video.dropna(subset="AU12")) == 12
    assert len(video.dropna()) == 0, "emotions are not known"


def test_plot_face_takes_aus_that_are_not_known(video: Fex) -> None:
    import fgnet_plugin

    fgnet_plugin.register()
    try:
        from feat.plotting import plot_face

        with pytest.warns(UserWarning, match="AUs that are not known are drawn as absent"):
            drawn = plot_face(au=video.aus.mean().values, muscles={"all": "heatmap"})
        expected = plot_face(au=video.aus.mean().fillna(0).values)
        for line, other in zip(drawn.lines, expected.lines, strict=True):
            np.testing.assert_allclose(line.get_xydata(), other.get_xydata())
        assert drawn.patches
    finally:
        fgnet_plugin.unregister()


def test_interactive_plots(photo: Fex, video: Fex, group: Fex) -> None:
    one = photo.iplot_detections(bounding_boxes=True, landmarks=True, aus=True)
    assert len(one.layout.shapes) > 10
    assert len(group.iplot_detections(bounding_boxes=True).layout.shapes) >= 5
    assert len(video.iloc[[0, 8]].iplot_detections(landmarks=True, aus=True).frames) == 2


def test_py_feats_evaluation_takes_the_detector(detector: Detector) -> None:
    from feat.evaluation.datasets import DatasetSplit
    from feat.evaluation.runner import evaluate_dataset

    names = ["0-f1-su-ph.jpg", "0-f15-hao-ph.jpg", "15-f13-anc-ph.jpg", "single_face.jpg", "free-mountain-vector-01.jpg"]
    labels = pd.DataFrame({"AU12": [0, 3, 0, 4, 0], "AU25": [4, 4, 0, 4, 0]})
    split = DatasetSplit(
        name="few", image_paths=[str(feat_path(name)) for name in names], labels=labels, metric_kind="au_intensity"
    )
    found = evaluate_dataset(detector, split, batch_size=2)
    assert found["n_samples"] == 5
    assert found["n_faces_detected"] == 5  # a frame without a face has FaceScore 0, as in Detectorv1
    assert found["au_f1_per_au"]["AU25"] == 1.0
