"""Students on the command line: datasets that are verified, and cascades of a student and its teacher."""

import json
from pathlib import Path

import pandas as pd
import pytest
from dataset_checks import environment_of_workers  # noqa: F401  (a fixture)
from in_process import without_ray
from students import TEACHER, face_video, grey, looks_like, own_student
from typer.testing import CliRunner, Result

from fgnet_plugin.cli.app import app
from fgnet_plugin.inference import cascade as cascade_module
from fgnet_plugin.inference.cascade import SOURCE
from fgnet_plugin.scale import status

DETECT = "detect", "--offline", "--weak-aus"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student and clips: one like those of its study, and one without colours."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "clips").mkdir()
    face_video(folder / "clips" / "like.mp4")
    face_video(folder / "clips" / "grey.mp4", grey)
    own_student(folder / "student.safetensors", looks_like(folder / "clips" / "like.mp4"))
    return folder


@pytest.fixture(autouse=True)
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def fgnet(*arguments: str) -> Result:
    with without_ray():
        return CliRunner().invoke(app, arguments)


def test_each_recording_of_a_dataset_is_verified() -> None:
    command = *DETECT, "clips", "--au-model", "student.safetensors", "--out", "corpus", "--relative-to", "clips"
    assert fgnet(*command).exit_code == 0, "without --verify"
    (Path("corpus") / "recording=like-gone").mkdir()
    for part in Path("corpus").glob("recording=grey*/*"):
        part.unlink()
    done = fgnet(*command, "--verify", "5")
    assert done.exit_code == 0, done.output
    assert "verified          1 of 2 recordings, 1 with warnings; the other 1 were read before, without --verify" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "looks unlike" in line]
    assert line.startswith("warning: clips/grey.mp4 looks unlike the recordings of student.safetensors's study: less colourful")
    assert "verified          1, 1 with warnings" in fgnet("status", "corpus").stdout
    assert fgnet("status", "corpus", "--unlike").stdout.startswith("grey.mp4\tclips/grey.mp4 looks unlike")
    assert list(status("corpus").unlike) == ["grey.mp4"]
    again = fgnet(*command, "--verify", "5")
    assert "2 of them before" in again.stdout
    assert "clips/grey.mp4 looks unlike" in again.stderr, "what is known is said again"
    logged = [json.loads(line) for path in Path("corpus/_fgnet/log").glob("*") for line in path.read_text().splitlines()]
    assert [line["about"]["unlike"] for line in logged if line["event"] == "done" and line["about"]["verified"] == 5]


def test_datasets_of_other_models_can_not_be_verified() -> None:
    with pytest.raises(ValueError, match="is for a student of fgnet train student"):
        CliRunner().invoke(app, [*DETECT, "clips", "--out", "other", "--verify", "5"], catch_exceptions=False)
    assert not Path("other").exists()


def test_a_cascade_in_one_command_is_that_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = "--unsure", "0.2", "--sample", "0.3"
    student = *DETECT, "clips/like.mp4", "--au-model", "student.safetensors", "--out", "student.csv"
    assert fgnet(*student).exit_code == 0
    two = fgnet("cascade", "student.csv", "--teacher", TEACHER, *shares, "--out", "two.csv")
    assert two.exit_code == 0, two.output
    teacher = "--au-model", TEACHER, "--with-student", "student.safetensors", *shares
    command = *DETECT, "clips/like.mp4", *teacher, "--out", "one.csv"

    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cascade_module, "scores_again", interrupted)
        assert fgnet(*command).exit_code != 0
    assert not Path("one.csv").exists()
    with pytest.raises(ValueError, match=r"one\.student\.csv is of an interrupted run; --resume continues it"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(ValueError, match="base rates need several people"):
        CliRunner().invoke(app, [*command, "--resume", "--base-rates", "rates.csv"], catch_exceptions=False)
    done = fgnet(*command, "--resume")
    assert done.exit_code == 0, done.output
    one = pd.read_csv("one.csv")
    pd.testing.assert_frame_equal(one, pd.read_csv("two.csv"))
    assert one[SOURCE].value_counts().to_dict() == {"student": 3, "teacher: unsure": 1, "teacher: sample": 2}
    pd.testing.assert_frame_equal(pd.read_csv("one.student.csv"), pd.read_csv("student.csv"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--unsure", "0.2"), "--unsure needs --with-student"),
        (("--with-student", "student.safetensors"), "--with-student needs --au-model, the student's teacher"),
        (("--with-student", "s", "--au-model", TEACHER, "--plots", "p"), "--plots is of one model's table: not with"),
        (("--with-student", "s", "--au-model", TEACHER, "--columns", "aus"), "--with-student needs landmarks"),
    ],
)
def test_options_that_a_cascade_does_not_have(more: tuple[str, ...], says: str) -> None:
    done = fgnet("detect", "--offline", "clips", "--out", "bad.csv", *more)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())
