"""Make probabilities of scores, by a sample that people have coded: `calibrate`, `calibrated`, `conformal_sets`."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fgnet_plugin.action_units import facs_name
from fgnet_plugin.comparison.tables import read_model
from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.coded import AUSample, coded_faces
from fgnet_plugin.measures.conformal import Limits, limits, people_needed
from fgnet_plugin.measures.curves import Curve, Decision, Method, Threshold, check_options, choose, fit, held_out
from fgnet_plugin.measures.origin import described, origin_of
from fgnet_plugin.measures.reliability import Reliability, plot_reliability, reliability
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.made_by import MadeBy
from fgnet_plugin.utils.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMAT, _VERSION = "fgnet-plugin calibration", 1
_APPLIED = "calibrated"


@dataclass(frozen=True)
class AUCalibration:
    """Of one AU."""

    n: int
    """Coded faces."""
    subjects: int
    prevalence: float
    curve: Curve
    decision: Decision
    before: Reliability
    """Of the scores, taken as probabilities."""
    after: Reliability
    """Of the probabilities, each by a curve that was fitted without its subject."""
    limits: Limits


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found; `save` and `read` keep it in a JSON file.

    Example:
        >>> calibration = Calibration.read("calibration.json")  # doctest: +SKIP
        >>> calibration.report[["AU", "ece_before", "ece", "threshold"]]  # doctest: +SKIP
    """

    made_by: MadeBy
    """What made the scores: it holds for no others."""
    method: Method
    threshold: Threshold
    coverage: float
    """Of the conformal sets."""
    aus: dict[str, AUCalibration]

    @property
    def report(self) -> pd.DataFrame:
        """One row for each AU: Brier score and ECE before and after with intervals by subject, threshold, precision, recall."""
        rows = []
        for au, of in self.aus.items():
            row: dict[str, Any] = {
                "AU": au,
                "name": facs_name(au),
                "n": of.n,
                "subjects": of.subjects,
                "prevalence": of.prevalence,
            }
            for name in ("brier", "ece"):
                for when, found in (("_before", of.before), ("", of.after)):
                    row |= dict(
                        zip((f"{name}{when}", f"{name}{when}_low", f"{name}{when}_high"), getattr(found, name), strict=True)
                    )
            rows.append(row | asdict(of.decision) | asdict(of.limits))
        return pd.DataFrame(rows)

    def check(self, made: MadeBy) -> None:
        """Raise InputError for scores that it was not made for."""
        if made != self.made_by:
            raise InputError(
                f"the calibration is for {described(self.made_by)}, and the table is of {described(made)}: scores of other"
                " weights or face models mean something else; code a sample of these and calibrate it"
            )

    def plot(self) -> Figure:
        """Plot the reliability diagram of each AU, before and after; needs matplotlib."""
        return plot_reliability({au: of.after for au, of in self.aus.items()}, {au: of.before for au, of in self.aus.items()})

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        content = {"format": _FORMAT, "version": _VERSION, **_to_json(asdict(self))}
        with atomic_write(Path(path)) as part:
            part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @staticmethod
    def read(path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError, InputError: no such file; a file of another kind, or a damaged one.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
                raise InputError(f"{path} is no calibration: fgnet calibrate writes them")
            version = content.pop("version", None)
            if version != _VERSION:
                raise InputError(f"{path} is a calibration of version {version}; this package reads version {_VERSION}")
            aus = {au: _of_au(of) for au, of in content.pop("aus").items()}
            found = Calibration(MadeBy(**content.pop("made_by")), aus=aus, **content)
            check_options(found.method, found.threshold)
            return found
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is a damaged calibration ({error})") from error


def calibrate(
    fex: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    subject: str,
    method: Method = "isotonic",
    threshold: Threshold = "youden",
    coverage: float = 0.9,
    made_by: MadeBy | str | Path | None = None,
    folds: int = 5,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Learn from coded faces how probable each AU is at a score.

    Args:
        fex: scores, as `comparison.compare` takes them.
        labels: FACS codes of some of its faces, matched as there; ``weight``, if there, as `coding_sheet` writes it.
        subject: column, of either table, that says who is filmed. Nothing is judged on a person that it was learnt from.
        method: "isotonic", any rising curve, from about 1,000 coded faces; "platt", a logistic curve, for fewer.
        threshold: probability from which an AU counts as present: that of the largest "youden" index, or "f1", or the smallest
            that has a wanted precision, such as 0.9.
        coverage: of the conformal sets.
        made_by: what made the scores, where the table does not say it; see `origin_of`.
        folds: of the cross-validation by subject; fewer where fewer subjects have the AU.
        bootstrap: resamples of subjects for the intervals.
        seed: of folds and resamples.

    Raises:
        InputError: tables that can't be matched; a table of unknown origin; no AU that two people show and two lack in some
            face.
        ValueError: options out of range.

    AUs that can't be calibrated are left out with a warning.

    Example:
        >>> from fgnet_plugin.measures.origin import made_by
        >>> rng = np.random.default_rng(0)
        >>> smiles = rng.random(400) < 0.4
        >>> fex = pd.DataFrame({"input": "film.mp4", "frame": range(400), "subject": np.arange(400) // 20})
        >>> fex["AU12"] = 0.3 * smiles + 0.7 * rng.random(400)
        >>> labels = fex[["input", "frame"]].assign(AU12=smiles.astype(int))
        >>> scored_by = made_by("xgb", "retinaface", "mobilefacenet")
        >>> found = calibrate(fex, labels, subject="subject", method="platt", made_by=scored_by, bootstrap=100)
        >>> found.report[["AU", "n", "brier_before", "brier"]].round(3).to_dict("records")
        [{'AU': 'AU12', 'n': 400, 'brier_before': 0.16, 'brier': 0.146}]
    """
    check_options(method, threshold)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage}")
    if folds < 2 or bootstrap < 1:
        raise ValueError(f"folds must be at least 2 and bootstrap at least 1, got {folds} and {bootstrap}")
    if _APPLIED in fex.attrs:
        raise InputError("the scores are calibrated already: calibrate the table that they were made of")
    made = origin_of(fex, made_by, "the table of scores")
    coded = coded_faces(fex, labels, subject)
    found, left_out = {}, []
    for au in coded.scores:
        sample = coded.of(str(au))
        fewest = min(sample.subjects_with(True), sample.subjects_with(False))
        if fewest < 2:
            showing = counted(sample.subjects_with(True), "person", "people")
            left_out.append(f"{au} ({showing} with it, {sample.subjects_with(False)} without)")
            continue
        found[str(au)] = _calibrated_au(str(au), sample, method, threshold, coverage, min(folds, fewest), bootstrap, seed)
    if not found:
        raise InputError(
            f"two people with an AU and two without it are needed to calibrate it; there are {', '.join(left_out)}"
        )
    if left_out:
        warnings.warn(f"too few people to calibrate {', '.join(left_out)}: left out", stacklevel=2)
    return Calibration(made, method, threshold, coverage, found)


def calibrated(
    fex: pd.DataFrame, calibration: Calibration | str | Path, *, made_by: MadeBy | str | Path | None = None
) -> pd.DataFrame:
    """Turn the scores of a table into probabilities, and say which AUs are present.

    Args:
        fex: of the weights and face models that the calibration was made for.
        calibration: from `calibrate`, or its file.
        made_by: what made the scores, where the table does not say it; see `origin_of`.

    Returns:
        A copy. Its AUs are probabilities; AUs that the calibration lacks are NaN, with a warning, because their scores mean
        something else. Columns such as ``AU12_present`` are added: 1.0, 0.0 or NaN. The attribute "calibrated" of the table
        says how.

    Raises:
        InputError: scores of other or unknown weights or face models; scores that are calibrated already.

    Example:
        >>> probable = calibrated(fex, "calibration.json")  # doctest: +SKIP
        >>> probable[["AU12", "AU12_present"]].mean()  # doctest: +SKIP
    """
    found, scores = _applied(fex, calibration, made_by)
    table, present = fex.copy(), {}
    values = {str(name): str(name).strip() for name in fex.columns}
    columns = {au: name for name, au in values.items() if au in scores}
    for au, score in scores.items():
        if au in found.aus:
            probability = found.aus[str(au)].curve(score.to_numpy())
            level = found.aus[str(au)].decision.threshold
            decided = np.where(np.isnan(probability) | math.isnan(level), np.nan, probability >= level)
            present[f"{au}_present"] = decided.astype(float)
        else:
            probability = np.full(len(table), np.nan)
        table[columns.get(str(au), str(au))] = probability
    unknown = [str(au) for au in scores if au not in found.aus]
    if unknown:
        warnings.warn(
            f"the calibration lacks {', '.join(unknown)}: NaN, because uncalibrated scores mean something else", stacklevel=2
        )
    table[list(present)] = pd.DataFrame(present, index=table.index)
    table.attrs[_APPLIED] = {"method": found.method, "threshold": found.threshold, "weights": found.made_by.weights}
    return table


def conformal_sets(
    fex: pd.DataFrame, calibration: Calibration | str | Path, *, made_by: MadeBy | str | Path | None = None
) -> pd.DataFrame:
    """Say of each face and AU "present", "absent" or "undecided", right or undecided in at least `Calibration.coverage` of
    faces.

    Args:
        fex, calibration, made_by: as of `calibrated`; the scores, not what `calibrated` made of them.

    Returns:
        [rows, AUs of the calibration] of text, None where there is no score. See `conformal.limits` for what the coverage is
        about.

    Raises:
        InputError: as `calibrated`.

    Example:
        >>> conformal_sets(fex, "calibration.json")["AU12"].value_counts()  # doctest: +SKIP
    """
    found, scores = _applied(fex, calibration, made_by)
    known = [au for au in found.aus if au in scores]
    return pd.DataFrame({au: found.aus[au].limits.sets(scores[au].to_numpy()) for au in known}, index=fex.index)


def _applied(
    fex: pd.DataFrame, calibration: Calibration | str | Path, made_by: MadeBy | str | Path | None
) -> tuple[Calibration, pd.DataFrame]:
    """Read the calibration and the scores [n, AUs] that it may be applied to."""
    found = calibration if isinstance(calibration, Calibration) else Calibration.read(calibration)
    if _APPLIED in fex.attrs:
        raise InputError("the scores are calibrated already")
    found.check(origin_of(fex, made_by))
    scores = read_model("table", fex, 0.5).values
    missing = [au for au in found.aus if au not in scores]
    if missing:
        warnings.warn(f"the table lacks {', '.join(missing)}, which the calibration knows", stacklevel=3)
    return found, scores


def _calibrated_au(
    au: str, sample: AUSample, method: Method, threshold: Threshold, coverage: float, folds: int, bootstrap: int, seed: int
) -> AUCalibration:
    truth, subject, weight = sample.truth, sample.subject, sample.weight
    curve = fit(method, sample.score, truth, weight)
    probability = held_out(method, sample, folds, seed)
    decision = choose(threshold, probability, truth, weight)
    if math.isnan(decision.threshold):
        warnings.warn(f"{au}: no threshold has a precision of {threshold}; {au}_present will be NaN", stacklevel=3)
    if (method == "platt" and curve.x[0] <= 0) or (method == "isotonic" and curve.y[0] == curve.y[-1]):
        warnings.warn(f"{au}: the score says nothing about the labels, or the contrary of them; check both", stacklevel=3)
    sets = limits(sample, coverage)
    if math.isinf(sets.present_from) or math.isinf(sets.absent_to):
        few = min(sample.subjects_with(True), sample.subjects_with(False))
        warnings.warn(
            f"{au}: a coverage of {coverage} needs {people_needed(coverage)} people with the AU and as many without; there are"
            f" {few} of one kind, so that faces stay undecided",
            stacklevel=3,
        )
    before, after = (
        reliability(p, truth, subject, weight, bootstrap, seed=seed) for p in (sample.score.clip(0, 1), probability)
    )
    prevalence = float(np.average(truth, weights=weight))
    return AUCalibration(len(truth), len(sample.names), prevalence, curve, decision, before, after, sets)


def _of_au(content: dict[str, Any]) -> AUCalibration:
    kinds = {"curve": Curve, "decision": Decision, "before": Reliability, "after": Reliability, "limits": Limits}
    parts: dict[str, Any] = {name: kind(**_from_json(content[name])) for name, kind in kinds.items()}
    curve = parts["curve"]
    numbers = np.array([*curve.x, *curve.y, *asdict(parts["limits"]).values()], float)
    if len(curve.x) != (len(curve.y) or 2) or np.isnan(numbers).any() or (curve.y and sorted(curve.x) != list(curve.x)):
        raise ValueError("a curve without its knots")
    return AUCalibration(**{**content, **parts})


def _to_json(value: Any) -> Any:
    """Replace what JSON lacks: NaN by null, infinity by text."""
    if isinstance(value, dict):
        return {name: _to_json(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(of) for of in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _from_json(value: Any) -> Any:
    """Undo `_to_json`; lists become tuples."""
    if isinstance(value, dict):
        return {name: _from_json(of) for name, of in value.items()}
    if isinstance(value, list):
        return tuple(_from_json(of) for of in value)
    return math.nan if value is None else float(value) if value in ("inf", "-inf") else value
