"""Write the pages of a table: one page for one recording, or a page of the study with one for each recording beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fgnet_plugin.comparison.agreement import Comparison
from fgnet_plugin.errors import CheckpointError, InputError
from fgnet_plugin.inference.au_model import AUModel, is_fgnet
from fgnet_plugin.report.methods import Provenance, provenance_of
from fgnet_plugin.report.page import write_page
from fgnet_plugin.report.pictures import Illustrator, Peak, Shown, chosen_places
from fgnet_plugin.report.study import study_row, write_study
from fgnet_plugin.report.timeline import Pieces, Timeline, pieces_of, timelines
from fgnet_plugin.utils.distinct_names import distinct_names


@dataclass(frozen=True)
class PageOptions:
    """What is on the pages; see `report`."""

    threshold: float = 0.5
    pictures: int = 240
    blur_faces: bool = False
    heatmaps: bool = True
    source: Path | None = None
    folder: Path | None = None
    """From where the table's paths begin."""

    def check(self) -> None:
        """Raise ValueError for values that make no sense."""
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        if self.pictures < 0:
            raise ValueError(f"pictures must be 0 or more, got {self.pictures}")


def report(
    table: pd.DataFrame | str | Path | Pieces,
    out: str | Path,
    *,
    threshold: float = 0.5,
    pictures: int = 240,
    blur_faces: bool = False,
    heatmaps: bool = True,
    source: str | Path | None = None,
    au_model: str | Path | None = None,
    made: Provenance | None = None,
    notes: Sequence[str] = (),
    comparison: Comparison | None = None,
    title: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> list[Path]:
    """Write a page to look at: AUs over time with the pictures of a recording, or a study's recordings side by side.

    A page is one .html file that opens in any browser, and asks no network for anything. Of several recordings, `out` has the
    table of all, and the folder ``<out>_files`` beside it a page for each.

    Args:
        table: a table of ``fgnet detect`` (.csv or .parquet), a `Fex`, or a function that gives a larger one in pieces; of a
            file, the .run file beside it tells how it was made, for the paragraph about methods.
        out: the .html file.
        threshold: score from which an AU is present.
        pictures: most frames whose pictures are on a recording's page, about 10 KB each; 0 for a page without any picture.
        blur_faces: make faces unrecognisable; frames without a known face are then left out, as one may have been missed.
        heatmaps: show where FG-Net saw the AUs at their peaks; needs the weights that the table was made with.
        source: folder in which the recordings are, where the paths in the table don't lead to them.
        au_model: weights for the heatmaps; by default those that the table was made with.
        made: how the table was made, where it does not tell.
        notes: sentences to be shown at the top, such as of recordings that are not in the table.
        comparison: of `fgnet_plugin.compare`, with other AU models or human coders, to be shown as tables.
        title: of the study's page.
        progress: called with a line about each recording.

    Returns:
        The files that were written, the first is `out`.

    Raises:
        InputError: a table that can't be read, or with nothing in it. A recording that is gone, or other than the table says,
            is no error: its page has no pictures, and says so.
        ValueError: options that make no sense.

    Example:
        >>> from fgnet_plugin.report import report
        >>> report("fex.csv", "report.html")  # doctest: +SKIP
    """
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: a report is an .html file")
    whole = Path(table) if isinstance(table, str | Path) else table
    if made is None:
        made = Provenance(None, None, None, {}) if callable(whole) else provenance_of(whole)
    options = PageOptions(threshold, pictures, blur_faces, heatmaps, None if source is None else Path(source), made.folder)
    options.check()
    model, note = _model(made, au_model, options)
    said = [*notes, *([note] if note else [])]
    names = distinct_names(_inputs(whole))
    if len(names) == 1:
        (recording,) = timelines(whole, threshold)
        _write(path, recording, made, options, model, said, comparison=comparison)
        return [path]
    folder, written, rows = path.with_name(f"{path.stem}_files"), [path], []
    for number, recording in enumerate(timelines(whole, threshold), start=1):
        page = folder / f"{names[recording.input]}.html"
        if progress is not None:
            progress(f"{number} of {len(names)}: {recording.input}")
        _write(page, recording, made, options, model, said[len(notes) :], back=f"../{path.name}")
        rows.append(study_row(recording, names[recording.input], threshold, f"{folder.name}/{page.name}"))
        written.append(page)
    write_study(path, rows, made, threshold, title or path.stem, said, comparison)
    return written


def _write(
    path: Path,
    recording: Timeline,
    made: Provenance,
    options: PageOptions,
    model: AUModel | None,
    notes: list[str],
    back: str | None = None,
    comparison: Comparison | None = None,
) -> None:
    shown, peaks, more = _illustrate(recording, options, model)
    write_page(path, recording, made, options.threshold, shown, peaks, [*notes, *more], back, comparison)


def _illustrate(recording: Timeline, options: PageOptions, model: AUModel | None) -> tuple[list[Shown], list[Peak], list[str]]:
    """Make the pictures of a recording; where it can't be read, say why."""
    if not options.pictures:
        return [], [], ["Pictures were left out, as was asked for."]
    file = _find(recording.input, options)
    if file is None:
        return [], [], [f"There are no pictures: {recording.input} is not there; --source names the folder in which it is."]
    notes = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # detection has said them
            illustrator = Illustrator(recording, file, options.blur_faces)
            try:
                shown = list(illustrator.frames(chosen_places(recording, options.pictures)))
                peaks = list(illustrator.peaks(model and model.showing(recording.aus)))
            finally:
                illustrator.close()
    except (InputError, OSError) as error:
        return [], [], [f"There are no pictures: {error}"]
    if options.blur_faces:
        notes.append(
            "Faces are blurred, and frames in which no face was found have no picture. Look through the pictures before you "
            "pass the page on: where one of several faces was missed, it is not blurred."
        )
    return shown, peaks, notes


def _find(name: str, options: PageOptions) -> Path | None:
    source = options.source
    if source is not None:
        places = [source / name, source / Path(name).name]
    else:
        places = [Path(name), *([options.folder / name] if options.folder is not None else [])]
    return next((place for place in places if place.is_file()), None)


def _model(made: Provenance, au_model: str | Path | None, options: PageOptions) -> tuple[AUModel | None, str]:
    """Load FG-Net for heatmaps; where that can't be, say why."""
    if not (options.heatmaps and options.pictures):
        return None, ""
    wanted = au_model or made.au_model
    if wanted is None:
        return None, "There are no heatmaps: the table does not say which AU model it is of; --au-model names it."
    if not is_fgnet(wanted):
        return None, ""
    try:
        model = AUModel(wanted, fetch=False)
    except CheckpointError as error:
        return None, f"There are no heatmaps: {str(error).splitlines()[0]}"
    if made.digest is not None and model.digest != made.digest:
        return None, f"There are no heatmaps: {wanted} has other weights now than when the table was made."
    return model, ""


def _inputs(table: pd.DataFrame | Path | Pieces) -> list[str]:
    """List the inputs of a table in its order. Raises InputError where the rows of one do not follow one another."""
    names: dict[str, None] = {}
    last = None
    for piece in pieces_of(table, ["input"]):
        inputs = piece["input"].astype(str) if "input" in piece else pd.Series([""])
        for name in inputs[inputs != inputs.shift()]:
            if name in names and name != last:
                raise InputError(f"the rows of {name} do not follow one another: sort the table by input and frame")
            names[name], last = None, name
    if not names:
        raise InputError(f"{table if isinstance(table, Path) else 'the table'} has no rows")
    return list(names)
