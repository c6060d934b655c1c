"""The paper's claims on rendered faces: does FG-Net gain from pretraining, within a domain, across domains, with few labels?

python examples/claims.py [--out outputs/claims] [--jobs 2] [--docs docs]

1. Heads are drawn, and divided (`claims_faces`).
2. Generator and encoder are trained on faces without AU labels, none of them of the domain that is tested across.
3. The gate (`claims_gate`): do their codes or maps tell AUs?
4. A learning rate is chosen for each arm.
5. The arms are trained on 100, 300 and 1,000 labelled faces, seed by seed.
6. Table and plot are written (`claims_page`).

A run that was interrupted goes on with the same command. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from claims_faces import LABELLED, SIZE, UNSEEN, Sizes, draw, halve
from claims_gate import margins, read_faces, run_gate
from claims_page import ARMS, ENCODER, FROZEN, RESNET, SCRATCH, TUNED, write_page

SEEDS_OF_RATES = 100
"""The seed of the trainings that choose rates; those of the table count from 0."""


@dataclass(frozen=True)
class Plan:
    """How much is drawn and trained."""

    faces: Sizes
    positives: int
    """Faces of ``train`` that must show an AU, or it is left out."""
    pretraining: tuple[str, ...]
    """Settings that differ from ``encoder-claims.yaml``."""
    budget: dict[int, tuple[int, int, int]]
    """Labelled faces -> epochs, batches of 8 an epoch, epochs between validations."""
    rates: tuple[float, ...]
    rate_budget: tuple[int, tuple[int, int, int]]
    """The same of the trainings that choose an arm's rate."""


FULL = Plan(
    Sizes(16000, 1000, 300, 1000),
    100,
    (),
    {100: (170, 12, 34), 1000: (20, 100, 4), 300: (55, 37, 11)},  # the extremes first, for who looks early
    (5e-4, 2e-3),
    (300, (6, 37, 6)),
)
"""At least 2,000 steps for each of the table, and five validations; 222 steps to choose a rate."""
REHEARSAL = Plan(
    Sizes(288, 32, 16, 20),
    5,
    ("optimiser.epochs=1", "optimiser.batches_per_epoch=2"),
    {16: (1, 1, 1), 32: (1, 2, 1)},
    (1e-3,),
    (16, (1, 1, 1)),
)
OF_ARM = {
    FROZEN: ["model.start_from={pretrained}", "model.freeze=[encoder,generator]"],
    TUNED: ["model.start_from={pretrained}", "optimiser.backbone_lr_factor=0.1"],
    SCRATCH: ["guide.labels=1", "guide.landmarks=1"],
    ENCODER: ["model.baseline=encoder", "model.start_from={pretrained}", "optimiser.backbone_lr_factor=0.1"],
    RESNET: ["model.baseline=resnet18", "model.architecture={{}}"],
}
"""What differs from ``claims.yaml``, whose sizes are those of the pretrained parts."""


@dataclass(frozen=True)
class Job:
    """One training."""

    arm: str
    samples: int
    budget: tuple[int, int, int]
    rate: float
    seed: int

    def folder(self, out: Path) -> Path:
        """Where it writes to."""
        kind = "rates" if self.seed == SEEDS_OF_RATES else "runs"
        rate = f"-{self.rate:g}" if kind == "rates" else ""
        return out / kind / folder_name(self.arm) / f"{self.samples}-seed{self.seed}{rate}"

    def settings(self, out: Path, aus: Sequence[str]) -> list[str]:
        """What differs from ``claims.yaml``."""
        epochs, batches, every = self.budget
        own = [setting.format(pretrained=out / "pretraining" / "pretrained.safetensors") for setting in OF_ARM[self.arm]]
        if any(setting.startswith("model.start_from") for setting in own):
            own += ["model.size=null", "model.architecture={}"]
        return [
            f"data.csv.train={out / 'corpora' / 'train' / 'faces.csv'}",
            f"data.csv.val={out / 'corpora' / 'val' / 'faces.csv'}",
            f"data.csv.aus=[{','.join(aus)}]",
            f"data.csv.samples={self.samples}",
            f"optimiser.lr={self.rate:g}",
            f"optimiser.epochs={epochs}",
            f"optimiser.batches_per_epoch={batches}",
            f"optimiser.validate_every={every}",
            f"trainer.seed={self.seed}",
            f"trainer.out={self.folder(out)}",
            f"export.corpus={LABELLED}",
            *own,
        ]


def folder_name(arm: str) -> str:
    """An arm's name without what shells and patterns stumble over."""
    return arm.replace(",", "").replace(" ", "-")


def grid(plan: Plan, arms: Iterable[str], seeds: int, rates: dict[str, float]) -> list[Job]:
    """All trainings of the table, seed by seed, so that an early look shows every cell."""
    cells = product(range(seeds), plan.budget.items(), arms)
    return [Job(arm, samples, budget, rates[arm], seed) for seed, (samples, budget), arm in cells]


def is_done(path: Path, settings: Sequence[str]) -> bool:
    """Whether something was made with these settings. Raises ValueError where it was made with others."""
    if not path.is_file():
        return False
    if json.loads(path.read_text(encoding="utf-8"))["settings"] != list(settings):
        raise ValueError(f"{path.parent} was made with other settings: delete it, or give another --out")
    return True


def record(path: Path, settings: Sequence[str], **more: object) -> None:
    """Writes what `is_done` looks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": list(settings), **more}, indent=1) + "\n", encoding="utf-8")


def prepare(plan: Plan, out: Path, workers: int) -> tuple[str, ...]:
    """Draws and divides the faces, where they are not there yet; returns the AUs that are trained."""
    from fgnet_plugin.training.config.detector import RENDERER

    settings, corpora = [f"{plan.faces}, renderer {RENDERER}"], out / "corpora"
    if not is_done(out / "drawn" / "done.json", settings):
        draw(out / "drawn", plan.faces, workers)
        record(out / "drawn" / "done.json", settings)
    if not is_done(corpora / "done.json", settings):
        halve(out / "drawn", corpora, plan.faces)
        record(corpora / "done.json", settings)
    with (corpora / "train" / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    aus = (name for name in rows[0] if name.startswith("AU"))
    return tuple(au for au in aus if sum(row[au] == "1" for row in rows) >= plan.positives)


def pretrain(plan: Plan, out: Path) -> None:
    """Trains generator and encoder."""
    from fgnet_plugin.training.config.pretraining import read_encoder
    from fgnet_plugin.training.train import train_encoder

    start, done = time.process_time(), out / "pretraining" / "done.json"
    data = out / "corpora" / "unlabelled" / "faces.csv"
    settings = [f"data.csv={data}", f"trainer.out={out / 'pretraining'}", *plan.pretraining]
    if not is_done(done, settings):
        train_encoder(read_encoder("encoder-claims", settings), resume=True)
        record(done, settings, seconds=round(time.process_time() - start, 1))


def gate(out: Path, aus: Sequence[str]) -> dict[str, float]:
    """The gate's figures, computed once."""
    from fgnet_plugin.utils.files import sha256

    pretrained, done = out / "pretraining" / "pretrained.safetensors", out / "gate.json"
    settings = [*aus, sha256(pretrained)]
    if not is_done(done, settings):
        faces = [read_faces(out / "corpora" / part / "faces.csv", aus, SIZE) for part in ("train", "within")]
        record(done, settings, gate=run_gate(faces[0], faces[1], pretrained))
    found: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))["gate"]
    print("\n".join(f"{name}: {value:.3f}" for name, value in found.items()), flush=True)
    print("gate: {:+.3f} over random weights, {:+.3f} over pixels".format(*margins(found)), flush=True)
    return found


def train(job: Job, out: Path, aus: Sequence[str]) -> tuple[Job, float, float]:
    """One training; returns its mean AUC of validation, and how many seconds of a processor it took."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.models.systems import read_system_info
    from fgnet_plugin.training.train import train_detector
    from fgnet_plugin.utils.files import sha256

    start, file, settings = time.process_time(), job.folder(out) / "done.json", job.settings(out, aus)
    about = settings
    if job.arm in (FROZEN, TUNED, ENCODER):
        about = [*settings, f"sha256 {sha256(out / 'pretraining' / 'pretrained.safetensors')}"]
    if not is_done(file, about):
        train_detector(read_detector("claims", settings), resume=True)
        record(file, about, seconds=round(time.process_time() - start, 1))
    seconds = json.loads(file.read_text(encoding="utf-8"))["seconds"]
    return job, float(read_system_info(job.folder(out)).training["validation"]["auc"]), seconds


def train_all(jobs: Sequence[Job], out: Path, aus: Sequence[str], processes: int) -> dict[Job, tuple[float, float]]:
    """Trainings, several at a time: each one's validation and seconds."""
    found = {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(train, job, out, aus) for job in jobs]):
            job, auc, seconds = finished.result()
            found[job] = auc, seconds
            what = f"{job.arm}, {job.samples} faces, seed {job.seed}, rate {job.rate:g}"
            print(f"{len(found)} of {len(jobs)}: {what}: validation AUC {auc:.3f}, {seconds:.0f} s", flush=True)
    return found


def choose_rates(plan: Plan, arms: Sequence[str], out: Path, aus: Sequence[str], processes: int) -> dict[str, float]:
    """The rate of each arm that validated best, after short trainings on one number of faces with one seed."""
    samples, budget = plan.rate_budget
    jobs = [Job(arm, samples, budget, rate, SEEDS_OF_RATES) for arm in arms for rate in plan.rates]
    found = train_all(jobs, out, aus, processes)
    return {arm: max((job for job in jobs if job.arm == arm), key=lambda job: found[job][0]).rate for arm in arms}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/claims"), help="faces, trainings, evaluation")
    parser.add_argument("--docs", type=Path, help="where claims.csv, claims.md and claims.png go; default: the folder of --out")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), help="only these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time, one thread each")
    parser.add_argument("--rehearsal", action="store_true", help="a handful of faces and steps: does it run?")
    parser.add_argument("--until", choices=("gate", "rates", "training"), help="stop after this")
    parser.add_argument("--so-far", action="store_true", help="train nothing more: table and plot of what is trained")
    options = parser.parse_args()
    plan, out = REHEARSAL if options.rehearsal else FULL, options.out
    aus = prepare(plan, out, options.jobs)
    pretrain(plan, out)
    probed = gate(out, aus)
    if options.until == "gate":
        return
    if options.so_far:
        options.arms = [arm for arm in options.arms if (out / "runs" / folder_name(arm)).is_dir()]
    rates = choose_rates(plan, options.arms, out, aus, options.jobs)
    print("rates:", ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()), flush=True)
    if options.until == "rates":
        return
    jobs = grid(plan, options.arms, options.seeds, rates)
    if options.so_far:
        jobs = [job for job in jobs if (job.folder(out) / "done.json").is_file()]
    done = train_all(jobs, out, aus, options.jobs)
    if options.until == "training":
        return
    docs = options.docs or out
    docs.mkdir(parents=True, exist_ok=True)
    pretraining = json.loads((out / "pretraining" / "done.json").read_text(encoding="utf-8"))["seconds"]
    tests = [(LABELLED, "within"), (UNSEEN, "across")]
    corpora = tuple((name, str(out / "corpora" / part / "faces.csv")) for name, part in tests)
    runs = [(job.folder(out), job.arm) for job in jobs]
    write_page(docs, out, runs, corpora, probed, rates, pretraining, [seconds for _, seconds in done.values()])
    print((docs / "claims.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
