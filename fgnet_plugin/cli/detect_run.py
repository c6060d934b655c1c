"""What ``fgnet detect`` does once its options are settled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.cli.output import print_estimate, print_summary, print_summary_as_json, report_interruption
from fgnet_plugin.errors import InputError, OutputError
from fgnet_plugin.inference.final_table import TableOptions
from fgnet_plugin.inference.uncertainty import uncertainty_path
from fgnet_plugin.utils.journal import is_unfinished
from fgnet_plugin.utils.text import counted

_INTERRUPTED = 130  # exit status of shells for Ctrl-C


class DetectCommand:
    """A run of ``fgnet detect``.

    Args:
        values: the command's options by name; see `cli.detect.detect`.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._out: Path = values["out"]
        self.paths = find_inputs(values["inputs"], values["recursive"])

    def run(self) -> None:
        """Detect, print a summary and write pictures."""
        values, out, plots = self._values, self._out, self._values["plots"]
        beside = None if values["uncertainty"] is None else uncertainty_path(out)
        if beside is not None and beside.exists() and not (values["resume"] or values["overwrite"]):
            raise InputError(f"{beside} is there already; --overwrite replaces it, or choose another file with --out")
        if plots is not None:
            plots.mkdir(parents=True, exist_ok=True)
            from fgnet_plugin.cli.plots import write_plots
        detector = make_detector(models_of(self._values), self._values["offline"], self._values["only_aus"])
        if values["heatmaps"] and detector.fgnet is None:
            raise InputError(f"heatmaps are FG-Net's: leave --heatmaps out with --au-model {values['au_model']}")
        complete = values["resume"] and out.exists() and not is_unfinished(out)
        start = time.perf_counter()
        table = {"columns": values["columns"], "relative_to": values["relative_to"], "per_input": values["per_file"]}
        if values["verify"]:
            table |= {"verify": values["verify"], "teacher": values["teacher"]}
        table["uncertainty"] = values["uncertainty"]
        try:
            summary = detector.detect(
                self.paths, save=out, resume=values["resume"], load=False, time=True, **table, **options_of(values)
            )
        except KeyboardInterrupt:
            if beside is not None and out.exists() and not is_unfinished(out):
                typer.echo(f"\ninterrupted: {out} is complete; the same command with --resume adds the uncertainty", err=True)
            else:
                report_interruption(out)
            raise typer.Exit(_INTERRUPTED) from None
        except OutputError as error:
            more = ", then continue with the same command and --resume" if is_unfinished(out) else ""
            typer.echo(f"error: {error}{more}", err=True)
            raise typer.Exit(1) from None
        seconds = None if complete else time.perf_counter() - start
        rows = int((summary["faces"] + summary["frames"] - summary["frames_with_face"]).sum())
        if values["as_json"]:
            print_summary_as_json(summary, out, rows, seconds)
        else:
            print_summary(summary, seconds)
            typer.echo(f"\ntable: {out} ({counted(rows, 'row')}{', complete already' if complete else ''})")
            if values["per_file"] is not None:
                typer.echo(f"a table of each input: {values['per_file']}")
            if beside is not None:
                typer.echo(f"uncertainty: {beside}")
        if plots is not None:
            shown = TableOptions(relative_to=values["relative_to"]).shown
            sources = {shown(path): path for path in self.paths}
            for path in write_plots(out, plots, sources, detector.fgnet if values["heatmaps"] else None):
                typer.echo(f"picture: {path}", err=values["as_json"])

    def estimate(self) -> None:
        """Measure the speed on a few frames, and print how long the run will take. Nothing is written."""
        from fgnet_plugin.inference.estimate import estimate

        table = TableOptions(self._values["columns"], time=True)
        print_estimate(
            estimate(
                make_detector(models_of(self._values), self._values["offline"], self._values["only_aus"]),
                self.paths,
                table=table,
                **options_of(self._values),
            )
        )


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options of `detect` on which its rows depend."""
    options = {name: values[name] for name in ("skip_frames", "faces", "data_type", "errors")}
    if not values["offline"]:
        options |= {name: values[name] for name in ("batch_size", "mixed_sizes", "output_size")}
    return options


def models_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options of the detector."""
    offline = values["offline"]
    au_model = values["au_model"] or ("fgnet-rendered" if offline else "fgnet")
    models: dict[str, Any] = {"au_model": au_model, "device": values["device"]}
    models |= {"precision": values["precision"], "compile": values["compile_"]}
    models |= {"weak_aus": True} if values.get("weak_aus") else {}
    if not offline or values["device"] != "cpu":  # offline on a CPU, no digit depends on the batch size
        models["au_batch_size"] = max(values["batch_size"], 8)  # the faces of all these frames share a pass
    return models


def make_detector(models: dict[str, Any], offline: bool, only_aus: bool) -> Any:
    """Make the detector of a command line, of `models_of`."""
    return _offline_detector(models) if offline else _pyfeats_detector(models, only_aus)


def _offline_detector(models: dict[str, Any]) -> Any:
    """Make the detector of ``--offline``: without py-feat, unless its AU models are wanted."""
    from fgnet_plugin.inference.au_model import is_fgnet

    if is_fgnet(models["au_model"]):
        from fgnet_plugin.inference.offline import OfflineDetector

        return OfflineDetector(**models)
    from fgnet_plugin.pyfeat.detector import Detector

    return Detector.offline(**models)


def _pyfeats_detector(models: dict[str, Any], only_aus: bool) -> Any:
    from fgnet_plugin.pyfeat.detector import Detector

    if only_aus:
        models = models | {"emotion_model": None, "identity_model": None, "gaze_model": None}
    return Detector(**models)
