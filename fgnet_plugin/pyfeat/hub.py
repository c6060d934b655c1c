"""Download py-feat's weights from the Hugging Face hub; where that fails, it fails at once and names the models."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import huggingface_hub
import torch
from feat.utils import io as feat_io
from feat.utils.face_pose_mlp import pose_from_landmarks_mlp
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from fgnet_plugin.checkpoints.registry import manifest
from fgnet_plugin.errors import DownloadError

_offline_lock = threading.RLock()
_UNFETCHED = LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError
_HTTP = "httpx", "httpcore", "requests", "urllib3"  # where errors of a broken connection come from
_SECONDS = 3.0  # to wait for the hub's first answer
_Files = tuple[str, tuple[tuple[str, ...], ...]]

# (argument, model) -> repository and its files; of several names for a file, one is enough. Read off py-feat 2.1.5: of a
# model that is missing here, the error names the argument instead of the file.
_FILES: dict[tuple[str, str], _Files] = {
    ("face_model", "retinaface"): ("py-feat/retinaface_r34", (("model.safetensors", "retinaface_r34.safetensors"),)),
    ("face_model", "img2pose"): ("py-feat/img2pose", (("config.json",), ("model.safetensors",))),
    ("landmark_model", "mobilefacenet"): ("py-feat/mobilefacenet", (("mobilefacenet_model_best.pth.tar",),)),
    ("landmark_model", "mobilenet"): ("py-feat/mobilenet", (("mobilenet_224_model_best_gdconv_external.pth.tar",),)),
    ("landmark_model", "pfld"): ("py-feat/pfld", (("pfld_model_best.pth.tar",),)),
    ("au_model", "xgb"): ("py-feat/xgb_au", (("xgb_au_classifier_v2.skops", "xgb_au_classifier.skops"),)),
    ("au_model", "svm"): ("py-feat/svm_au", (("svm_au_classifier_v2.skops", "svm_au_classifier.skops"),)),
    ("emotion_model", "resmasknet"): (
        "py-feat/resmasknet",
        (("config.json",), ("ResMaskNet_Z_resmasking_dropout1_rot30.pth",)),
    ),
    ("emotion_model", "svm"): ("py-feat/svm_emo", (("svm_emo_classifier.skops",),)),
    ("identity_model", "arcface"): ("py-feat/arcface_r50", (("arcface_r50.safetensors",),)),
    ("identity_model", "arcface_r50"): ("py-feat/arcface_r50", (("arcface_r50.safetensors",),)),
    ("identity_model", "facenet"): ("py-feat/facenet", (("facenet_20180402_114759_vggface2.pth",),)),
    ("gaze_model", "l2cs"): ("py-feat/l2cs", (("l2cs_gaze360_resnet50.safetensors",),)),
    ("faces", "aus"): ("py-feat/au_to_landmarks", (("au_to_landmarks_pls_v2.npz",),)),
}


def missing(models: Mapping[str, str | None]) -> list[str]:
    """Describe, a line each, those of the models (argument -> name) that lack a file on this machine."""
    lines = []
    for argument, name in models.items():
        if name is None or (argument, name) not in _FILES:
            continue
        if name in ("arcface", "arcface_r50") and os.environ.get("FEAT_ARCFACE_R50_PATH"):
            continue
        repository, files = _FILES[argument, name]
        lacking = [alike[0] for alike in files if not any(_cached(repository, file) for file in alike)]
        if lacking:
            lines.append(f"{argument} {name!r} ({repository}: {', '.join(lacking)})")
    return lines


def _cached(repository: str, file: str) -> bool:
    return isinstance(huggingface_hub.try_to_load_from_cache(repository, file, cache_dir=feat_io.get_resource_path()), str)


def reachable() -> bool:
    """Tell whether the hub answers within a few seconds."""
    if constants.is_offline_mode():
        return False
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # whatever the hub's HTTP library raises: no answer
        return False
    return True


@contextmanager
def weights_available(models: Mapping[str, str | None], fetch: bool = True, au_model: str | None = None) -> Iterator[None]:
    """Let py-feat load these models (argument -> name) from the hub or, where it can't be reached, from its cache.

    Args:
        models: argument of `Detectorv1` -> name of a model, or None.
        fetch: use the hub; without, what the cache lacks is an error.
        au_model: FG-Net's weights that are loaded afterwards: where they are missing as well, the error names them, too.

    Raises:
        DownloadError: a model that is not on this machine can't be fetched. At once, not after the hub's half minute of
            retries; the message names the models and says what to do.
    """
    lacking = missing(models)
    online = fetch and reachable()
    if lacking and not online:
        raise DownloadError(_advice(lacking, fetch, au_model))
    with _offline_lock:  # the setting is that of the whole process
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = before or not online
        try:
            yield
        except Exception as error:
            if not (isinstance(error, _UNFETCHED) or type(error).__module__.startswith(_HTTP)):
                raise
            lines = missing(models) or [f"{argument} {name!r}" for argument, name in models.items() if name is not None]
            raise DownloadError(_advice(lines, fetch, au_model)) from error
        finally:
            constants.HF_HUB_OFFLINE = before


def _advice(lines: list[str], fetch: bool, au_model: str | None = None) -> str:
    listed = "\n".join(f"  {line}" for line in lines)
    why = f"{constants.ENDPOINT} can't be reached" if fetch else "nothing is to be downloaded"
    advice = (
        f"these models of py-feat are not on this machine, and {why}:\n{listed}\n"
        "Either connect to the internet once: py-feat keeps what it fetches.\n"
        f"Or copy the folder {feat_io.get_resource_path()} from a machine that has them.\n"
    )
    if lines and lines[0].startswith("faces "):  # of a plot
        return advice + "Or draw faces='landmarks', which needs no model."
    entry = manifest().get(au_model or "")
    if entry is not None and not entry.path.is_file():
        advice += f"FG-Net's weights are missing, too: fgnet weights download {entry.name}; or {entry.how_to_get()}\n"
    return advice + (
        "Or leave models out, as in emotion_model=None; on the command line, --only-aus leaves out all that AUs do not need.\n"
        "Or work without any download: Detector.offline(), or fgnet detect --offline."
    )


def load_pose_mlp(device: torch.device) -> bool:
    """Load py-feat's network for head poses, so that no batch asks the hub for it. Returns whether there is one."""
    face = torch.arange(136.0, device=device).view(1, 68, 2)
    return pose_from_landmarks_mlp(face) is not None
