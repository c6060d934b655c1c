"""py-feat's detector with FG-Net among its AU models."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from feat.detector import Detectorv1
from feat.transforms import Rescale
from feat.utils import FEAT_FACEPOSE_COLUMNS_6D
from feat.utils.stats import cluster_identities
from torch import Tensor

from fgnet_plugin.comparison.agreement import Comparison, compare
from fgnet_plugin.faces.tracking import SEARCH_EVERY, FaceTracker
from fgnet_plugin.inference.au_model import DEFAULT, AUModel, is_fgnet
from fgnet_plugin.inference.batches import BatchReader, Reader
from fgnet_plugin.inference.columns import AUS, IDENTITY, LANDMARKS, WhichColumns
from fgnet_plugin.inference.detect_run import DetectRun
from fgnet_plugin.inference.final_table import TableOptions
from fgnet_plugin.inference.inputs import Item
from fgnet_plugin.inference.offline import BUNDLED, check_device
from fgnet_plugin.inference.persons import WhichFaces
from fgnet_plugin.inference.provenance import with_origin
from fgnet_plugin.inference.stretches import StretchReader
from fgnet_plugin.inference.verify import check_verify, pieces_of_run, verify_student
from fgnet_plugin.network.fgnet import Precision
from fgnet_plugin.pyfeat import hub
from fgnet_plugin.pyfeat.bundled_faces import (
    BundledFaces,
    PrecomputedLandmarks,
    pixel_centre_shift,
    set_landmarks,
    without_retinaface,
)
from fgnet_plugin.pyfeat.fex import Fex, columns_of
from fgnet_plugin.pyfeat.pending_rows import pending_rows, submit_faces
from fgnet_plugin.pyfeat.supported_models import SUPPORTED, check_models
from fgnet_plugin.pyfeat.xgb_svm import SeveralModels, load_xgb_svm
from fgnet_plugin.utils.deferred import Deferred
from fgnet_plugin.utils.made_by import MadeBy
from fgnet_plugin.utils.threads import gradients_kept


class Detector(Detectorv1):  # type: ignore[misc]  # py-feat has no types
    """py-feat's `Detectorv1`, whose AUs may come from FG-Net.

    Args:
        face_model: "retinaface" or "img2pose", py-feat's; or "bundled": the face finder of this package, without a download.
        landmark_model: "mobilefacenet", "mobilenet", "pfld", py-feat's; or "bundled", which goes with the face model of
            that name.
        au_model: "xgb", "svm" or None, py-feat's; "fgnet" (which is "fgnet-bp4d"), "fgnet-bp4d", "fgnet-disfa",
            "fgnet-rendered"; or the path of a checkpoint of FG-Net.
        emotion_model, identity_model, gaze_model: as in py-feat; None leaves the model out, and its columns are NaN.
        device: "cpu", "cuda", "mps", "auto", or a `torch.device`.
        au_batch_size: faces that go through FG-Net at once, of one batch of frames (see `detect`'s batch_size).
        precision: of FG-Net: "float32", "bfloat16" or "float16"; see `FGNet.prepare`. None: bfloat16 on an NVIDIA GPU of
            compute capability 8.0 or more (Ampere and later), float16 on one of 7.x, float32 everywhere else.
        compile: use torch.compile for FG-Net, too, which takes minutes at the first faces: for long runs on a GPU.
        fetch: download weights that are not on this machine, with progress; otherwise they are an error.
        weak_aus: also show the AUs on which a student agrees too little with its teacher; see `AUModel`.

    On an NVIDIA GPU, FG-Net reads a batch while the faces of the next one are found: `detect` has two batches in memory.

    Raises:
        ValueError: an unknown model.
        DownloadError: weights that can't be fetched: at once; the message names the models and says what to do.
        CheckpointError: a checkpoint that is missing or damaged.

    Example:
        >>> from fgnet_plugin import Detector
        >>> fex = Detector(au_model="fgnet").detect("video.mp4")  # doctest: +SKIP
        >>> fex.aus.mean()  # doctest: +SKIP
    """

    SUPPORTED_MODELS: Mapping[str, dict[str, Any]] = SUPPORTED

    def __init__(
        self,
        face_model: str = "retinaface",
        landmark_model: str | None = "mobilefacenet",
        au_model: str | Path | None = "xgb",
        emotion_model: str | None = "resmasknet",
        identity_model: str | None = "arcface",
        gaze_model: str | None = "l2cs",
        device: str | torch.device = "cpu",
        *,
        au_batch_size: int = 8,
        precision: Precision | None = None,
        compile: bool = False,  # noqa: A002  (torch's word for it)
        fetch: bool = True,
        weak_aus: bool = False,
    ) -> None:
        fgnet, bundled, precomputed = is_fgnet(au_model), face_model == BUNDLED, landmark_model == BUNDLED
        models: dict[str, str | Path | None] = {
            "face_model": face_model,
            "landmark_model": landmark_model,
            "au_model": au_model,
            "emotion_model": emotion_model,
            "identity_model": identity_model,
            "gaze_model": gaze_model,
        }
        check_models(models, fgnet)
        check_device(device)
        # Which of its models py-feat has to load: all but ours.
        wanted: dict[str, str | None] = {kind: None if name is None else str(name) for kind, name in models.items()}
        ours = {"face_model": bundled, "landmark_model": precomputed, "au_model": fgnet}
        wanted |= {kind: None for kind, is_ours in ours.items() if is_ours}
        pyfeats = dict(wanted, face_model="retinaface") if bundled else dict(wanted)
        if precomputed:
            pyfeats["au_model"] = None  # py-feat takes it only with a landmark model; it is loaded below
        with gradients_kept(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "face_model='retinaface' does not regress 6DoF")  # at every construction
            with hub.weights_available(wanted, fetch, DEFAULT if au_model == "fgnet" else str(au_model) if fgnet else None):
                if bundled:
                    with without_retinaface():
                        super().__init__(**pyfeats, device=device)
                else:
                    super().__init__(**pyfeats, device=device)
                self._has_pose = bundled or face_model == "img2pose" or hub.load_pose_mlp(self.device)
                if precomputed and isinstance(wanted["au_model"], str):
                    self.au_detector = load_xgb_svm(wanted["au_model"])
            self.fgnet: AUModel | None = None
            """FG-Net, or None with another AU model."""
            if fgnet:
                self.fgnet = AUModel(str(au_model), self.device, au_batch_size, precision, fetch, compile, weak_aus)
            self._faces = BundledFaces(self.device) if bundled else None
        if precomputed:
            self.landmark_detector = PrecomputedLandmarks()
        self.info |= {"face_model": face_model, "landmark_model": landmark_model}
        self.info["au_model"] = self.fgnet.name if self.fgnet else au_model
        if bundled or not self._has_pose:
            self.info["facepose_model"] = BUNDLED if bundled else None
        if fetch and not self._has_pose:
            warnings.warn(
                "py-feat's network for head poses could not be fetched: Pitch, Roll and Yaw will be NaN", stacklevel=2
            )
        self._others: dict[str, AUModel | Any] = {}  # AU models beside the detector's, during `detect_several`
        self._au_options: dict[str, Any] = {"device": self.device, "batch_size": au_batch_size}
        self._au_options |= {"precision": precision, "fetch": fetch, "compile": compile, "weak_aus": weak_aus}

    @classmethod
    def offline(cls, au_model: str | Path = "fgnet-rendered", device: str | torch.device = "cpu", **options: Any) -> Detector:
        """Make a detector that needs no download: this package's face finder, landmark network and, by default, checkpoint.

        Emotions, identities and gaze are NaN. Nothing is fetched, and nothing falls back: a missing file is an error.

        Args:
            au_model: also a published checkpoint that is on this machine, or the path of one.
            device, options: as in `Detector`; models that are on this machine can be given.

        Raises:
            DownloadError, CheckpointError: weights that are not on this machine.
        """
        parts: dict[str, Any] = {"face_model": BUNDLED, "landmark_model": BUNDLED, "emotion_model": None}
        parts |= {"identity_model": None, "gaze_model": None, "fetch": False}
        return cls(**(parts | options), au_model=au_model, device=device)

    @property
    def au_names(self) -> list[str]:
        """The AUs that the AU model knows, ``fex[detector.au_names]``; the other columns are NaN."""
        if self.fgnet is not None:
            return list(self.fgnet.aus)
        return list(AUS) if self.au_detector is not None else []

    def detect_faces(
        self,
        images: Tensor,
        face_size: int = 112,
        face_detection_threshold: float | None = None,
        tracker: FaceTracker | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Detect faces as py-feat does; the threshold is by default 0.5.

        With a `tracker` from `face_tracker`, the images are the next frames of its video, with these `numbers` among the
        frames that are read (by default consecutive ones; see `FaceTracker.find`).
        """
        with gradients_kept():
            if self._faces is not None:
                wants_resmasknet = self.info["emotion_model"] == "resmasknet"
                images = images.to(self.device)
                with torch.inference_mode():
                    return self._faces.detect_faces(
                        images, face_size, face_detection_threshold, wants_resmasknet, tracker, numbers
                    )
            threshold = 0.5 if face_detection_threshold is None else face_detection_threshold
            faces: list[dict[str, Any]] = super().detect_faces(images, face_size, threshold)
            return faces

    def face_tracker(self, face_detection_threshold: float | None = None, skip_frames: int = 1) -> FaceTracker | None:
        """Make the bundled face model's tracker for every `skip_frames`-th frame of one video; None with py-feat's models."""
        if self._faces is None:
            return None
        return FaceTracker(self._faces.finder, face_detection_threshold, max(1, SEARCH_EVERY // skip_frames))

    def forward(self, faces_data: list[dict[str, Any]], batch_data: Item) -> pd.DataFrame:
        """Run the models on the faces of a batch: a row for each face, coordinates in its original frame.

        Args:
            faces_data: from `detect_faces`.
            batch_data: the frames; FG-Net reads "Original" where it is there, at full resolution, and else "Image".
        """
        return self.submit(faces_data, batch_data).result()

    @property
    def overlaps(self) -> bool:
        """Whether FG-Net still computes when `submit` has returned: on an NVIDIA GPU."""
        return any(isinstance(model, AUModel) and model.overlaps for model in (self.fgnet, *self._others.values()))

    def submit(self, faces_data: list[dict[str, Any]], batch_data: Item) -> Deferred[pd.DataFrame]:
        """Start `forward`: all but FG-Net is done when it returns; the result waits for FG-Net."""
        precomputed = isinstance(self.landmark_detector, PrecomputedLandmarks)
        if precomputed:
            set_landmarks(faces_data)
        if self._faces or not self._has_pose:
            # With unknown poses, py-feat would ask the hub for its pose network in every batch.
            faces_data = [faces | {"poses": faces["poses"].nan_to_num(0.0)} for faces in faces_data]
        with gradients_kept():
            rows: pd.DataFrame = super().forward(faces_data, batch_data)
            counts = [len(faces["scores"]) for faces in faces_data]
            if self._faces or not self._has_pose:
                unknown = rows["FaceRectX"].isna() if self._has_pose else slice(None)
                rows.loc[unknown, FEAT_FACEPOSE_COLUMNS_6D] = np.float32("nan")
            if precomputed and "Original" in batch_data:
                rows[LANDMARKS] += pixel_centre_shift(batch_data, counts)
            scores = None if self.fgnet is None else submit_faces(self.fgnet, rows, counts, batch_data)
            others = {}
            for name, model in self._others.items():
                if isinstance(model, AUModel):
                    others[name] = submit_faces(model, rows, counts, batch_data)
                else:
                    others[name] = Deferred(functools.partial(np.asarray, self.au_detector.others_aus[name]))
        return pending_rows(rows, scores, others)

    def detect(
        self,
        inputs: object,
        data_type: str | None = None,
        output_size: int | tuple[int, int] | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        face_identity_threshold: float = 0.8,
        face_detection_threshold: float | None = None,
        skip_frames: int | None = None,
        progress_bar: bool = True,
        save: str | Path | None = None,
        *,
        resume: bool = False,
        errors: Literal["raise", "skip"] = "raise",
        mixed_sizes: Literal["raise", "single"] = "raise",
        faces: WhichFaces = "all",
        frames: tuple[int, int] | None = None,
        columns: WhichColumns = "all",
        time: bool = False,
        relative_to: str | Path | None = None,
        per_input: str | Path | None = None,
        load: bool = True,
        verify: int = 0,
        teacher: str | Path | None = None,
        uncertainty: int | None = None,
        **kwargs: Any,
    ) -> Fex:
        """Detect faces in pictures and videos, and run the models on them.

        Args:
            inputs: path of a picture or video; several paths, also mixed; or a tensor [N, 3, H, W] in [0, 255].
            data_type: "image", "video" or "tensor"; by default it follows from the inputs.
            output_size: resize frames to this size for py-feat's models. FG-Net reads the original frames.
            batch_size: frames at once. Where none of py-feat's models takes part, as with `offline`, it changes nothing: see
                `StretchReader`; nor do the next two, and pictures of several sizes are no error.
            num_workers, pin_memory: of torch's DataLoader.
            face_identity_threshold: cosine similarity from which two faces are one person's.
            face_detection_threshold: score from which something is a face; see `detect_faces`.
            skip_frames: of a video, only every so many-th frame.
            progress_bar: show one, with frames per second.
            save: a table, .csv or .parquet, that grows with every batch (parquet as .parquet.csv): what is in it survives
                whatever happens. Beside it, ``….run`` keeps the settings and the progress.
            resume: continue the interrupted run that `save` holds: the file ends up the same as without interruption. A
                finished one is read. With other settings, inputs or weights it is an error.
            errors: of files that can't be read, or a video that is damaged from some frame on: "raise" after what comes
                before is done (missing and empty files at once, together), or "skip" them with a warning.
            mixed_sizes: of pictures of different sizes, with a batch_size over 1 and no output_size: "raise", as py-feat does,
                or read them one at a time ("single").
            faces: "all"; the "largest" of each frame; or of a video, "track" one participant: the person whose faces are the
                largest altogether, by where they are. A warning says how many faces of others were left out.
            frames: of each video only these: the first, and the one after the last. Their rows are those that they have in the
                table of all frames, but for the names of persons, who are told apart among these.
            columns: "all"; "faces" leaves out emotions, identities and gaze; "aus" leaves out landmarks and head poses, too.
            time: add a column "time" where there are videos: the frame's time stamp in seconds ("approx_time" has whole ones).
            relative_to: a folder; the column "input" has paths below it, with "/", instead of the paths as they are given.
            per_input: a folder for a table of each input, beside `save` and with its suffix, when all are done.
            load: False returns only a row for each input, see `Summary.table`: however long the videos are, the memory
                that they take does not grow. The table is in `save`.
            verify: of a student, compare it with its teacher on so many random faces when all is done, with warnings where
                they agree less than the student's card says, and where files look otherwise than its study's recordings; see
                `verify_student`. 0: no.
            teacher: where the student's teacher is; by default what its card names.
            uncertainty: beside `save`, write how far each score of FG-Net depends on the crop: ``fex_uncertainty.csv`` for
                ``fex.csv``, with the mean and the spread of so many passes, such as 8; see
                `fgnet_plugin.inference.uncertainty`. The files are read a second time, and FG-Net takes so many times as long.
            kwargs: ignored, with a warning; py-feat ignores them silently.

        Returns:
            `Fex`, a row for each face, and for each frame without one: columns, order and types as `Detectorv1`'s.

        Raises:
            TypeError, ValueError: arguments that make no sense.
            FileNotFoundError, InputError: see `errors`. What was done before is in the exception's attribute `fex`, or in
                `save`; so it is after Ctrl-C.
            OutputError: `save` can't be written.

        Example:
            >>> detector = Detector(au_model="fgnet")  # doctest: +SKIP
            >>> detector.detect(["a.mp4", "b.mp4"], faces="track", save="fex.csv", resume=True)  # doctest: +SKIP
        """
        if kwargs:
            warnings.warn(f"detect ignores {', '.join(kwargs)}", stacklevel=2)
        check_verify(verify, self.fgnet, columns)
        run = self.plan(
            inputs,
            data_type=data_type,
            output_size=output_size,
            batch_size=batch_size,
            skip_frames=skip_frames,
            face_detection_threshold=face_detection_threshold,
            face_identity_threshold=face_identity_threshold,
            mixed_sizes=mixed_sizes,
            errors=errors,
            faces=faces,
            frames=frames,
            table=TableOptions(columns, time, relative_to, per_input, load, uncertainty),
        )
        with gradients_kept():
            fex: Fex = run(save, resume, progress_bar, num_workers, pin_memory)
            fex = with_origin(fex, run.settings())
            if verify and self.fgnet is not None:
                pieces = pieces_of_run(fex if load else Path(str(save)), relative_to)
                verify_student(pieces, self.fgnet, verify, teacher=teacher, device=self.device)
            return fex

    def plan(self, inputs: object, output_size: int | tuple[int, int] | None = None, **options: Any) -> DetectRun:
        """Prepare a run of `detect` without starting it."""
        resize = None if output_size is None else functools.partial(_resized, output_size=output_size)
        return DetectRun(self, self._reader(output_size), inputs, output_size=output_size, resize=resize, **options)

    def _reader(self, output_size: int | tuple[int, int] | None) -> Reader:
        """Choose how frames are read: without py-feat where none of its models, or methods of a subclass, take part."""
        others = [self.info[kind] for kind in ("emotion_model", "identity_model", "gaze_model")]
        pyfeat = any(others) or self.au_detector is not None or self.info["landmark_model"] != BUNDLED
        steps = ("detect_faces", "submit", "forward")
        replaced = any(name in vars(self) or getattr(type(self), name) is not getattr(Detector, name) for name in steps)
        if self._faces is None or pyfeat or replaced or output_size is not None or self._others:
            return BatchReader(self)
        return StretchReader(self._faces.finder, self.fgnet)

    def identities(self, rows: pd.DataFrame, same_person: float) -> pd.Series:
        """Tell persons apart by their embeddings, of this cosine similarity or more; see `DetectRun`."""
        if self.info["identity_model"] is None:
            return pd.Series(np.nan, range(len(rows)), float)
        return pd.Series(cluster_identities(rows[IDENTITY].to_numpy(np.float64), threshold=same_person))

    def as_table(self, rows: pd.DataFrame) -> Fex:
        """Make a `Fex` of rows, whose metadata name the columns that it has; see `DetectRun`."""
        return Fex(rows, **columns_of(rows), detector="Feat", **self.info)

    def detect_several(self, inputs: object, au_models: Sequence[str | Path], **options: Any) -> dict[str, Fex]:
        """Run several AU models on the same faces, which are detected once.

        Args:
            inputs, options: as in `detect`, but for `save` and `resume`.
            au_models: AU models as in `Detector`, py-feat's among them; models that are loaded already are not loaded again.

        Returns:
            AU model, as it was given -> `Fex`. All have the same rows and differ in their AUs.

        Raises:
            ValueError: models given twice; and what `Detector` and `detect` raise.
        """
        wanted = [str(name) for name in au_models]
        if len(set(wanted)) < len(wanted) or not wanted:
            raise ValueError(f"au_models must be different models, at least one, got {', '.join(wanted) or 'none'}")
        if options.get("save") is not None or options.get("resume"):
            raise ValueError("detect_several keeps its results in memory; save each Fex with to_csv")
        with gradients_kept():
            loaded = {str(self.info["au_model"])} | ({"fgnet"} if self.info["au_model"] == DEFAULT else set())
            others = {name: self.load_au_model(name) for name in wanted if name not in loaded}
        twin = copy.copy(self)  # so that this detector stays as it is, also for other threads
        twin._others = others
        pyfeats = {name: model for name, model in others.items() if not isinstance(model, AUModel)}
        if pyfeats:
            twin.au_detector = SeveralModels(self.au_detector, pyfeats)
        combined = twin.detect(inputs, **options)
        extra = [f"{name}:{au}" for name in others for au in AUS]
        results = {}
        for name in wanted:
            fex = combined.drop(columns=extra)
            if name in others:
                fex[AUS] = combined[[f"{name}:{au}" for au in AUS]].to_numpy()
                model = others[name]
                fex.au_model = model.name if isinstance(model, AUModel) else name
                digest = model.digest if isinstance(model, AUModel) else None
                MadeBy.of_models(digest, {**self.info, "au_model": fex.au_model}).note(fex)
            results[name] = fex
        return results

    def compare(
        self, inputs: object, au_models: Sequence[str | Path], labels: pd.DataFrame | None = None, **options: Any
    ) -> Comparison:
        """Measure how far several AU models agree on the same faces and, with labels, how accurate each is.

        Args:
            inputs, au_models, options: as in `detect_several`.
            labels: AUs by human coders, as in `fgnet_plugin.compare`.

        Returns:
            `Comparison`: tables, and `plot` for a figure.
        """
        return compare(self.detect_several(inputs, au_models, **options), labels)

    def load_au_model(self, name: str) -> Any:
        """Load another AU model, with the device and precision of this detector's."""
        fgnet = is_fgnet(name)
        kinds = ("face_model", "landmark_model")
        check_models({kind: self.info[kind] for kind in kinds} | {"au_model": name}, fgnet)
        if fgnet:
            return AUModel(name, **self._au_options)
        with hub.weights_available({"au_model": name}, self._au_options["fetch"]):
            return load_xgb_svm(name)

    def __repr__(self) -> str:
        models = ", ".join(f"{kind}={name}" for kind, name in self.info.items())
        return f"Detector({models})"


def _resized(image: Tensor, padding: bool, output_size: int | tuple[int, int]) -> Item:
    """Resize a frame as py-feat does; see `Resize`."""
    item: Item = Rescale(output_size, preserve_aspect_ratio=True, padding=padding)(image)
    return item
