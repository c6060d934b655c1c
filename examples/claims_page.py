"""Table, plot and text of `claims.py`, from what was trained."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claims_gate import CODES, LANDMARKS, MAPS, MARGIN, PIXELS, RANDOM, margins

if TYPE_CHECKING:
    from fgnet_plugin.training.evaluate.scores import Group
    from fgnet_plugin.training.evaluate.study import Study

FROZEN, TUNED, SCRATCH = "FG-Net, pretrained and frozen", "FG-Net, pretrained and tuned", "FG-Net from random weights"
ENCODER, RESNET = "encoder with a linear layer, pretrained and tuned", "ResNet-18 from random weights"
ARMS = {FROZEN: "#1b6ca8", TUNED: "#4fb0c6", ENCODER: "#e0a030", SCRATCH: "#d1495b", RESNET: "#8a8d91"}
"""The arms, cheapest trainings first, and their colours."""
PAIRS = (TUNED, SCRATCH), (FROZEN, SCRATCH), (TUNED, ENCODER), (TUNED, RESNET)
"""Whose differences the page shows, first less second."""
BEGIN, END = "<!-- Figures: make claims writes them. -->", "<!-- End of the figures. -->"
MEASURES = {"auc": "AUC", "f1": "F1"}
WHERE = {"within": "tested on the same domain", "across": "tested on a domain that nothing has seen"}
Row = dict[str, Any]


def evaluate_all(out: Path, runs: Sequence[tuple[Path, str]], corpora: tuple[tuple[str, str], ...]) -> Study:
    """Tests all runs on both domains, with intervals over faces."""
    from fgnet_plugin.training.evaluate.evaluation import evaluate
    from fgnet_plugin.training.evaluate.study import Settings
    from fgnet_plugin.training.evaluate.test_sets import Requested

    names = tuple({str(folder.parent) + "*": arm for folder, arm in runs}.items())
    folders = tuple(str(folder) for folder, _ in runs)
    settings = Settings(folders, out / "evaluation", Requested(on=corpora), names, bootstrap=400, batch_size=50)
    return evaluate(settings, say=lambda line: None)


def table(study: Study) -> list[Row]:
    """A row for each arm, number of labelled faces and test: means over AUs and seeds, and their spread over seeds."""
    rows: list[Row] = []
    for arm in ARMS:
        for group in sorted((g for g in study.groups if g.key.system == arm), key=_order):
            row: Row = {"arm": arm, "labelled_faces": group.key.samples, "test": _where(group), "seeds": len(group.members)}
            for measure in MEASURES:
                found = group.estimate(group.scored, measure)
                row |= {measure: round(found.value, 4), f"{measure}_low": round(found.low, 4)}
                row |= {f"{measure}_high": round(found.high, 4)}
                row[f"{measure}_sd"] = round(found.sd_seeds, 4) if len(group.members) > 1 else ""
            rows.append(row)
    return rows


def compared(study: Study) -> list[Row]:
    """A row for each of `PAIRS`, number of labelled faces, test and measure: the difference and its 95 % interval."""
    rows: list[Row] = []
    for pair in PAIRS:
        for found in study.differences:
            one, other = found.first, found.second
            if {one.system, other.system} != set(pair) or one.samples != other.samples:
                continue
            sign = 1 if one.system == pair[0] else -1
            low, high = sorted((sign * found.low, sign * found.high))
            test = "within" if one.within else "across"
            row: Row = {"first": pair[0], "second": pair[1], "labelled_faces": one.samples, "test": test}
            rows.append(row | {"measure": found.measure, "difference": sign * found.value, "low": low, "high": high})
    return sorted(rows, key=lambda row: row["labelled_faces"])


def _order(group: Group) -> tuple[int, bool]:
    return group.key.samples or 0, not group.key.within


def _where(group: Group) -> str:
    return "within" if group.key.within else "across"


def plot(rows: Sequence[Row], path: Path) -> None:
    """AUC over the number of labelled faces, within and across, mean and standard deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), sharey=True)
    for axis, (where, title) in zip(axes, WHERE.items(), strict=True):
        for arm, colour in ARMS.items():
            of = [row for row in rows if (row["arm"], row["test"]) == (arm, where)]
            style = {"color": colour, "marker": "o", "ms": 5, "lw": 1.8, "capsize": 3, "label": arm}
            spread = [row["auc_sd"] or 0 for row in of]
            axis.errorbar([row["labelled_faces"] for row in of], [row["auc"] for row in of], spread, **style)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set(xscale="log", xlabel="labelled faces")
        ticks = sorted({row["labelled_faces"] for row in rows})
        axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axis.minorticks_off()
        axis.axhline(0.5, color="#bbbbbb", lw=0.8, ls="--")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#eeeeee")
    axes[0].set_ylabel("AUC, mean over AUs")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8.5, loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.17, 1, 1))
    figure.savefig(path, dpi=150)


def of_gate(gate: dict[str, float], aus: int) -> list[str]:
    """The gate's table, and whether it was passed."""
    over_random, over_pixels = margins(gate)
    lines = [f"| linear probe of | AUC, mean over {aus} AUs |", "| --- | --- |"]
    names = (CODES, CODES + RANDOM, MAPS, MAPS + RANDOM, PIXELS, LANDMARKS)
    lines += [f"| {name} | {gate[name]:.3f} |" for name in names]
    passed = min(over_random, over_pixels) >= MARGIN
    lines += [
        "",
        f"The gate is {'' if passed else 'not '}passed: the better of codes and maps exceeds the same of random weights by "
        f"{over_random:.3f}, and pixels by {over_pixels:.3f}; {MARGIN:.2f} are asked of either.",
    ]
    if not passed:
        lines += ["", "**So the table below is inconclusive about the paper**; it is about these weights alone."]
    return lines


def of_table(rows: Sequence[Row]) -> list[str]:
    """The table of all arms."""
    lines = [
        "| labelled faces | arm | AUC within | AUC across | F1 within | F1 across |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    cells = {(row["labelled_faces"], row["arm"], row["test"]): row for row in rows}
    for samples in sorted({row["labelled_faces"] for row in rows}):
        for arm in ARMS:
            texts = []
            for measure in MEASURES:
                for where in WHERE:
                    row = cells.get((samples, arm, where))
                    spread = row[f"{measure}_sd"] if row else ""
                    texts.append(f"{row[measure]:.3f}" + (f" ± {spread:.3f}" if spread != "" else "") if row else "")
            if any(texts):
                lines.append(f"| {samples:,} | {arm} | {' | '.join(texts)} |")
    return lines


def of_differences(rows: Sequence[Row]) -> list[str]:
    """The table of paired differences of AUC."""
    lines = ["| labelled faces | difference of AUC | within | across |", "| --- | --- | --- | --- |"]
    for samples in sorted({row["labelled_faces"] for row in rows}):
        for one, other in PAIRS:
            texts = []
            for where in WHERE:
                of = [
                    row
                    for row in rows
                    if (row["first"], row["second"], row["labelled_faces"]) == (one, other, samples)
                    and (row["test"], row["measure"]) == (where, "auc")
                ]
                texts.append("".join(f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]" for row in of))
            if any(texts):
                lines.append(f"| {samples:,} | {one} − {other} | {' | '.join(texts)} |")
    return lines


def write_page(
    docs: Path,
    out: Path,
    runs: Sequence[tuple[Path, str]],
    corpora: tuple[tuple[str, str], ...],
    gate: dict[str, float],
    rates: dict[str, float],
    pretraining: float,
    seconds: Sequence[float],
) -> None:
    """Writes ``claims.csv`` and ``claims.png``, and the figures in ``claims.md``, of which words about them are kept.

    Args:
        docs: where they go.
        out: where the evaluation goes.
        runs: folder and arm of each training.
        corpora: name and label file of the tests.
        gate: see `claims_gate.run_gate`.
        rates: each arm's.
        pretraining: how long it took, s.
        seconds: how long the trainings took.
    """
    study = evaluate_all(out, runs, corpora)
    rows, differences = table(study), compared(study)
    with (docs / "claims.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, docs / "claims.png")
    import torch

    aus = study.groups[0].scored
    seeds = sorted({row["seeds"] for row in rows})
    chosen = "; ".join(f"{arm} {rate:g}" for arm, rate in rates.items())
    lines = [
        *of_gate(gate, len(aus)),
        "",
        *of_table(rows),
        "",
        f"Means over {len(aus)} AUs ({' '.join(aus)}) and {' or '.join(map(str, seeds))} seed{'s' * (seeds != [1])}"
        f"{', ± standard deviation over them' * (seeds != [1])}. Rates: "
        f"{chosen}.",
        "",
        *of_differences(differences),
        "",
        "In brackets 95 % intervals over the test's faces, the same faces for both.",
        "",
        f"`make claims`: pretraining {pretraining / 60:.0f}, {len(seconds)} trainings {sum(seconds) / 60:.0f} minutes of one "
        f"core; {os.cpu_count()} cores of {_processor()}, torch {torch.__version__}.",
    ]
    page, figures = docs / "claims.md", "\n".join([BEGIN, "", *lines, "", END])
    words = page.read_text(encoding="utf-8") if page.is_file() else f"{BEGIN}\n{END}\n"
    before, _, rest = words.partition(BEGIN)
    page.write_text(before + figures + rest.partition(END)[2], encoding="utf-8")


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
