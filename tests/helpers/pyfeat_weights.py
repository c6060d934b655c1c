"""Made-up weights for py-feat's own models, so that its real classes run where its published weights can't be had.

The architectures, file names and formats are py-feat's; the numbers are not. What comes out has the right shape and is
finite, and means nothing. Each box gets the landmarks of the same frontal face, and a gaze straight ahead. The face
detectors find no faces, unless `real_face_boxes` lets them find real ones.
"""

import hashlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from fgnet_plugin.faces.crops import MIRRORED
from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.utils.threads import gradients_kept

GOLDEN = Path(__file__).parents[1] / "golden"
EXPANDED = 1.2
"""py-feat enlarges a detected box by this before it looks for landmarks in it."""
FACES = 48  # that the AU and emotion models are trained on

State = dict[str, Tensor]


def _boxes(landmarks: Tensor) -> Tensor:
    """[n, 68, 2] -> boxes [n, 4] from chin to forehead, which lies above the landmarks by a quarter of their height."""
    low, high = landmarks.amin(1), landmarks.amax(1)
    low[:, 1] -= 0.25 * (high - low)[:, 1]
    return torch.cat([low, high], 1)


def landmark_template() -> Tensor:
    """What all landmark networks say of every crop: a frontal face, [68, 2] in units of py-feat's enlarged box."""
    with np.load(GOLDEN / "ffhq_alignment.npz") as file:
        faces = torch.from_numpy(np.stack([file[f"landmarks{i}"] for i in (0, 1, 3)]))
    low, high = _boxes(faces)[:, None].chunk(2, -1)
    units = ((faces - (low + high) / 2) / (EXPANDED * (high - low)) + 0.5).mean(0)
    mirrored = units[list(MIRRORED)] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    return (units + mirrored) / 2


def make_hub_cache(folder: Path, seed: int = 0) -> Path:
    """Writes made-up weights for `feat.Detectorv1` and its plots into a folder, laid out as the hub's cache.

    Args:
        folder: where py-feat's resource files and the weights go; made where missing. Some 370 MB.
        seed: of the random numbers. The same seed gives the same numbers.

    Returns:
        The folder, for `hub_cache`.
    """
    import feat

    folder.mkdir(parents=True, exist_ok=True)
    for file in (Path(feat.__path__[0]) / "resources").iterdir():
        if file.is_file():  # the folders are downloaded weights
            shutil.copyfile(file, folder / file.name)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's and scikit-learn's about how py-feat calls them
        torch.manual_seed(seed)
        _write_faces(folder)
        _write_landmarks(folder)
        _write_statistical(folder, seed)
        _write_networks(folder)
        _write_poses(folder)
        _write_plots(folder, seed)
    return folder


@contextmanager
def hub_cache(folder: Path) -> Iterator[Path]:
    """py-feat reads its weights and resources from a folder of `make_hub_cache`, and nothing reaches for the network."""
    import feat.detector
    import feat.plotting
    from feat.utils import blendshape_to_au, face_pose_mlp
    from feat.utils import io as feat_io
    from huggingface_hub import constants

    real = feat_io.get_resource_path

    def get_resource_path() -> str:
        return str(folder)

    with gradients_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        for name in ("FEAT_ARCFACE_R50_PATH", "FEAT_POSE_MLP_PATH"):
            patch.delenv(name, raising=False)
        # What was loaded from one folder must not serve for another.
        patch.setattr(face_pose_mlp, "_CACHE", {})
        patch.setattr(blendshape_to_au, "_PLS_WEIGHTS", None)
        for name in ("_PLS_LMK_MODELS", "_PLS_MESH_MODELS", "_PLS_FEAT_MESH_MODELS"):
            patch.setattr(feat.plotting, name, {})
        patch.setattr(feat.plotting, "_LM68_TO_MESH478_MODEL", None)
        _replace_everywhere(real, get_resource_path)
        try:
            yield folder
        finally:
            _replace_everywhere(get_resource_path, real)  # also in modules that were imported meanwhile


@contextmanager
def real_face_boxes() -> Iterator[None]:
    """py-feat's face detectors give the boxes that this package's `FaceFinder` finds; what they return looks as ever."""
    from feat.face_detectors.Retinaface.Retinaface_test import Retinaface
    from feat.facepose_detectors.img2pose.deps.models import FasterDoFRCNN

    _finder()  # made outside of inference mode

    def retinaface(self: Retinaface, img: Tensor) -> list[list[list[float]]]:
        if img.ndim != 4 or img.shape[1] != 3:
            raise ValueError(f"img must be [B, 3, H, W]; got shape {tuple(img.shape)}")
        return [found_boxes(photo) for photo in img]

    def img2pose(self: FasterDoFRCNN, images: Tensor, targets: None = None) -> list[State]:
        found = [torch.tensor(found_boxes(255 * photo)).view(-1, 5).to(photo.device) for photo in images]
        return [
            {
                "boxes": boxes[:, :4],
                "labels": torch.ones(len(boxes), dtype=torch.int64, device=boxes.device),
                "scores": boxes[:, 4],
                "dofs": boxes.new_tensor([0.1, 0.05, 0.02, 0.0, 0.0, 10.0]).expand(len(boxes), 6),
            }
            for boxes in found
        ]

    ours = mock.patch.object(Retinaface, "forward", retinaface), mock.patch.object(FasterDoFRCNN, "forward", img2pose)
    with gradients_kept(), ours[0], ours[1]:
        yield


_finder = cache(FaceFinder)
_found: dict[bytes, list[list[float]]] = {}


def found_boxes(photo: Tensor) -> list[list[float]]:
    """A photo [3, H, W] in [0, 255] -> x1, y1, x2, y2, score of each face. The same photo is looked at once."""
    pixels = photo.detach().cpu().float().round().clamp(0, 255).to(torch.uint8).contiguous()
    key = hashlib.sha256(repr(pixels.shape).encode() + pixels.numpy().tobytes()).digest()
    if key not in _found:
        _found[key] = _finder().find([pixels])[0].boxes.tolist()
    return [list(box) for box in _found[key]]


def _replace_everywhere(old: object, new: object) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "feat" and vars(module).get("get_resource_path") is old:
            module.get_resource_path = new


def _snapshot(folder: Path, repo: str) -> Path:
    """Where the files of py-feat/REPO go."""
    commit = hashlib.sha1(f"made-up {repo}".encode()).hexdigest()
    place = folder / f"models--py-feat--{repo}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(commit)
    snapshot = place / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def _half(net: nn.Module, empty: str = " ") -> State:
    """A network's weights as float16; those whose names start with ``empty`` are zeros that take no room in a pickle."""
    return {
        name: value
        if not value.is_floating_point()
        else torch.zeros(1, dtype=torch.float16).expand(value.shape)
        if name.startswith(empty)
        else value.half().contiguous()
        for name, value in net.state_dict().items()
    }


def _constant(layer: nn.Module, value: Tensor) -> None:
    """Lets a layer with weights and a bias say the same whatever comes in."""
    layer.weight.zero_()
    layer.bias.copy_(value)


def _write_faces(folder: Path) -> None:
    """Face detectors that find no face anywhere."""
    from feat.face_detectors.Retinaface.Retinaface_model import RETINAFACE_R34_CFG, RetinaFace
    from feat.facepose_detectors.img2pose.deps.models import FasterDoFRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    retinaface = RetinaFace(RETINAFACE_R34_CFG)
    for head in retinaface.ClassHead.modules():
        if isinstance(head, nn.Conv2d):
            _constant(head, torch.tensor([5.0, -5.0]).repeat(len(head.bias) // 2))
    for head in [*retinaface.BboxHead.modules(), *retinaface.LandmarkHead.modules()]:
        if isinstance(head, nn.Conv2d):
            _constant(head, torch.zeros(()))
    save_file(_half(retinaface), _snapshot(folder, "retinaface_r34") / "model.safetensors")

    canonical = torch.cat([landmark_template() * 2 - 1, torch.zeros(68, 1)], 1)
    config = {
        "min_size": 400,
        "max_size": 1400,
        "pose_mean": [0.0, 0.0, 0.0, 0.0, 0.0, 10.0],
        "pose_stddev": [0.3, 0.3, 0.3, 1.0, 1.0, 3.0],
        "threed_points": canonical.tolist(),
        "rpn_pre_nms_top_n_test": 100,
        "rpn_post_nms_top_n_test": 20,
        "bbox_x_factor": 1.1,
        "bbox_y_factor": 1.1,
        "expand_forehead": 0.3,
    }
    img2pose = FasterDoFRCNN(
        backbone=resnet_fpn_backbone(backbone_name="resnet18", weights=None),
        num_classes=2,
        pose_mean=torch.tensor(config["pose_mean"]),
        pose_stddev=torch.tensor(config["pose_stddev"]),
        threed_68_points=canonical,
    )
    _constant(img2pose.roi_heads.class_predictor.cls_score, torch.tensor([5.0, -5.0]))
    snapshot = _snapshot(folder, "img2pose")
    (snapshot / "config.json").write_text(json.dumps(config))
    save_file(_half(img2pose), snapshot / "model.safetensors")


def _write_landmarks(folder: Path) -> None:
    """Landmark networks that see the template in every crop."""
    from feat.landmark_detectors.basenet_test import MobileNet_GDConv
    from feat.landmark_detectors.mobilefacenet_test import MobileFaceNet
    from feat.landmark_detectors.pfld_compressed_test import PFLDInference

    template = landmark_template().flatten()
    mobilefacenet, mobilenet, pfld = MobileFaceNet([112, 112], 136), MobileNet_GDConv(136), PFLDInference()
    _constant(mobilefacenet.output_layer.bn, template)
    _constant(mobilenet.linear1.bn, template)
    _constant(pfld.fc, template)
    parallel = {f"module.{name}": value for name, value in mobilenet.state_dict().items()}
    for repo, file, state in [
        ("mobilefacenet", "mobilefacenet_model_best.pth.tar", mobilefacenet.state_dict()),
        ("mobilenet", "mobilenet_224_model_best_gdconv_external.pth.tar", parallel),
        ("pfld", "pfld_model_best.pth.tar", pfld.state_dict()),
    ]:
        torch.save({"state_dict": dict(state)}, _snapshot(folder, repo) / file)


def _write_statistical(folder: Path, seed: int) -> None:
    """AU and emotion models on HOG features, trained on blurred noise with labels that the features decide."""
    from feat.au_detectors.StatLearning.SL_test import SVMClassifier, XGBClassifier
    from feat.emo_detectors.StatLearning.EmoSL_test import EmoSVMClassifier
    from feat.pretrained import AU_LANDMARK_MAP
    from feat.utils.face_mask import extract_hog_features_batched
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC
    from skops.io import dump
    from xgboost import XGBClassifier as Trees

    noise = F.interpolate(torch.rand(FACES, 3, 14, 14), (112, 112), mode="bilinear")
    hog, points = extract_hog_features_batched(noise, landmark_template().flatten().expand(FACES, -1))
    random = np.random.default_rng(seed)
    landmarks = np.stack(points).reshape(FACES, -1) + random.normal(0, 2, (FACES, 136)).round()

    scaler = StandardScaler().fit(hog)
    parts = {
        part: PCA(n, random_state=seed).fit(scaler.transform(hog)) for part, n in (("upper", 6), ("lower", 7), ("full", 8))
    }
    features = {part: np.concatenate([pca.transform(scaler.transform(hog)), landmarks], 1) for part, pca in parts.items()}
    models: dict[str, Any] = {f"pca_model_{part}": pca for part, pca in parts.items()}
    models |= {f"scaler_{part}": scaler for part in parts}

    def train(names: list[str], part_of: Callable[[str], str], make: Callable[[], Any]) -> dict[str, Any]:
        trained = {}
        for name in names:
            inputs = features[part_of(name)]
            score = inputs[:, :6] @ random.normal(0, 1, 6)
            trained[name] = make().fit(inputs, (score > np.median(score)).astype(int))
        return trained

    def trees() -> Trees:
        return Trees(n_estimators=12, max_depth=3, subsample=0.7, n_jobs=1, random_state=seed)

    def svm() -> LinearSVC:
        return LinearSVC(C=1e-3, dual=False, random_state=seed)

    aus = [f"AU{int(name[2:])}" for name in AU_LANDMARK_MAP["Feat"]]
    xgb_part = dict.fromkeys(["AU1", "AU2", "AU7"], "upper")
    xgb_part |= dict.fromkeys(["AU11", "AU14", "AU17", "AU23", "AU24", "AU26"], "lower")
    svm_part = dict.fromkeys(["AU1", "AU4", "AU6"], "upper") | dict.fromkeys(["AU11", "AU12", "AU17"], "lower")
    emotions = ["anger", "disgust", "fear", "happ", "sad", "sur", "neutral"]

    xgb_au, svm_au, svm_emo = XGBClassifier(), SVMClassifier(), EmoSVMClassifier()
    xgb_au.load_weights(**models, classifiers=train(aus, lambda name: xgb_part.get(name, "full"), trees))
    svm_au.load_weights(**models, classifiers=train(aus, lambda name: svm_part.get(name, "full"), svm))
    full = {name: model for name, model in models.items() if name.endswith("full")}
    svm_emo.load_weights(**full, classifiers=train(emotions, lambda _: "full", svm))
    dump(xgb_au, _snapshot(folder, "xgb_au") / "xgb_au_classifier_v2.skops")
    dump(svm_au, _snapshot(folder, "svm_au") / "svm_au_classifier_v2.skops")
    dump(svm_emo, _snapshot(folder, "svm_emo") / "svm_emo_classifier.skops")


def _write_networks(folder: Path) -> None:
    """Emotions and identities, untrained; a gaze straight ahead."""
    from feat.emo_detectors.ResMaskNet.resmasknet_test import ResMasking
    from feat.gaze_detectors.l2cs import l2cs_resnet50
    from feat.identity_detectors.arcface.arcface_model import ArcFace
    from feat.identity_detectors.facenet.facenet_model import InceptionResnetV1

    resmasknet = ResMasking("", in_channels=3)
    resmasknet.fc = nn.Sequential(nn.Dropout(0.4), nn.Linear(512, 7))
    snapshot = _snapshot(folder, "resmasknet")
    (snapshot / "config.json").write_text(json.dumps({"in_channels": 3, "num_classes": 7}))
    torch.save({"net": _half(resmasknet, "mask")}, snapshot / "ResMaskNet_Z_resmasking_dropout1_rot30.pth")

    facenet = InceptionResnetV1(pretrained=None, device="cpu")
    facenet.logits = nn.Linear(512, 8631)
    torch.save(_half(facenet, "logits"), _snapshot(folder, "facenet") / "facenet_20180402_114759_vggface2.pth")

    save_file(_half(ArcFace().net), _snapshot(folder, "arcface_r50") / "arcface_r50.safetensors")
    l2cs = l2cs_resnet50()
    ahead = -((torch.arange(90) - 45.0) ** 2) / 8  # bin 45 is 0°
    _constant(l2cs.fc_yaw_gaze, ahead)
    _constant(l2cs.fc_pitch_gaze, ahead)
    save_file(_half(l2cs), _snapshot(folder, "l2cs") / "l2cs_gaze360_resnet50.safetensors")


def _write_poses(folder: Path) -> None:
    """The network that turns landmarks into a pose, untrained; angles of a few degrees."""
    from feat.utils.face_pose_mlp import PoseMLP

    snapshot = _snapshot(folder, "pose_mlp_v2")
    save_file(PoseMLP().state_dict(), snapshot / "pose_mlp_v2.safetensors")
    scales = {"mean": [0.0, 0.0, 0.0, 0.0, 0.0, 10.0], "std": [0.2, 0.2, 0.2, 1.0, 1.0, 1.0]}
    architecture = {"hidden": [512, 256, 128], "dropout": 0.15, "output_normalization": scales}
    (snapshot / "pose_mlp_v2.json").write_text(json.dumps({"architecture": architecture}))


def _write_plots(folder: Path, seed: int) -> None:
    """From AUs to the 68 points that plots draw: py-feat's neutral face, and each AU moves every point a little."""
    from feat.pretrained import AU_LANDMARK_MAP
    from feat.utils.image_operations import neutral

    coef = np.random.default_rng(seed).normal(0, 0.5, (23, 136)).astype(np.float32)
    np.savez(
        _snapshot(folder, "au_to_landmarks") / "au_to_landmarks_pls_v2.npz",
        coef=coef,
        intercept=neutral.to_numpy(np.float32).T.ravel(),
        au_columns=np.array(AU_LANDMARK_MAP["Feat"]),
    )
