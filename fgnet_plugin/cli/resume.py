"""The options of ``fgnet detect --resume``: those of the interrupted run, unless an option on the command line says more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from fgnet_plugin.cli.inputs import find_inputs
from fgnet_plugin.errors import InputError
from fgnet_plugin.utils.journal import ABOUT, read_settings, run_path

_FREE = {
    *("context", "device", "errors", "estimate", "heatmaps", "out", "overwrite", "per_file", "plots", "recursive", "resume"),
    *("base_rates", "sample", "teacher", "uncertainty", "unsure", "verify", "with_student"),
}
"""Options that may change when a run is continued."""


def settle(context: typer.Context, out: Path) -> dict[str, Any]:
    """Complete the options on the command line by those of the run.

    Args:
        context: of the command.
        out: the table; where no run of it was begun, the options are those of the command line.

    Returns:
        The value of each option.

    Raises:
        InputError: an option contradicts the run, or its inputs are gone; the message names just these.
    """
    values = dict(context.params)
    sources = {name: context.get_parameter_source(name) for name in values}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    begun = options_of_run(out)
    if begun is None:
        return values
    folder = begun.pop("folder")
    if values["inputs"]:
        values["inputs"] = find_inputs(values["inputs"], values["recursive"])
    else:
        given.discard("inputs")
        _check_there(begun["inputs"], folder, out)
    changes = [
        _change(name, begun[name], values[name])
        for name in begun
        if name in given - _FREE and _comparable(begun[name]) != _comparable(values[name])
    ]
    if changes:
        raise InputError(
            f"{out} was begun with other settings ({'; '.join(changes)}): leave such options out to continue, start anew "
            "with --overwrite, or choose another file"
        )
    return values | {name: value for name, value in begun.items() if name not in given}


def options_of_run(out: Path) -> dict[str, Any] | None:
    """Read the options with which a table was begun, and as "folder" where; None where none was.

    Raises InputError for a run's file that is damaged.
    """
    run = read_settings(out)
    if run is None or ABOUT not in run:
        return None
    try:
        return _options(run)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run_path(out)} is damaged; delete it and start anew") from error


def _options(run: dict[str, Any]) -> dict[str, Any]:
    """Translate a run's settings to options of the command line."""
    models, about = run["models"], run["about"]
    offline = models["face_model"] == "bundled"
    options: dict[str, Any] = {
        "folder": str(about["folder"]),
        "inputs": [str(path) for path in about["paths"]],
        "data_type": about["data_type"],
        "errors": about["errors"],
        "relative_to": None if about["relative_to"] is None else Path(about["relative_to"]),
        "device": about["device"] or "cpu",
        "au_model": models["au_model"],
        "offline": offline,
        "only_aus": not (offline or models["emotion_model"] or models["identity_model"] or models["gaze_model"]),
        "precision": run["precision"],
        "compile_": run.get("compile", False),
        "weak_aus": run.get("weak_aus", False),
        "skip_frames": run["skip_frames"],
        "output_size": run["output_size"],
        "faces": run.get("faces", "all"),
        "columns": run.get("columns", "all"),
        "uncertainty": about.get("uncertainty"),
    }
    if not offline:
        sizes = run["batch_size"]
        options["batch_size"] = max(sizes) if isinstance(sizes, list) else sizes
        options["mixed_sizes"] = about["mixed_sizes"]
    elif options["device"] != "cpu":
        options["batch_size"] = run["au_batch_size"]
    return options


def _check_there(paths: list[str], folder: str, out: Path) -> None:
    """Raise InputError where the inputs are named from another folder."""
    if Path(folder) != Path.cwd() and not all(Path(path).exists() for path in paths):
        raise InputError(f"{out} was begun in {folder}, from where its inputs are named: continue it there")


def _comparable(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    return "fgnet-bp4d" if value == "fgnet" else value


def _change(name: str, was: Any, now: Any) -> str:
    if name != "inputs":
        option = "--" + name.strip("_").replace("_", "-")
        return f"{option} was {'not given' if was is None else was}, now {now}"
    gone, new = [path for path in was if path not in now], [path for path in now if path not in was]
    parts = [f"{what} {', '.join(paths)}" for what, paths in (("without", gone), ("with", new)) if paths]
    return f"inputs: now {' and '.join(parts) or 'in another order'}"
