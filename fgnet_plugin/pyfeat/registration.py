"""Make FG-Net known to scripts that use ``feat.Detectorv1`` or, written for py-feat 0.6, ``feat.Detector``."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import feat
import feat.plotting
from feat.detector import Detectorv1

from fgnet_plugin.inference.au_model import is_fgnet, names
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.pyfeat.faces_from_aus import drawable
from fgnet_plugin.pyfeat.fex import Fex

_before: dict[str, Any] = {}


class OldDetector(Detector):
    """`Detector` with the interface of py-feat 0.6: its arguments, ``detect_image`` and ``detect_video``.

    Args:
        face_model: also names of face models that py-feat has dropped ("mtcnn", "faceboxes", "img2pose-c"): these become
            "retinaface" or "img2pose", with a warning.
        facepose_model, n_jobs, verbose: ignored.
        models: as in `Detector`. The default identity model is py-feat's present one, not the "facenet" of version 0.6.
    """

    def __init__(
        self,
        face_model: str = "retinaface",
        landmark_model: str | None = "mobilefacenet",
        au_model: str | Path | None = "xgb",
        emotion_model: str | None = "resmasknet",
        facepose_model: str | None = None,
        identity_model: str | None = "arcface",
        device: str = "cpu",
        n_jobs: int = 1,
        verbose: bool = False,
        **models: Any,
    ) -> None:
        instead = {"mtcnn": "retinaface", "faceboxes": "retinaface", "img2pose-c": "img2pose"}
        if face_model in instead:
            warnings.warn(
                f"py-feat no longer has face_model={face_model!r}; {instead[face_model]!r} is used instead", stacklevel=2
            )
        super().__init__(
            face_model=instead.get(face_model, face_model),
            landmark_model=landmark_model,
            au_model=au_model,
            emotion_model=emotion_model,
            identity_model=identity_model,
            device=device,
            **models,
        )

    def detect_image(self, input_file_list: object, *args: Any, **kwargs: Any) -> Fex:
        """Detect faces in pictures: ``detect(…, data_type="image")``, with the argument order of py-feat 0.6."""
        return self._detect(input_file_list, "image", ("output_size", "batch_size", "num_workers", "pin_memory"), args, kwargs)

    def detect_video(self, video_path: object, *args: Any, **kwargs: Any) -> Fex:
        """Detect faces in a video: ``detect(…, data_type="video")``, with the argument order of py-feat 0.6."""
        order = ("skip_frames", "output_size", "batch_size", "num_workers", "pin_memory")
        return self._detect(video_path, "video", order, args, kwargs)

    def _detect(
        self, inputs: object, data_type: str, order: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Fex:
        if len(args) > len(order):
            raise TypeError(f"at most {len(order)} arguments may go without a name: {', '.join(order)}")
        kwargs = dict(zip(order, args, strict=False)) | kwargs
        kwargs["data_type"] = data_type  # scripts of that time also gave it
        if "outputFname" in kwargs:
            kwargs["save"] = kwargs.pop("outputFname")
        for name in ("frame_counter", "singleframe4error", "verbose"):
            kwargs.pop(name, None)
        return self.detect(inputs, **kwargs)


def _new(cls: type, *args: Any, **kwargs: Any) -> Any:
    """`Detectorv1.__new__` while registered: makes a `Detector` where the AU model is FG-Net."""
    original = _before["new"]
    au_model = kwargs.get("au_model", args[2] if len(args) > 2 else None)
    if cls is Detectorv1 and is_fgnet(au_model):
        return original(Detector, *args, **kwargs)
    return original(cls, *args, **kwargs)


def register() -> None:
    """Make FG-Net known to py-feat in this process.

    ``feat.Detectorv1(au_model="fgnet")`` then gives a `Detector`, ``feat.detector_capabilities()`` lists FG-Net's models, and
    ``feat.Detector``, which py-feat removed in 2.0, exists again (`OldDetector`). ``feat.plotting.plot_face`` takes AUs
    that are not known (NaN). Detectors with other AU models remain py-feat's. Calling it twice does no harm; `unregister`
    undoes it.

    Example:
        >>> from fgnet_plugin import unregister
        >>> register()
        >>> "fgnet-bp4d" in feat.Detectorv1.SUPPORTED_MODELS["au_model"]["options"]
        True
        >>> unregister()
    """
    if _before:
        return
    _before["new"] = Detectorv1.__new__
    _before["models"] = Detectorv1.SUPPORTED_MODELS
    models = copy.deepcopy(Detectorv1.SUPPORTED_MODELS)
    models["au_model"]["options"] += names()
    Detectorv1.SUPPORTED_MODELS = models
    Detectorv1.__new__ = _new
    _before["plot_face"] = feat.plotting.plot_face
    feat.plotting.plot_face = drawable(feat.plotting.plot_face)
    if not hasattr(feat, "Detector"):
        feat.Detector = OldDetector
        _before["Detector"] = True


def unregister() -> None:
    """Undo `register`; detectors that were made in between keep working.

    Example:
        >>> unregister()
        >>> hasattr(feat, "Detector")
        False
    """
    if not _before:
        return
    del Detectorv1.__new__
    Detectorv1.SUPPORTED_MODELS = _before["models"]
    feat.plotting.plot_face = _before["plot_face"]
    if _before.get("Detector"):
        del feat.Detector
    _before.clear()
