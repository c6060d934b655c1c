"""Photos and videos to a table of AUs with this package alone: no py-feat, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from fgnet_plugin.faces.finder import FaceFinder
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.columns import WhichColumns
from fgnet_plugin.inference.detect_run import DetectRun
from fgnet_plugin.inference.final_table import TableOptions
from fgnet_plugin.inference.persons import WhichFaces
from fgnet_plugin.inference.provenance import with_origin
from fgnet_plugin.inference.stretches import StretchReader
from fgnet_plugin.inference.verify import check_verify, pieces_of_run, verify_student
from fgnet_plugin.network.fgnet import Precision

BUNDLED = "bundled"
"""`face_model` and `landmark_model` of the networks that come with this package."""


class OfflineDetector:
    """Finds faces and reads their AUs without py-feat; the same numbers as ``Detector.offline()``, and a quicker start.

    Args:
        au_model: "fgnet-rendered", which comes with the package; a published checkpoint that is on this machine; or the path
            of one.
        device: "cpu", "cuda", "mps", or a `torch.device`.
        au_batch_size: faces that go through FG-Net at once.
        precision: of FG-Net: "float32", "bfloat16" or "float16"; None: the best for the device, float32 on a CPU.
        compile: use torch.compile for FG-Net, too, which takes minutes at the first faces: for long runs on a GPU.
        weak_aus: also show the AUs on which a student agrees too little with its teacher; see `AUModel`.

    Raises:
        ValueError: a GPU that is not there.
        CheckpointError: weights that are not on this machine, or damaged.

    Example:
        >>> from fgnet_plugin import OfflineDetector
        >>> table = OfflineDetector().detect("video.mp4")  # doctest: +SKIP
        >>> table[["frame", "AU12"]]  # doctest: +SKIP
    """

    def __init__(
        self,
        au_model: str | Path = "fgnet-rendered",
        device: str | torch.device = "cpu",
        *,
        au_batch_size: int = 8,
        precision: Precision | None = None,
        compile: bool = False,  # noqa: A002  (torch's word for it)
        weak_aus: bool = False,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        check_device(device)
        self.fgnet: AUModel = AUModel(au_model, device, au_batch_size, precision, False, compile, weak_aus)
        self.finder = FaceFinder(device)
        self.info: dict[str, Any] = {
            "face_model": BUNDLED,
            "landmark_model": BUNDLED,
            "emotion_model": None,
            "facepose_model": BUNDLED,
            "au_model": self.fgnet.name,
            "identity_model": None,
            "gaze_model": None,
        }

    @property
    def au_names(self) -> list[str]:
        """The AUs that the checkpoint knows, ``table[detector.au_names]``; the other columns are NaN."""
        return list(self.fgnet.aus)

    def detect(
        self,
        inputs: object,
        data_type: str | None = None,
        *,
        face_detection_threshold: float | None = None,
        skip_frames: int | None = None,
        progress_bar: bool = True,
        save: str | Path | None = None,
        resume: bool = False,
        errors: Literal["raise", "skip"] = "raise",
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
    ) -> pd.DataFrame:
        """Find the faces in pictures and videos, and read their AUs.

        On a CPU each core reads other frames, and no row depends on how many cores there are, nor on where a run was resumed.

        Args:
            inputs: path of a picture or video; several paths, also mixed; or a tensor [N, 3, H, W] in [0, 255].
            data_type: "image", "video" or "tensor"; by default it follows from the inputs.
            face_detection_threshold: score in [0, 1] from which something is a face, by default 0.5.
            skip_frames: of a video, only every so many-th frame.
            progress_bar: show one, with frames per second.
            save: a table, .csv or .parquet, that grows as the run proceeds; see `resume`.
            resume: continue the interrupted run that `save` holds.
            errors: of files that can't be read, or a video that is damaged from some frame on: "raise", or "skip" them with
                a warning.
            faces: "all", the "largest" of each frame, or of a video, "track" one participant.
            frames: of each video only these: the first, and the one after the last. Their rows are those that they have in the
                table of all frames, but for the names of persons.
            verify, teacher: see `Detector.detect`.
            columns, time, relative_to, per_input, load, uncertainty: what the table holds and where it goes, and a table beside
                it; see `Detector.detect`.

        Returns:
            A row for each face, and for each frame without one. Columns, order and types are those of py-feat's Fex: boxes and
            landmarks in pixels, head pose in radians, AUs in [0, 1]; emotions, identities and gaze are NaN.

        Raises:
            TypeError, ValueError: arguments that make no sense.
            FileNotFoundError, InputError: see `errors`. What was done before is in the exception's attribute `fex`, or in
                `save`; so it is after Ctrl-C.
            OutputError: `save` can't be written.

        Example:
            >>> detector = OfflineDetector()
            >>> detector.detect(["a.mp4", "b.mp4"], save="fex.csv", resume=True, errors="skip")  # doctest: +SKIP
        """
        check_verify(verify, self.fgnet, columns)
        run = self.plan(
            inputs,
            data_type=data_type,
            skip_frames=skip_frames,
            face_detection_threshold=face_detection_threshold,
            errors=errors,
            faces=faces,
            frames=frames,
            table=TableOptions(columns, time, relative_to, per_input, load, uncertainty),
        )
        table = with_origin(run(save, resume, progress_bar, 0, False), run.settings())
        if verify:
            pieces = pieces_of_run(table if load else Path(str(save)), relative_to)
            verify_student(pieces, self.fgnet, verify, teacher=teacher, device=self.fgnet.net.device)
        return table

    def plan(self, inputs: object, **options: Any) -> DetectRun:
        """Prepare a run of `detect` without starting it."""
        return DetectRun(self, StretchReader(self.finder, self.fgnet), inputs, mixed_sizes="single", **options)

    def identities(self, rows: pd.DataFrame, same_person: float) -> pd.Series:
        """Return NaN for each row: there are no embeddings; see `DetectRun`."""
        return pd.Series(np.nan, range(len(rows)), float)

    def as_table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows as they are; see `DetectRun`."""
        return rows

    def __repr__(self) -> str:
        return f"OfflineDetector(au_model={self.fgnet.name!r}, device={str(self.fgnet.net.device)!r})"


def check_device(device: str | torch.device) -> None:
    """Raise ValueError for an unknown device or a missing GPU: torch would say so later, and less plainly."""
    kind = str(device).split(":")[0]
    if kind not in ("cpu", "cuda", "mps", "auto"):
        raise ValueError(f"device must be cpu, cuda, mps or auto, got {str(device)!r}")
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise ValueError(f"device={str(device)!r}: torch finds no such GPU; use device='cpu' or 'auto'")
