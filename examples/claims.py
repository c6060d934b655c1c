"""The paper's claims on rendered corpora: does pretraining help FG-Net within a corpus, across corpora, with few labels?

python examples/claims.py [--out outputs/claims] [--jobs 2] [--docs docs]

Two corpora that look different, A and B, with AUs that are known. Three systems: FG-Net whose generator and encoder were
trained before on unlabelled faces of both kinds (and of a third), FG-Net from random weights, and a ResNet-18 from random
weights. Each is trained on 100, 1000 and all labelled faces of one corpus, with three seeds, and tested on unseen faces of
both. A run that was interrupted goes on with the same command. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

CORPORA = {"A": "studio", "B": "street"}
SEEDS = {"train": 61_000_000, "val": 62_000_000, "test": 63_000_000}
"""Of the rendered faces: none of them was seen in the pretraining."""
SCRATCH, PRETRAINED, BASELINE = "FG-Net from scratch", "FG-Net pretrained", "ResNet-18 from scratch"
LIMITS = """\
Mean and standard deviation over {seeds} seeds of the mean of both directions, in the plot, too. What to keep in mind: generator
and encoder have seen unlabelled faces of *both* corpora, so "across" is not a test on a kind of face that nothing has seen;
the best of five validations is chosen on {val} more labelled faces of the corpus that is trained on, in every row; all three
systems have as many steps, and a learning rate that suits them; both FG-Nets have the auxiliary head of the configs
for rendered faces, without which neither leaves chance in so few steps.
"""
COLOURS = {PRETRAINED: "#1b6ca8", SCRATCH: "#d1495b", BASELINE: "#8a8d91"}


@dataclass(frozen=True)
class Plan:
    """How much is drawn and trained."""

    faces: dict[str, int]
    """Faces of each part of a corpus."""
    budget: dict[int, tuple[int, int]]
    """Labelled faces -> epochs, and batches of 16 an epoch; the last entry is all there are."""


FULL = Plan({"train": 4800, "val": 300, "test": 1000}, {100: (100, 6), 1000: (10, 60), 4800: (5, 120)})
"""600 steps for each."""
REHEARSAL = Plan({"train": 48, "val": 24, "test": 32}, {20: (1, 1), 48: (1, 2)})


@dataclass(frozen=True)
class Job:
    """One training."""

    plan: Plan
    system: str
    corpus: str
    samples: int
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it writes to."""
        return out / "runs" / self.system.replace(" ", "-") / f"{self.corpus}-{self.samples}-seed{self.seed}"

    def settings(self, out: Path, pretrained: str) -> list[str]:
        """What differs from ``claims.yaml``."""
        epochs, batches = self.plan.budget[self.samples]
        corpora, every = out / "corpora", max(1, epochs // 5)
        system = {
            SCRATCH: [],
            PRETRAINED: [f"model.start_from={pretrained}", "model.size=null", "model.architecture={}"],
            BASELINE: [
                "model.baseline=resnet18",
                "model.architecture={}",
                "guide.labels=0",
                "guide.landmarks=0",
                "optimiser.lr=1e-3",
            ],
        }[self.system]
        return [
            f"data.csv.train={corpora / self.corpus / 'train' / 'faces.csv'}",
            f"data.csv.val={corpora / self.corpus / 'val' / 'faces.csv'}",
            f"data.csv.samples={self.samples if self.samples < self.plan.faces['train'] else 'null'}",
            f"optimiser.epochs={epochs}",
            f"optimiser.batches_per_epoch={batches}",
            f"optimiser.validate_every={every}",
            f"trainer.seed={self.seed}",
            f"trainer.out={self.folder(out)}",
            f"export.corpus={self.corpus}",
            *system,
        ]


def grid(plan: Plan, systems: Iterable[str], seeds: int) -> list[Job]:
    """All trainings, seed by seed, so that an early look shows every cell."""
    cells = product(range(seeds), plan.budget, CORPORA, list(systems))
    return [Job(plan, system, corpus, samples, seed) for seed, samples, corpus, system in cells]


def is_done(path: Path, settings: Sequence[str]) -> bool:
    """Whether something was made with these settings. Raises ValueError where it was made with others."""
    if not path.is_file():
        return False
    if json.loads(path.read_text(encoding="utf-8"))["settings"] != list(settings):
        raise ValueError(f"{path.parent} was made with other settings: delete it, or give another --out")
    return True


def record(path: Path, settings: Sequence[str], **more: float) -> None:
    """Writes what `is_done` looks for."""
    path.write_text(json.dumps({"settings": list(settings), **more}, indent=1) + "\n", encoding="utf-8")


def draw(plan: Plan, out: Path) -> None:
    """Draws both corpora, where they are not there yet."""
    from fgnet_plugin.training.config.detector import RENDERER
    from fgnet_plugin.training.rendered import write_corpus

    for name, kind in CORPORA.items():
        for part, count in plan.faces.items():
            folder = out / "corpora" / name / part
            settings = [f"{count} faces of {kind}, seed {SEEDS[part]}, renderer {RENDERER}"]
            if not is_done(folder / "done.json", settings):
                write_corpus(folder, (kind,), count, 64, SEEDS[part], workers=2, renderer="masks")
                record(folder / "done.json", settings)


def train(job: Job, out: Path, pretrained: str) -> tuple[Job, float]:
    """One training; returns how many seconds it took."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.train import train_detector
    from fgnet_plugin.utils.files import sha256

    start, file, settings = time.monotonic(), job.folder(out) / "done.json", job.settings(out, pretrained)
    about = [*settings, f"sha256 {sha256(Path(pretrained))}"] if job.system == PRETRAINED else settings
    if not is_done(file, about):
        train_detector(read_detector("claims", settings), resume=True)
        record(file, about, seconds=round(time.monotonic() - start, 1))
    return job, json.loads(file.read_text(encoding="utf-8"))["seconds"]


def check_sizes(pretrained: str) -> None:
    """Raises ValueError where the pretrained parts have other sizes than what is trained from scratch."""
    from fgnet_plugin.checkpoints.pretrained import read_pretrained
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.yaml_dataclass import differences, plain

    sizes = read_detector("claims").model.config(), read_pretrained(pretrained).config()
    found = differences(*map(plain, sizes))
    if found:
        raise ValueError(f"{pretrained} has other sizes than claims.yaml, which would be compared, too: {'; '.join(found)}")


def scores(out: Path, jobs: Sequence[Job]) -> list[dict[str, str]]:
    """Rows of ``scores.csv``, all runs tested on both corpora."""
    from fgnet_plugin.training.evaluate.evaluation import evaluate
    from fgnet_plugin.training.evaluate.study import Settings
    from fgnet_plugin.training.evaluate.test_sets import Requested

    tests = Requested(on=tuple((name, str(out / "corpora" / name / "test" / "faces.csv")) for name in CORPORA))
    names = tuple((f"{out / 'runs' / system.replace(' ', '-')}*", system) for system in sorted({job.system for job in jobs}))
    runs = tuple(str(job.folder(out)) for job in jobs)
    evaluate(Settings(runs, out / "evaluation", tests, names, bootstrap=200, batch_size=64), say=lambda line: None)
    with (out / "evaluation" / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summarise(plan: Plan, rows: Sequence[dict[str, str]]) -> list[dict[str, object]]:
    """A row for each system, number of faces and kind of test: means over both directions, spread over seeds."""
    cells: dict[tuple[str, int, str, int], dict[str, list[float]]] = {}
    for row in rows:
        if row["au"] != "mean":
            continue
        where = "within" if row["trained_on"] == row["tested_on"] else "across"
        key = row["system"], int(row["samples"]) if row["samples"].isdigit() else plan.faces["train"], where, int(row["seed"])
        cell = cells.setdefault(key, {"auc": [], "f1": []})
        for measure, values in cell.items():
            if row[measure]:
                values.append(float(row[measure]))
    found = []
    for system in COLOURS:
        for samples in plan.budget:
            for where in ("within", "across"):
                seeds = [cell for key, cell in sorted(cells.items()) if key[:3] == (system, samples, where)]
                if not seeds:
                    continue
                row: dict[str, object] = {"system": system, "labelled_faces": samples, "test": where, "seeds": len(seeds)}
                for measure in ("auc", "f1"):
                    means = [mean(cell[measure]) for cell in seeds]
                    row[measure] = round(mean(means), 4)
                    row[f"{measure}_sd"] = round(stdev(means), 4) if len(means) > 1 else ""
                found.append(row)
    return found


def plot(plan: Plan, rows: Sequence[dict[str, object]], path: Path) -> None:
    """AUC over the number of labelled faces, within and across, mean and standard deviation over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.5), sharey=True)
    for axis, where in zip(axes, ("within", "across"), strict=True):
        for system, colour in COLOURS.items():
            of = [row for row in rows if (row["system"], row["test"]) == (system, where)]
            spread = [row["auc_sd"] or 0 for row in of]
            style = {"color": colour, "marker": "o", "ms": 5, "lw": 1.8, "capsize": 3, "label": system}
            axis.errorbar([row["labelled_faces"] for row in of], [row["auc"] for row in of], spread, **style)
        axis.set_title(
            "tested on the same corpus" if where == "within" else "tested on the other corpus", fontsize=10, loc="left"
        )
        axis.set(xscale="log", xlabel="labelled faces")
        axis.set_xticks(list(plan.budget), [f"{n:,}" for n in plan.budget])
        axis.minorticks_off()
        axis.axhline(0.5, color="#bbbbbb", lw=0.8, ls="--")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#eeeeee")
    axes[0].set_ylabel("AUC, mean over 15 AUs")
    axes[1].legend(frameon=False, fontsize=8.5)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def markdown(plan: Plan, rows: Sequence[dict[str, object]], seconds: Sequence[float], jobs: int) -> str:
    """The table, with time and machine."""
    lines = [
        "| labelled faces | system | AUC within | AUC across | F1 within | F1 across |",
        "| --- | --- | --- | --- | --- | --- |",
    ]

    def cell(samples: int, system: str, where: str, measure: str) -> str:
        for row in rows:
            if (row["labelled_faces"], row["system"], row["test"]) == (samples, system, where):
                spread = row[f"{measure}_sd"]
                return f"{row[measure]:.3f}" + (f" ± {spread:.3f}" if spread != "" else "")
        return ""

    for samples in plan.budget:
        for system in COLOURS:
            cells = [cell(samples, system, where, measure) for measure in ("auc", "f1") for where in ("within", "across")]
            lines.append(f"| {samples:,} | {system} | {' | '.join(cells)} |")
    import torch

    machine = f"{os.cpu_count()} cores of {_processor()}, torch {torch.__version__}"
    lines += [
        "",
        f"`make claims`: {len(seconds)} trainings, {sum(seconds) / 60:.0f} minutes added up ({jobs} at a time); {machine}.",
    ]
    return "\n".join([*lines, "", LIMITS.format(val=plan.faces["val"], seeds=rows[0]["seeds"])])


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Runs it."""
    from fgnet_plugin.checkpoints.registry import resolve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/claims"), help="corpora, trainings, evaluation")
    parser.add_argument("--docs", type=Path, help="where claims.csv, claims.md and claims.png go; default: the folder of --out")
    parser.add_argument("--pretrained", default="pretrained-rendered", help="generator and encoder: name or file")
    parser.add_argument("--systems", nargs="+", default=list(COLOURS), choices=list(COLOURS), help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time, one thread each")
    parser.add_argument("--rehearsal", action="store_true", help="a handful of faces and steps: does it run?")
    parser.add_argument("--train-only", action="store_true", help="stop before the evaluation")
    options = parser.parse_args()
    plan = REHEARSAL if options.rehearsal else FULL
    if PRETRAINED in options.systems:
        options.pretrained = str(resolve(options.pretrained))
        check_sizes(options.pretrained)  # before anything is drawn
    draw(plan, options.out)
    jobs, seconds = grid(plan, options.systems, options.seeds), []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(train, job, options.out, options.pretrained) for job in jobs]
        for finished in as_completed(waiting):
            job, taken = finished.result()
            seconds.append(taken)
            what = f"{job.system}, {job.corpus}, {job.samples} faces, seed {job.seed}"
            print(f"{len(seconds)} of {len(jobs)}: {what}: {taken:.0f} s", flush=True)
    if options.train_only:
        return
    rows = summarise(plan, scores(options.out, jobs))
    docs = options.docs or options.out
    docs.mkdir(parents=True, exist_ok=True)
    with (docs / "claims.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = markdown(plan, rows, seconds, options.jobs)
    (docs / "claims.md").write_text(table, encoding="utf-8")
    plot(plan, rows, docs / "claims.png")
    print(table)
    for path in (docs / "claims.csv", docs / "claims.md", docs / "claims.png", options.out / "evaluation" / "report.html"):
        print(path)


if __name__ == "__main__":
    main()
