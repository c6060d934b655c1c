"""The tables of an evaluation: every score, each group's summary, and comparisons of groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.measures import TITLES
from fgnet_plugin.training.evaluate.scores import MEASURES, Difference, Group, Key, Tested, shared_aus
from fgnet_plugin.utils.files import atomic_write

MEAN, SHARED = "mean", "mean of shared AUs"


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """A CSV file, whole or not at all; cells without a value are empty."""
    with atomic_write(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def scores(tested: Sequence[Tested]) -> pd.DataFrame:
    """A row for each run, test and AU, and one for the mean over those with a number."""
    rows = []
    for one in tested:
        test, run = one.predictions.test, one.run
        about = {
            "system": run.system,
            "trained_on": run.trained_on,
            "tested_on": test.name,
            "setting": setting(test.within),
            "samples": samples(run.samples),
            "seed": run.seed,
            "fold": run.fold,
            "selection": run.selection,
        }
        for i, au in enumerate(one.aus):
            known = np.isfinite(one.predictions.labels[:, i])
            rows.append(
                about
                | {"au": au, "f1": one.points[0, i], "auc": one.points[1, i], "n": int(known.sum())}
                | {"positives": int(one.predictions.labels[known, i].sum()), "run": run.given}
            )
        defined = np.isfinite(one.points[1])
        f1, auc = one.points[:2, defined].mean(axis=1) if defined.any() else (math.nan, math.nan)
        rows.append(about | {"au": MEAN, "f1": f1, "auc": auc, "n": len(one.predictions.labels), "run": run.given})
    table = pd.DataFrame(rows)
    return table.astype({"seed": "Int64", "positives": "Int64"})


def summary(groups: Sequence[Group]) -> pd.DataFrame:
    """A row for each group and AU, one for the mean over its AUs, and one for the mean over the AUs that all groups share."""
    rows = []
    shared = shared_aus(groups)
    for group in groups:
        about = describe(group)
        means = {MEAN: group.scored} | ({SHARED: shared} if shared and any(g.scored != shared for g in groups) else {})
        for au, of in ({au: (au,) for au in group.aus} | means).items():
            row: dict[str, Any] = about | {"au": au, "name": facs_name(au) if au in group.aus else " ".join(of)}
            for measure in MEASURES:
                found = group.estimate(of, measure) if of else None
                for name in ("value", "low", "high", "resamples", "sd_folds", "sd_seeds"):
                    column = f"{measure}_{'mean' if name == 'value' else name}"
                    row[column] = math.nan if found is None else getattr(found, name)
            of_au = labelled(group, au) if au in group.aus else dict.fromkeys(("frames", "positives", "prevalence"))
            rows.append(row | of_au | {"notes": "; ".join(notes(group))})
    return pd.DataFrame(rows).astype({"frames": "Int64", "positives": "Int64"})


def measures(groups: Sequence[Group]) -> pd.DataFrame:
    """A row for each group, AU (and mean over its AUs) and measure: value, interval, spread, and what chance gives.

    ``chance`` is the mean over permutations of subjects, ``noise_floor`` their 95 % quantile (`Group.chance`); ``always`` the
    F1 of a detector that sees the AU in every face, 2p / (1 + p) for a share p of faces with it. F1-pooled is of all folds'
    faces together, that of the mean's row, F1-micro, of all AUs, too.
    """
    rows = []
    for group in groups:
        about = describe(group)
        for au, of in ({au: (au,) for au in group.scored} | ({MEAN: group.scored} if group.scored else {})).items():
            prevalences = [labelled(group, one)["prevalence"] for one in of]
            always = float(np.mean([2 * p / (1 + p) for p in prevalences]))
            found = {name: group.estimate(of, name) for name in TITLES}
            found = {name: one for name, one in found.items() if math.isfinite(one.value)}
            titles = TITLES | {"f1_pooled": "F1-micro" if au == MEAN else "F1, all folds' faces together"}
            for name, one in (found | {"f1_pooled": group.pooled_f1(of)}).items():
                chance, floor = group.chance(of, name) if name in found else (math.nan, math.nan)
                row = {"au": au, "measure": name, "title": titles[name], "value": one.value, "low": one.low, "high": one.high}
                row |= {"resamples": one.resamples, "sd_folds": one.sd_folds, "sd_seeds": one.sd_seeds}
                rows.append(
                    about | row | {"chance": chance, "noise_floor": floor, "always": always if name == "f1" else math.nan}
                )
    return pd.DataFrame(rows)


def comparisons(differences: Sequence[Difference]) -> pd.DataFrame:
    """A row for each comparison: first minus second."""
    columns = ["first", "second", "tested_on", "tests", "aus", "measure", "difference", "low", "high", "resamples"]
    rows = []
    for d in differences:
        what = name(d.first, d.second), name(d.second, d.first), d.first.tested_on, d.tests, " ".join(d.aus), d.measure
        rows.append((*what, d.value, d.low, d.high, d.resamples))
    return pd.DataFrame(rows, columns=columns)


def describe(group: Group) -> dict[str, Any]:
    """What a group is, as the first columns of a row."""
    key, runs = group.key, [member.run for member in group.members]
    subjects = {(member.predictions.faces, subject) for member in group.members for subject in member.predictions.subjects}
    return {
        "system": key.system,
        "trained_on": key.trained_on,
        "tested_on": key.tested_on,
        "setting": setting(key.within),
        "samples": samples(key.samples),
        "validation_frames": validation_frames(group),
        "selection": key.selection,
        "runs": len(runs),
        "folds": len({run.fold for run in runs}),
        "seeds": len({run.seed for run in runs}),
        "subjects": len(subjects),
    }


def notes(group: Group) -> list[str]:
    """What a reader of a group's scores should know of its runs and tests."""
    return list(dict.fromkeys(n for one in group.members for n in (*one.run.notes, *one.predictions.test.notes)))


def validation_frames(group: Group) -> str:
    """Labelled frames that the best epochs of a group's runs were chosen with: "120", or "110–130"; empty: not recorded."""
    counts = {member.run.validation_frames for member in group.members}
    known = sorted(count for count in counts if count is not None)
    if not known or len(known) < len(counts):
        return ""
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"


def budget(group: Group) -> str:
    """Of a few-sample training, the labels that its frames leave out: those that chose its epoch; otherwise empty."""
    if group.key.samples is None:
        return ""
    count = validation_frames(group)
    return f"+ {count} labelled validation frames" if count else "validation frames not counted"


def labelled(group: Group, au: str) -> dict[str, Any]:
    """Labelled frames of an AU, over the group's test sets; each counts once."""
    sets = {member.predictions.faces: member.predictions for member in group.members if au in member.aus}
    labels = np.concatenate([one.labels[:, one.aus.index(au)] for one in sets.values()])
    known = labels[np.isfinite(labels)]
    return {
        "frames": len(known),
        "positives": int(known.sum()),
        "prevalence": float(known.mean()) if len(known) else math.nan,
    }


def name(key: Key, beside: Key | None = None) -> str:
    """A group in a few words; with `beside`, a group that differs in one thing, that thing is named too."""
    parts = [key.system]
    if key.samples is not None or (beside is not None and beside.samples is not None):
        parts.append(f"trained on {samples(key.samples)} frames of {key.trained_on}")
    else:
        parts.append(f"trained on {key.trained_on}")
    if key.published_choice or (beside is not None and key.selection != beside.selection):
        parts.append("epoch chosen on test" if key.published_choice else key.selection)
    return ", ".join(parts)


def setting(within: bool) -> str:
    """Within or cross."""
    return "within" if within else "cross"


def samples(count: int | None) -> str:
    """Training frames as text."""
    return "all" if count is None else f"{count}"


def compact(groups: Sequence[Group]) -> str:
    """A table for the terminal: each group's means."""
    rows = []
    for group in groups:
        named = name(group.key) + (f" ({budget(group)})" if budget(group) else "")
        cells = [named, group.key.tested_on, str(len(group.scored)), str(len(group.members))]
        for measure in MEASURES:
            found = group.estimate(group.scored, measure) if group.scored else None
            cells.append("–" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        rows.append(cells)
    header = ["system", "tested on", "AUs", "runs", "F1 [95 %]", "AUC [95 %]"]
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
