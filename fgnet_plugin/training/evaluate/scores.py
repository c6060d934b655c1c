"""Scores of runs and of groups of runs, their spread over folds and seeds, and bootstrap intervals over subjects."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np

from fgnet_plugin.action_units import au_number
from fgnet_plugin.comparison.bootstrap import bca_interval
from fgnet_plugin.training.evaluate.predictions import Predictions
from fgnet_plugin.training.evaluate.runs import Run
from fgnet_plugin.utils.arrays import Floats

MEASURES = "f1", "auc"
"""Those that pages and figures show; measures.csv has all."""
COUNTS = "true_positives", "false_positives", "positives"
CONFIDENCE = 0.95
Kind = Literal["points", "samples", "without", "chance"]
"""What is asked of members: scores, those of resamples, those without each subject, those of permutations."""


@dataclass(frozen=True, eq=False)
class Tested:
    """One run on one test: a replicate of its group. M measures (F1 and AUC first), A AUs, B resamples, U subjects."""

    run: Run
    predictions: Predictions
    measures: tuple[str, ...]
    """Keys of `comparison.measures.TITLES`, then the counts in `COUNTS`, [M]."""
    points: Floats
    """[M, A]; NaN for an AU that no face, or every face, has."""
    samples: Floats
    """[M, A, B] the same of resampled subjects; NaN where no face, or every face, of a resample has the AU."""
    without: Floats
    """[M, A, U] the same without each subject."""
    chance: Floats
    """[M, A, P] the same of P permutations: each subject's faces with another subject's activations."""
    subjects: tuple[str, ...] = ()
    """Names of the U subjects; those of one corpus are the same people in other tests."""

    @property
    def aus(self) -> tuple[str, ...]:
        """The A AUs."""
        return self.predictions.aus


@dataclass(frozen=True)
class Key:
    """What the replicates of a group share."""

    system: str
    trained_on: str
    tested_on: str
    within: bool
    samples: int | None
    selection: str
    published_choice: bool


@dataclass(frozen=True)
class Estimate:
    """A score of a group, its spread and its interval; NaN where there is none."""

    value: float
    """Mean over folds of the mean over seeds."""
    low: float
    high: float
    """Limits of the bootstrap interval."""
    resamples: float
    """Share of the resamples that the interval is over, in [0, 1]: those in which every AU of the mean has a score. Where it
    is less than half, there is no interval."""
    sd_folds: float
    """Standard deviation over folds (n − 1) of the mean over seeds."""
    sd_seeds: float
    """Standard deviation over seeds (n − 1) within a fold, pooled over folds."""


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in fold and seed only, tested on one corpus."""

    key: Key
    members: tuple[Tested, ...]
    _known: dict[tuple[tuple[str, ...], str], Estimate] = field(default_factory=dict, repr=False)

    @property
    def aus(self) -> tuple[str, ...]:
        """The AUs of any member, by number."""
        return tuple(sorted({au for member in self.members for au in member.aus}, key=au_number))

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Those with a number: faces with and without it, in at least one test."""
        return tuple(au for au in self.aus if np.isfinite(self.estimate((au,), "auc").value))

    def estimate(self, aus: Sequence[str], measure: str) -> Estimate:
        """The mean over some AUs, those that it has a number of."""
        key = tuple(aus), measure
        if key not in self._known:
            self._known[key] = self._estimate(*key)
        return self._known[key]

    def chance(self, aus: Sequence[str], measure: str) -> tuple[float, float]:
        """What the measure, or its mean over AUs, is without any knowledge of the faces: mean, and the noise floor.

        The noise floor is the 95 % quantile (of errors, the 5 % quantile) over permutations of subjects: what lies beyond it is
        seen in one of twenty detectors that know nothing. NaN for measures of intensities.
        """
        found = _samples(self.members, tuple(aus), measure, "chance")
        found = found[np.isfinite(found)]
        return (float(found.mean()), float(np.quantile(found, CONFIDENCE))) if len(found) else (np.nan, np.nan)

    def pooled_f1(self, aus: Sequence[str]) -> Estimate:
        """F1 of the decisions on all folds' faces, and all of these AUs, taken together (F1-micro); no spread."""
        kinds: tuple[Kind, ...] = "points", "samples", "without"
        point, samples, without = (self._pooled(aus, kind) for kind in kinds)
        low, high = bca_interval(float(point), samples, without, CONFIDENCE)
        return Estimate(float(point), low, high, float(np.isfinite(samples).mean()), np.nan, np.nan)

    def _pooled(self, aus: Sequence[str], kind: Kind) -> Floats:
        """F1 of sums over members and AUs, of each resample; NaN where no face has one of the AUs."""
        true, false, positive = (
            np.nansum([_picked(self.members, member, tuple(aus), name, kind) for member in self.members], axis=(0, 1))
            for name in COUNTS
        )
        return np.asarray(2 * true / np.where(positive > 0, true + false + positive, np.nan))

    def _estimate(self, aus: tuple[str, ...], measure: str) -> Estimate:
        points = [_mean(_pick(member, member.points, aus, measure), 0) for member in self.members]
        samples = _samples(self.members, aus, measure)
        value = float(_mean(_over_folds(self.members, _stack(self.members, aus, measure)), 0))
        low, high = bca_interval(value, samples, _samples(self.members, aus, measure, "without"), CONFIDENCE)
        by_fold = _by_fold(self.members, points)
        means = [float(np.mean(values)) for values in by_fold if np.isfinite(values).all()]
        within = [(len(values) - 1, np.var(values, ddof=1)) for values in by_fold if len(values) > 1]
        degrees = sum(n for n, _ in within)
        return Estimate(
            value,
            low,
            high,
            float(np.isfinite(samples).mean()),
            float(np.std(means, ddof=1)) if len(means) > 1 else np.nan,
            float(np.sqrt(sum(n * variance for n, variance in within) / degrees)) if degrees else np.nan,
        )


@dataclass(frozen=True)
class Difference:
    """Two groups on the same test faces: first minus second, of the mean over the AUs that both have a score of."""

    first: Key
    second: Key
    aus: tuple[str, ...]
    tests: int
    """Test sets that both were tested on."""
    measure: str
    value: float
    low: float
    high: float
    resamples: float
    """See `Estimate`; those in which both groups' means have all their AUs."""


def groups(all_tested: Sequence[Tested]) -> list[Group]:
    """Replicates together, in the order in which groups first appear; few-sample groups by rising samples, all frames last."""
    found: dict[Key, list[Tested]] = {}
    for one in all_tested:
        run, test = one.run, one.predictions.test
        key = Key(run.system, run.trained_on, test.name, test.within, run.samples, run.selection, run.published_choice)
        found.setdefault(key, []).append(one)
    places = {name: i for i, name in enumerate(dict.fromkeys(key.tested_on for key in found))}
    systems = {name: i for i, name in enumerate(dict.fromkeys(key.system for key in found))}

    def order(key: Key) -> tuple[Any, ...]:
        most = key.samples is None
        return places[key.tested_on], key.trained_on, systems[key.system], key.selection, most, key.samples or 0

    return [Group(key, tuple(found[key])) for key in sorted(found, key=order)]


def shared_aus(all_groups: Sequence[Group]) -> tuple[str, ...]:
    """The AUs that every group has a score of, by number."""
    return tuple(sorted(set.intersection(*(set(group.scored) for group in all_groups)), key=au_number)) if all_groups else ()


def differences(all_groups: Sequence[Group]) -> list[Difference]:
    """Every two groups on the same faces that differ in one thing: system, training corpus, samples, or choice of epoch."""
    found = []
    for one, other in combinations(all_groups, 2):
        names = ("system", "trained_on", "samples", "selection")
        if one.key.tested_on == other.key.tested_on and sum(getattr(one.key, n) != getattr(other.key, n) for n in names) == 1:
            found += [difference for measure in MEASURES if (difference := _difference(one, other, measure)) is not None]
    return found


def _difference(one: Group, other: Group, measure: str) -> Difference | None:
    common = {member.predictions.faces for member in one.members} & {member.predictions.faces for member in other.members}
    aus = tuple(au for au in one.scored if au in other.scored)
    first, second = ([m for m in group.members if m.predictions.faces in common] for group in (one, other))
    if not common or not aus or not _same_labels(first, second, aus):
        return None
    values, samples, without = [], [], []
    for members in (first, second):
        by = [member.predictions.faces for member in members]
        values.append(float(_mean(_over_folds(members, _stack(members, aus, measure), by), 0)))
        samples.append(_samples(members, aus, measure, "samples", by))
        without.append(_samples(members, aus, measure, "without", by))
    value, paired = values[0] - values[1], samples[0] - samples[1]
    low, high = bca_interval(value, paired, without[0] - without[1], CONFIDENCE)
    share = float(np.isfinite(paired).mean())
    return Difference(one.key, other.key, aus, len(common), measure, value, low, high, share)


def _same_labels(first: Sequence[Tested], second: Sequence[Tested], aus: Sequence[str]) -> bool:
    """Whether tests of the same faces also have the same labels: thresholds may differ."""
    known: dict[str, Any] = {}
    for member in (*first, *second):
        labels = member.predictions.labels[:, [member.aus.index(au) for au in aus if au in member.aus]]
        before = known.setdefault(member.predictions.faces, labels)
        if not np.array_equal(before, labels, equal_nan=True):
            return False
    return True


def _pick(member: Tested, values: Floats, aus: Sequence[str], measure: str) -> Floats:
    """[M, A, …] -> [len(aus), …], NaN for AUs and measures that the member lacks, or has no score of."""
    nothing = np.full(values.shape[2:], np.nan)
    if measure not in member.measures:
        return np.stack([nothing for _ in aus])
    k = member.measures.index(measure)
    defined = np.isfinite(member.points[k])
    at = {au: i for i, au in enumerate(member.aus)}
    return np.stack([values[k, at[au]] if au in at and defined[at[au]] else nothing for au in aus])


def _stack(members: Sequence[Tested], aus: Sequence[str], measure: str) -> Floats:
    return np.stack([_pick(member, member.points, aus, measure) for member in members])


def _picked(members: Sequence[Tested], member: Tested, aus: Sequence[str], measure: str, kind: Kind) -> Floats:
    """What `_pick` gives; without each subject, [len(aus), subjects of all members]: one whom a test lacks changes nothing."""
    found = _pick(member, getattr(member, kind), aus, measure)
    if kind != "without":
        return found
    everybody = sorted({(one.predictions.test.name, subject) for one in members for subject in one.subjects})
    at = {(member.predictions.test.name, subject): i for i, subject in enumerate(member.subjects)}
    whole = _pick(member, member.points, aus, measure)
    return np.stack([found[:, at[who]] if who in at else whole for who in everybody], axis=1)


def _samples(
    members: Sequence[Tested],
    aus: Sequence[str],
    measure: str,
    kind: Kind = "samples",
    by: Sequence[Any] | None = None,
) -> Floats:
    """[B] the group's mean over AUs in each resample; NaN where one of the scores that the group's own mean is of is missing.

    A mean over what is left would be that of other AUs: where a rare AU is missing, often of easier ones.
    """
    stacked = np.stack([_picked(members, member, aus, measure, kind) for member in members])
    missing = np.isnan(stacked) & np.isfinite(_stack(members, aus, measure))[..., None]
    return np.where(missing.any(axis=(0, 1)), np.nan, _mean(_over_folds(members, stacked, by), 0))


def _over_folds(members: Sequence[Tested], values: Floats, by: Sequence[Any] | None = None) -> Floats:
    """[members, …] -> mean over folds (or `by`) of the means over their seeds."""
    folds = [member.run.fold for member in members] if by is None else by
    rows: Callable[[Any], list[int]] = lambda fold: [i for i, of_one in enumerate(folds) if of_one == fold]  # noqa: E731
    return _mean(np.stack([_mean(values[rows(fold)], 0) for fold in dict.fromkeys(folds)]), 0)


def _by_fold(members: Sequence[Tested], values: Sequence[Any]) -> list[Floats]:
    found: dict[int | str | None, list[float]] = {}
    for member, value in zip(members, values, strict=True):
        found.setdefault(member.run.fold, []).append(float(value))
    return [np.array(of_fold) for of_fold in found.values()]


def _mean(values: Floats, axis: int) -> Floats:
    """Of what is defined."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=axis))
