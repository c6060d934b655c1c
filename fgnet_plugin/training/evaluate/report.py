"""The page of an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
import platform
import string
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.training.evaluate import tables
from fgnet_plugin.training.evaluate.figure import fullest
from fgnet_plugin.training.evaluate.predictions import cached_path
from fgnet_plugin.training.evaluate.scores import MEASURES, Difference, Estimate, Group, Key, shared_aus
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import counted, plural
from fgnet_plugin.version import __version__

if TYPE_CHECKING:
    from fgnet_plugin.training.evaluate.study import Study

FEW_SUBJECTS = 10
_PACKAGES = "torch", "numpy", "pandas", "scikit-learn", "matplotlib"


def write(study: Study, path: Path) -> None:
    """The page, whole or not at all. ``figure.svg`` must lie beside it; its contents go into the page."""
    environment = Environment(
        loader=PackageLoader("fgnet_plugin.training.evaluate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "whole": lambda value: f"{value:,}", "percent": percent}
    text = environment.get_template("report.html.jinja").render(contents(study, path.with_name("figure.svg")))
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def contents(study: Study, figure: Path) -> dict[str, Any]:
    """What the template shows."""
    groups = study.groups
    shared = shared_aus(groups)
    corpora = list(dict.fromkeys(group.key.tested_on for group in groups))
    chosen = dict.fromkeys(group.key.selection for group in groups)
    selections = {text: string.ascii_lowercase[i % 26] for i, text in enumerate(chosen)}
    subjects = [len(set(one.predictions.subjects)) for one in study.tested]
    return {
        "headline": headline(study),
        "systems": [
            {"corpus": corpus, "rows": [_row(group, shared, selections) for group in groups if group.key.tested_on == corpus]}
            for corpus in corpora
        ],
        "selections": selections,
        "shared": shared if any(group.scored != shared for group in groups) else (),
        "per_au": [_per_au(study, corpus) for corpus in corpora],
        "few_samples": len(fullest(groups)) < len(groups),
        "differences": _differences(study.differences),
        "data": _data(study),
        "undefined": _undefined(study),
        "figure": base64.b64encode(figure.read_bytes()).decode(),
        "few_subjects": min(subjects) if min(subjects) < FEW_SUBJECTS else None,
        "published_choice": any(group.key.published_choice for group in groups),
        "notes": study.notes,
        "left_out": study.left_out,
        "bootstrap": study.settings.bootstrap,
        "seed": study.settings.seed,
        "files": _files(study),
        "versions": {"fgnet-plugin": __version__, "Python": platform.python_version()} | {p: version(p) for p in _PACKAGES},
        "measures": {"f1": "F1", "auc": "AUC"},
    }


def headline(study: Study) -> list[str]:
    """A sentence for each corpus tested on: who did best by AUC, and whether by more than chance allows for."""
    sentences = []
    for corpus in dict.fromkeys(group.key.tested_on for group in study.groups):
        here = [group for group in study.groups if group.key.tested_on == corpus and group.scored]
        honest = [group for group in here if not group.key.published_choice] or here
        if not honest:
            continue
        same = all(group.scored == here[0].scored for group in here)
        aus = here[0].scored if same else shared_aus(here)
        if not aus:
            continue
        best = max(honest, key=lambda group, aus=aus: group.estimate(aus, "auc").value)  # type: ignore[misc]
        auc, f1 = (best.estimate(aus, measure) for measure in ("auc", "f1"))
        which = f"{counted(len(aus), 'AU')}" + ("" if same else " that all systems share")
        sentence = (
            f"On {corpus}, {tables.name(best.key)} has a mean AUC of {number(auc.value)} {_interval(auc)} "
            f"and a mean F1 of {number(f1.value)} {_interval(f1)} over {which}"
        )
        compared = [d for d in study.differences if best.key in (d.first, d.second) and d.measure == "auc"]
        rivals = [d for d in compared if d.first.system != d.second.system]
        if rivals:
            closest = min(rivals, key=lambda d: abs(d.value))
            other = closest.second if closest.first == best.key else closest.first
            sign = 1 if closest.first == best.key else -1
            low, high = sorted((sign * closest.low, sign * closest.high))
            beyond = "which excludes 0" if low > 0 or high < 0 else "which includes 0: no clear difference"
            sentence += f"; {signed(sign * closest.value)} AUC against {other.system} [{signed(low)}, {signed(high)}], {beyond}"
            sentence += (
                f" (the best of {len(honest)} by these very scores, and the closest of {len(rivals)} "
                f"{plural(len(rivals), 'comparison')} with another system; the interval makes no allowance for such choosing)"
            )
        sentences.append(sentence + ".")
    return sentences


def number(value: float) -> str:
    """Three decimals; a dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def percent(value: float) -> str:
    """A share in percent; a dash where there is none."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "–"


def _interval(found: Estimate) -> str:
    return f"[{number(found.low)}, {number(found.high)}]" if math.isfinite(found.low) else "[no interval]"


def _row(group: Group, shared: tuple[str, ...], selections: Mapping[str, str]) -> dict[str, Any]:
    about = tables.describe(group)
    means = {measure: group.estimate(group.scored, measure) if group.scored else None for measure in MEASURES}
    of_shared = {measure: group.estimate(shared, measure) if shared else None for measure in MEASURES}
    return (
        about
        | {"aus": len(group.scored), "means": means, "shared": of_shared, "published": group.key.published_choice}
        | {"budget": tables.budget(group)}
        | {"letter": selections[group.key.selection]}
    )


def _per_au(study: Study, corpus: str) -> dict[str, Any]:
    groups = fullest([group for group in study.groups if group.key.tested_on == corpus])
    aus = sorted({au for group in groups for au in group.aus})
    lines = []
    for au in aus:
        cells = [{m: group.estimate((au,), m) if au in group.scored else None for m in MEASURES} for group in groups]
        lines.append({"au": au, "name": facs_name(au), "cells": cells})
    cells = [{m: group.estimate(group.scored, m) if group.scored else None for m in MEASURES} for group in groups]
    lines.append({"au": tables.MEAN, "name": "of the AUs with a number", "cells": cells})
    return {"corpus": corpus, "groups": [tables.name(group.key) for group in groups], "lines": lines}


def _differences(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """A row for each pair of groups, with all measures."""
    found: dict[tuple[Key, Key], dict[str, Any]] = {}
    for one in differences:
        about = {
            "first": tables.name(one.first, one.second),
            "second": tables.name(one.second, one.first),
            "tested_on": one.first.tested_on,
            "aus": len(one.aus),
            "tests": one.tests,
            "of_samples": one.first.samples != one.second.samples,
        }
        found.setdefault((one.first, one.second), about)[one.measure] = {
            "value": signed(one.value),
            "low": signed(one.low),
            "high": signed(one.high),
            "resamples": one.resamples,
            "excludes_zero": one.low > 0 or one.high < 0,
        }
    return list(found.values())


def _data(study: Study) -> list[dict[str, Any]]:
    """Frames, subjects and prevalence of each test set, AU by AU; a set that several runs share counts once."""
    found: dict[str, dict[str, Any]] = {}
    for one in study.tested:
        test = one.predictions
        folds = [str(other.run.fold) for other in study.tested if other.predictions.faces == test.faces]
        entry = found.setdefault(
            test.faces,
            {
                "corpus": test.test.name,
                "fold": ", ".join(sorted(set(folds) - {"None"})) if test.test.within else "",
                "frames": len(test.labels),
                "subjects": len(set(test.subjects)),
                "aus": {},
            },
        )
        for i, au in enumerate(test.aus):
            known = test.labels[:, i][~_isnan(test.labels[:, i])]
            entry["aus"].setdefault(au, {"n": len(known), "positives": int(known.sum()), "share": _share(known)})
    for entry in found.values():
        entry["aus"] = dict(sorted(entry["aus"].items()))
    return list(found.values())


def _isnan(values: Any) -> Any:
    return values != values


def _share(known: Any) -> float:
    return float(known.mean()) if len(known) else math.nan


def _undefined(study: Study) -> list[str]:
    lines = []
    for one in study.tested:
        without = [au for au, auc in zip(one.aus, one.points[1], strict=True) if not math.isfinite(auc)]
        if without:
            lines.append(f"{one.run.given} on {one.predictions.test.name}: {', '.join(without)}")
    return lines


def _files(study: Study) -> list[dict[str, Any]]:
    folder = study.settings.out / "predictions"
    return [
        {
            "run": one.run.given,
            "system": one.run.system,
            "digest": one.run.digest[:12],
            "seed": one.run.seed,
            "fold": one.run.fold,
            "tested_on": one.predictions.test.name,
            "predictions": cached_path(folder, one.run, one.predictions.test).relative_to(study.settings.out).as_posix(),
        }
        for one in study.tested
    ]
