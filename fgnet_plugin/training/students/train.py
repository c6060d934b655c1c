"""Make a student of any FG-Net on one's own recordings: `train_student`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, read_info, save
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.errors import InputError
from fgnet_plugin.inference.appearance import Looks
from fgnet_plugin.inference.au_model import AUModel
from fgnet_plugin.network import FGNet, scores
from fgnet_plugin.training.students import report
from fgnet_plugin.training.students.agreement import Answers, agreement_table, card, curve_point
from fgnet_plugin.training.students.filling import Fill, fill_cache, fill_here
from fgnet_plugin.training.students.labels import Cache, Labels, coding_error
from fgnet_plugin.training.students.recordings import StudyRecording, divide, list_paths
from fgnet_plugin.training.students.rendered import NAME as RENDERED
from fgnet_plugin.training.students.sampling import Faces, sample
from fgnet_plugin.training.students.settings import LEAST_FACES, StudentSettings, default_steps, student_config
from fgnet_plugin.training.students.stage import TaughtFaces, new_student, train_on
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.journal import describe_change
from fgnet_plugin.utils.text import counted

DEFAULT_FACES = 2000
_TIMED = 4  # faces on which the teacher's speed is measured, for a budget of minutes


@dataclass(frozen=True, eq=False)
class Study:
    """A study's recordings, their chosen faces, and what the teacher says of them."""

    recordings: Sequence[StudyRecording]
    faces: Mapping[str, Faces]
    labels: Mapping[str, Labels]
    """Of the recordings that have faces."""

    def part(self, held_out: bool) -> list[Labels]:
        """Return the labels of the recordings to learn from, or of those held out."""
        return [self.labels[one.key] for one in self.recordings if one.held_out is held_out and one.key in self.labels]

    def people(self, held_out: bool) -> list[str]:
        """Name who is seen on each face of `part`."""
        part = [one for one in self.recordings if one.held_out is held_out and one.key in self.labels]
        return [one.subject for one in part for _ in range(len(self.labels[one.key].frame))]


def train_student(
    teacher: str | Path,
    on: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    subject: str | None = None,
    settings: StudentSettings | None = None,
    work: str | Path | None = None,
    device: str | torch.device = "cpu",
    fill: Fill = fill_here,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    r"""Make a student: a small FG-Net that learns a teacher FG-Net's heatmaps on the faces of a study.

    Faces are chosen over people, recordings and time, and unlike one another; the teacher reads each once; the student learns
    its heatmaps and activations; on the recordings of people whom it did not learn from, its agreement with the teacher is
    measured, and how that grows with the number of faces.

    A process that was killed anywhere goes on where it was when it is called again with the same arguments, and on a CPU the
    student is the same, bit for bit.

    Args:
        teacher: name or path of an FG-Net, see `AUModel`.
        on: folder of the study's recordings, searched with its subfolders, or files and folders.
        out: the student's file, .safetensors; its report is written beside it, as .html and .csv.
        subject: pattern for the recordings' paths with a group ``(?P<subject>…)``; without, each recording counts as a person.
        settings: see `StudentSettings`.
        work: folder for what is computed on the way, by default ``OUT-work`` beside `out`. It holds faces of the recordings:
            keep it as private as these, and delete it when the student is finished.
        device: where faces are looked for and where the teacher computes; the student trains on the CPU.
        fill: who asks the teacher: by default this process; `scale.students.fill_with` shares the work out.
        progress: show progress bars, with the time left.
        say: called with each line about what happens.

    Returns:
        The path of the student, for ``Detector(au_model=…)``.

    Raises:
        CheckpointError: no such teacher.
        InputError: recordings that can't be used, a disk without room for the teacher's heatmaps, a work folder of other
            arguments, or a student that is there already.

    Example:
        >>> train_student("fgnet-bp4d", "recordings/", "student.safetensors", subject=r"(?P<subject>P\d+)")  # doctest: +SKIP
    """
    settings, out = settings or StudentSettings(), Path(out)
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: a student's file ends in .safetensors")
    folder = out.with_name(f"{out.stem}-work") if work is None else Path(work)
    if out.exists() and not (folder / "settings.json").exists():
        raise InputError(f"{out} is there already; choose another file, or remove it")
    model = AUModel(teacher, device, weak_aus=True)  # where the teacher is a student, too
    paths = list_paths(on)
    say(f"reading {counted(len(paths), 'recording', form=',')} for their checksums")
    recordings = divide(paths, subject, settings.held_out, settings.seed)
    claim(folder, recordings, model, settings)
    config = student_config(settings.size, model.aus)
    cache = Cache(folder / "labels", config, settings.views, settings.seed, settings.threads)
    count = _budget(settings, folder, model, say)
    held_out = round(count * settings.held_out)
    cache.check_room(count - held_out, held_out, settings.rendered)  # before faces are looked for, which may take long
    faces = sample(recordings, count, settings.held_out, folder / "faces", settings.seed, device, progress)
    learn_from, set_aside = (sum(len(faces[one.key]) for one in recordings if one.held_out is part) for part in (False, True))
    say(cache.check_room(learn_from, set_aside, settings.rendered))
    study = label(recordings, faces, cache, model, progress, rendered=settings.rendered, fill=fill)
    rendered = cache.read(RENDERED, settings.rendered)
    learn = [*study.part(held_out=False), *([] if rendered is None else [rendered])]
    taught, aside = TaughtFaces(learn), TaughtFaces(study.part(held_out=True), every_view=False)
    steps = settings.steps or default_steps(sum(len(one.frame) for one in learn))
    curve = []
    for share in sorted(settings.curve):
        fewer = TaughtFaces(learn, share=share)
        say(f"a student of {fewer.faces:,} faces, to see whether more help")
        net = _trained(fewer, aside, folder / f"train-{share:g}", settings, max(round(steps * share), 1), model, progress)
        curve.append(curve_point(fewer.faces, _measured(net, study, settings)))
    say(f"the student, of {taught.faces:,} faces")
    net = _trained(taught, aside, folder / "train", settings, steps, model, progress)
    table = _measured(net, study, settings)
    curve.append(curve_point(taught.faces, table))
    info = _info(net, model, study, settings, table, curve)
    save(net, out, info)
    report.write(out, info, table)
    say(f"{out}, {out.with_suffix('.html')} and {out.with_suffix('.csv')}; {folder} holds faces of the recordings: delete it")
    return out


def label(
    recordings: Sequence[StudyRecording],
    faces: Mapping[str, Faces],
    cache: Cache,
    teacher: AUModel,
    progress: bool = True,
    *,
    rendered: int = 0,
    fill: Fill = fill_here,
) -> Study:
    """Fill the cache with the teacher's answers, also about so many rendered faces, and read those about the recordings."""
    fill_cache(recordings, faces, rendered, cache, teacher, fill, progress)
    labels = {one.key: cache.read(one.key, len(faces[one.key])) for one in recordings}
    return Study(recordings, faces, {key: found for key, found in labels.items() if found is not None})


def looks_of(study: Study) -> Looks:
    """Summarise how the recordings look: those to learn from, and those held out, for which the report holds, too."""
    return Looks.of([study.faces[one.key].looks for one in study.recordings], [one.subject for one in study.recordings])


def answers_of(net: FGNet, study: Study) -> Answers:
    """Ask a student about the held-out faces."""
    held_out = study.part(held_out=True)
    images = torch.cat([one.images[:, 0] for one in held_out])
    teacher = torch.cat([one.activations[:, 0] for one in held_out])
    found = net.predict(images, 32).activations
    person = np.array(study.people(held_out=True), object)
    return Answers(net.aus, scores(found).double().numpy(), scores(teacher).double().numpy(), person)


def claim(folder: Path, recordings: Sequence[StudyRecording], teacher: AUModel, settings: StudentSettings) -> None:
    """Take a work folder for these arguments. Raises InputError where it belongs to others."""
    values = dataclasses.asdict(settings)
    values["start_from"] = read_info(resolve(settings.start_from)).digest if settings.start_from else ""
    now: dict[str, Any] = {"teacher": teacher.digest, "settings": json.loads(json.dumps(values))}
    now["recordings"] = [[one.key, "held out" if one.held_out else "to learn from"] for one in recordings]
    path = folder / "settings.json"
    if path.is_file():
        try:
            then = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is damaged; delete the folder, and start anew") from error
        flat = [{"teacher": one["teacher"], **one["settings"], "recordings": one["recordings"]} for one in (then, now)]
        changed = [
            describe_change(key, flat[0].get(key), flat[1].get(key)) for key in flat[1] if flat[0].get(key) != flat[1][key]
        ]
        if changed:
            raise InputError(
                f"{folder} was begun with other arguments ({'; '.join(changed)}): repeat those to go on, or give another folder"
            )
        return
    with atomic_write(path) as part:
        part.write_text(json.dumps(now), encoding="utf-8")


def _budget(settings: StudentSettings, folder: Path, teacher: AUModel, say: Callable[[str], None]) -> int:
    """Return the number of faces; for a budget of minutes, the teacher's speed is measured once."""
    if settings.minutes is None:
        return settings.faces or DEFAULT_FACES
    path = folder / "budget.json"
    with suppress(FileNotFoundError, ValueError):
        return int(json.loads(path.read_text(encoding="utf-8")))
    size = teacher.net.config.image_size
    blank = torch.zeros(settings.views, 3, size, size)
    teacher.net.predict(blank, teacher.batch_size)
    began = time.monotonic()
    for _ in range(_TIMED):
        teacher.net.predict(blank, teacher.batch_size)
    each = (time.monotonic() - began) / _TIMED
    count = int(60 * settings.minutes / each)
    budget = f"{counted(settings.minutes, 'minute is', 'minutes are', 'g')} {counted(count, 'face', form=',')}"
    if count < LEAST_FACES:
        raise InputError(
            f"the teacher takes {each:.2g} s a face here, so that {budget}: too few to "
            f"learn from and to measure on; give at least {LEAST_FACES * each / 60:.2g} minutes"
        )
    say(f"{budget}, at {each:.2g} s each")
    with atomic_write(path) as part:
        part.write_text(json.dumps(count), encoding="utf-8")
    return count


def _trained(
    faces: TaughtFaces, aside: TaughtFaces, out: Path, settings: StudentSettings, steps: int, teacher: AUModel, progress: bool
) -> FGNet:
    net = new_student(student_config(settings.size, teacher.aus), settings.start_from, settings.seed)
    recipe = {
        "teacher": teacher.digest,
        "steps": steps,
        "faces": len(faces),
        "batch_size": settings.batch_size,
        "lr": settings.lr,
    }
    options = {name: getattr(settings, name) for name in ("batch_size", "lr", "seed", "threads")} | {"progress": progress}
    return train_on(faces, aside, net, out, steps, options, recipe, teacher.net.config.image_size)


def _measured(net: FGNet, study: Study, settings: StudentSettings) -> pd.DataFrame:
    return agreement_table(answers_of(net, study), settings.least_agreement)


def _info(
    net: FGNet, teacher: AUModel, study: Study, settings: StudentSettings, table: pd.DataFrame, curve: list[dict[str, object]]
) -> CheckpointInfo:
    """Describe a student: its card."""
    of_teacher = read_info(teacher.path)
    licences = [of_teacher.licence] + ([read_info(resolve(settings.start_from)).licence] if settings.start_from else [])
    counts = {part: sum(len(one.frame) for one in study.part(part == "held_out")) for part in ("learned", "held_out")}
    training = {
        "by": "fgnet train student",
        "teacher": {"name": Path(teacher.name).name, "digest": teacher.digest},
        "recordings": sorted(one.digest for one in study.recordings if not one.held_out),
        "held_out_recordings": sorted(one.digest for one in study.recordings if one.held_out),
        "faces": counts,
        "people": {part: len(set(study.people(part == "held_out"))) for part in ("learned", "held_out")},
        "agreement": card(table),
        "least_agreement": settings.least_agreement,
        "weak_aus": table.loc[table["weak"], "AU"].tolist(),
        "curve": curve,
        "looks": looks_of(study).to_json(settings.seed),
        "coding_error": coding_error(list(study.labels.values())),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings))) | {"start_from": Path(settings.start_from).name},
        "date": date.today().isoformat(),
    }
    return CheckpointInfo(
        net.config, of_teacher.corpus, training=training, licence=" ".join(dict.fromkeys(filter(None, licences)))
    )
