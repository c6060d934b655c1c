"""Detection of the next batch while FG-Net reads the one before: the order of events, and what survives an error."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from photos import feat_path, read_frames
from torch import Tensor

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from offline import InBatches, batch_detector, remembered_faces

from fgnet_plugin.errors import InputError, SkippedInput
from fgnet_plugin.inference.au_model import AUModel, Reading
from fgnet_plugin.pyfeat.annotate import annotate
from fgnet_plugin.pyfeat.detector import Detector
from fgnet_plugin.utils.deferred import Deferred, lookahead
from fgnet_plugin.utils.journal import Journal, read_table

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")

FACE = str(feat_path("single_face.jpg"))


class Late(AUModel):
    """FG-Net as on a GPU: a reading is computed only when its result is asked for. It logs what happens."""

    overlaps = True

    def __init__(self, model: AUModel, log: list[str]) -> None:
        vars(self).update(vars(model))
        self.log, self.started, self.breaks_at = log, 0, -1

    def submit(self, frames: Sequence[Tensor], landmarks: Sequence[Tensor]) -> Deferred[Reading]:
        number, self.started = self.started, self.started + 1
        self.log.append(f"submit {number}")

        def finish() -> Reading:
            self.log.append(f"finish {number}")
            if number == self.breaks_at:
                raise RuntimeError("the GPU fell off its bus")
            return AUModel.submit(self, frames, landmarks).result()

        return Deferred(finish)


@pytest.fixture(scope="module")
def plain() -> Iterator[Detector]:
    with remembered_faces():
        yield batch_detector()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def late(plain: Detector, log: list[str], monkeypatch: pytest.MonkeyPatch) -> Detector:
    """The same detector with a late FG-Net; faces that are found and batches that are written are in the log, too."""
    detector = InBatches.offline()
    detector.fgnet = Late(plain.fgnet, log)
    find, append = plain.detect_faces, Journal.append

    def detect_faces(*args: Any, **options: Any) -> Any:
        log.append("faces")
        return find(*args, **options)

    def write(journal: Journal, rows: pd.DataFrame | None) -> None:
        log.append("write")
        append(journal, rows)

    monkeypatch.setattr(detector, "detect_faces", detect_faces)
    monkeypatch.setattr(Journal, "append", write)
    return detector


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.stack(read_frames("single_face.mp4", [0, 20, 40, 60, 70]))


def detect(detector: Detector, inputs: object, **options: Any) -> pd.DataFrame:
    return pd.DataFrame(detector.detect(inputs, progress_bar=False, **options))


def test_a_batch_is_waited_for_after_the_next_one_is_begun(
    plain: Detector, late: Detector, log: list[str], frames: Tensor, tmp_path: Path
) -> None:
    expected = detect(plain, frames, batch_size=2, save=tmp_path / "plain.csv")
    log.clear()
    found = detect(late, frames, batch_size=2, save=tmp_path / "late.csv")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert (tmp_path / "late.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert log == [
        *("faces", "submit 0", "faces", "submit 1", "finish 0", "write"),
        *("faces", "submit 2", "finish 1", "write", "finish 2", "write"),
    ]


def test_without_overlap_each_batch_is_done_before_the_next(late: Detector, log: list[str], frames: Tensor) -> None:
    late.fgnet.overlaps = False
    detect(late, frames, batch_size=3)
    assert log == ["faces", "submit 0", "finish 0", "faces", "submit 1", "finish 1"]


@pytest.mark.parametrize("error", [RuntimeError("no face, but a crash"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_a_batch_that_was_begun_survives_an_error_in_the_next(
    error: BaseException,
    plain: Detector,
    late: Detector,
    log: list[str],
    frames: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = detect(plain, frames, batch_size=1, save=tmp_path / "whole.csv")
    find = late.detect_faces

    def breaks(*args: Any, **options: Any) -> Any:
        if late.fgnet.started == 3:
            raise error
        return find(*args, **options)

    table = tmp_path / "fex.csv"
    with monkeypatch.context() as broken:
        broken.setattr(late, "detect_faces", breaks)
        log.clear()
        with pytest.raises(type(error)) as caught:
            detect(late, frames, batch_size=1, save=table)
        assert caught.value is error
        assert log[-4:] == ["finish 1", "write", "finish 2", "write"]
        assert f"what was done before is in {table} (3 complete batches)" in error.__notes__[0]
        assert len(read_table(table)) == 3
        late.fgnet.started = 0
        with pytest.raises(type(error)) as caught:
            detect(late, frames, batch_size=1)
    pd.testing.assert_frame_equal(pd.DataFrame(caught.value.fex)[whole.columns], whole[:3], check_dtype=False)
    detect(late, frames, batch_size=1, save=table, resume=True)
    assert table.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_error_of_fg_net_keeps_what_was_finished(late: Detector, log: list[str], frames: Tensor) -> None:
    late.fgnet.breaks_at = 1
    with pytest.raises(RuntimeError, match="fell off its bus") as caught:
        detect(late, frames, batch_size=2)
    assert len(caught.value.fex) == 2
    assert log[-3:] == ["faces", "submit 2", "finish 1"]


def run_of(table: Path) -> tuple[dict[str, object], list[str]]:
    """What a run noted, but for the moment at which it began."""
    head, *lines = table.with_name(f"{table.name}.run").read_text().splitlines()
    settings = json.loads(head)
    assert settings["about"].pop("begun")
    return settings, lines


def test_files_that_cannot_be_read(plain: Detector, late: Detector, log: list[str], tmp_path: Path) -> None:
    """As without overlap: rows up to the bad file and, in its batch, beside it; nothing is begun after it; or it is skipped."""
    bad, missing = str(tmp_path / "bad.jpg"), str(tmp_path / "bad2.jpg")
    for path in (bad, missing):
        Path(path).write_text("dear diary")
    inputs = [FACE, FACE, FACE, bad, FACE, FACE, missing]
    kept = []
    for detector in (plain, late):
        with pytest.raises(InputError, match=r"bad\.jpg") as caught:
            detect(detector, inputs, batch_size=2)
        kept.append(pd.DataFrame(caught.value.fex))
    pd.testing.assert_frame_equal(*kept, check_exact=True)
    assert len(kept[0]) == 3
    assert log == ["faces", "submit 0", "faces", "submit 1", "finish 0", "finish 1"]
    tables, told = [], []
    for i, detector in enumerate((plain, late)):
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter("always")
            tables.append(detect(detector, inputs, batch_size=2, errors="skip", save=tmp_path / f"{i}.csv"))
        of_batches = [warning for warning in caught_warnings if isinstance(warning.message, SkippedInput)]
        told.append([(warning.message.path, Path(warning.filename).name) for warning in of_batches])
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert run_of(tmp_path / "0.csv") == run_of(tmp_path / "1.csv")
    assert told[0] == told[1] == [(bad, "detect_run.py"), (missing, "detect_run.py")]


def test_a_damaged_video_goes_on_and_the_next_input_follows(plain: Detector, late: Detector, tmp_path: Path) -> None:
    clip = feat_path("single_face.mp4")
    content = bytearray(clip.read_bytes())
    content[len(content) // 2 :][:30000] = content[len(content) // 2 : len(content) // 2 + 30000] = bytes(30000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    inputs, tables = [str(tmp_path / "damaged.mp4"), FACE], []
    for name, detector in (("plain", plain), ("late", late)):
        options = {"batch_size": 4, "skip_frames": 6, "errors": "skip", "save": tmp_path / f"{name}.csv"}
        with pytest.warns(SkippedInput):
            tables.append(detect(detector, inputs, **options))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert tables[0]["input"].nunique() == 2
    assert run_of(tmp_path / "plain.csv") == run_of(tmp_path / "late.csv")


def test_pictures_of_several_sizes_are_an_error_after_what_was_begun(late: Detector, tmp_path: Path) -> None:
    other = shutil.copy(feat_path("multi_face.jpg"), tmp_path / "five.jpg")
    with pytest.raises(InputError, match="all must have the same size") as caught:
        detect(late, [FACE, FACE, FACE, str(other)], batch_size=2)
    assert len(caught.value.fex) == 2


def test_several_models_are_in_flight_together(
    plain: Detector, late: Detector, log: list[str], frames: Tensor, small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["fgnet-rendered", str(small_checkpoint)]
    expected = plain.detect_several(frames, names, batch_size=2, progress_bar=False)
    other_log: list[str] = []
    load = Detector.load_au_model
    monkeypatch.setattr(Detector, "load_au_model", lambda detector, name: Late(load(detector, name), other_log))
    found = late.detect_several(frames, names, batch_size=2, progress_bar=False)
    for name in names:
        pd.testing.assert_frame_equal(pd.DataFrame(found[name]), pd.DataFrame(expected[name]), check_exact=True)
    assert other_log == ["submit 0", "submit 1", "finish 0", "submit 2", "finish 1", "finish 2"]
    assert log == ["faces", "submit 0", "faces", "submit 1", "finish 0", "faces", "submit 2", "finish 1", "finish 2"]


def test_annotating_overlaps_too(plain: Detector, log: list[str]) -> None:
    fex = plain.detect([FACE] * 3, progress_bar=False)
    expected = annotate(fex, plain.fgnet, batch_size=1, progress_bar=False)
    found = annotate(fex, Late(plain.fgnet, log), batch_size=1, progress_bar=False)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected), check_exact=True)
    assert log == ["submit 0", "submit 1", "finish 0", "submit 2", "finish 1", "finish 2"]


def test_forward_itself_waits(late: Detector, log: list[str], frames: Tensor) -> None:
    batch = {"Image": frames[:1], "FileName": ["frame"], "Scale": torch.ones(1)}
    batch["Padding"] = dict.fromkeys(("Left", "Top", "Right", "Bottom"), torch.zeros(1))
    rows = late.forward(late.detect_faces(frames[:1]), batch)
    assert rows["AU12"].notna().all()
    assert log == ["faces", "submit 0", "finish 0"]


def test_compile_is_a_setting_of_the_run_where_it_is_on(late: Detector, frames: Tensor, tmp_path: Path) -> None:
    table = tmp_path / "fex.csv"
    detect(late, frames[:2], save=table)
    assert '"compile"' not in Path(f"{table}.run").read_text()
    late.fgnet.compile = True
    with pytest.raises(InputError, match="compile was null, now true"):
        detect(late, frames[:2], save=table, resume=True)


def broken(count: int, error: BaseException) -> Iterator[int]:
    yield from range(count)
    raise error


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_lookahead(count: int) -> None:
    made: list[int] = []
    seen = []
    for item in lookahead(made.append(i) or i for i in range(count)):  # type: ignore[func-returns-value]
        assert len(made) == min(item + 2, count)
        seen.append(item)
    assert seen == list(range(count))
    for error in (ValueError("why"), KeyboardInterrupt()):
        seen.clear()

        def take(into: Callable[[int], None], items: Iterator[int]) -> None:
            for item in items:
                into(item)

        with pytest.raises(type(error)) as caught:
            take(seen.append, lookahead(broken(count, error)))
        assert caught.value is error
        assert seen == list(range(count))


def test_lookahead_can_be_given_up() -> None:
    items = lookahead(broken(3, ValueError("never reached")))
    assert next(items) == 0
    items.close()
    waiting = lookahead(broken(1, ValueError("why")))
    assert next(waiting) == 0  # while the error waits
    waiting.close()
