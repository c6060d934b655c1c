"""Whatever the published procedure does otherwise: each as an option, recorded where results are read."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from toy_training import AUS, settings, toy_corpus, toy_landmarks

from fgnet_plugin import CheckpointError
from fgnet_plugin.action_units import CORPUS_AUS
from fgnet_plugin.checkpoints.fgnet import read_info
from fgnet_plugin.training.config.detector import Csv, read_detector, selection
from fgnet_plugin.training.data import csv_corpus
from fgnet_plugin.training.published_folds import PUBLISHED

TASKS = {"BP4D": "/T1", "DISFA": ""}


def published(folder: Path, corpus: str, fold: int = 0) -> tuple[Path, Path]:
    """Made-up lists of a fold in the published layout, train_100.csv with its unnamed index, and pictures for most of them."""
    aus = [f"au{int(au[2:])}" for au in CORPUS_AUS[corpus]]
    tested = PUBLISHED[corpus][fold]
    trained = frozenset().union(*PUBLISHED[corpus]) - tested
    paths = []
    for name, subjects, index in (("train_100", trained, True), ("test", tested, False)):
        rows = []
        for i in range(100 if name == "train_100" else 60):
            image = f"{corpus}/aligned_images/{sorted(subjects)[i % len(subjects)]}{TASKS[corpus]}/{i:05d}.jpg"
            cells = [image, *((i + at) % 2 for at in range(len(aus)))]
            rows.append([70764 - i, *cells] if index else cells)
            points = Path(image.replace("aligned_images", "aligned_landmarks")).with_suffix(".npy")
            for path in (folder / image, folder / points):
                path.parent.mkdir(parents=True, exist_ok=True)
            if i % 10:  # every tenth is missing
                Image.new("RGB", (16, 16), (i, 0, 0)).save(folder / image)
                np.save(folder / points, np.full((68, 2), 8))  # whole numbers, as dlib's are
        path = folder / corpus / "labels" / str(fold) / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[*([""] if index else []), "image_path", *aus], *rows])
        paths.append(path)
    return paths[0], paths[1]


@pytest.mark.parametrize("corpus", ["BP4D", "DISFA"])
def test_published_lists_are_read_as_they_are(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the bundled config, whose paths alone are changed."""
    few, _ = published(tmp_path, corpus, fold=1)
    places = {"train": str(few).replace("/1/", "/{fold}/"), "test": str(few.with_name("test.csv")), "image_root": str(tmp_path)}
    config = read_detector(
        f"published-{corpus.lower()}", [f"data.csv.{key}={value}" for key, value in places.items()] + ["data.csv.fold=1"]
    )
    assert config.data.csv is not None
    of = config.data.csv
    assert of.train == str(few)
    assert (of.padding, of.target_landmarks, of.validation, of.chosen_by) == ("constant", "measured", "test", "f1")
    assert "optimistic" in selection(of)
    assert csv_corpus.au_columns(few) == CORPUS_AUS[corpus] == of.aus
    train, val = csv_corpus.csv_corpora(of, of.aus, 16, 0)
    test = csv_corpus.test_corpus(of, of.aus, 16)
    assert test is not None
    assert (len(train), len(val), len(test)) == (90, 54, 54)
    assert (train.missing, test.missing) == (10, 6)
    assert set(test.subjects) <= PUBLISHED[corpus][1]
    assert not set(train.subjects) & PUBLISHED[corpus][1]
    assert train.made == {"padding": "constant", "target_landmarks": "measured"}
    told = capsys.readouterr().out
    assert f"{few}: 10 of 100 frames are not there and left out, such as " in told
    assert "test.csv: 6 of 60 frames" in told
    with pytest.raises(ValueError, match=r"bad rows"):
        csv_corpus.csv_corpora(dataclasses.replace(of, skip_missing=False), of.aus, 16, 0)
    shutil.rmtree(tmp_path / corpus / "aligned_landmarks")
    with pytest.raises(ValueError, match=r"no landmarks"):  # not one is left
        csv_corpus.csv_corpora(of, of.aus, 16, 0)


def test_how_faces_were_made_is_read_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few, test = published(tmp_path, "DISFA")
    config = Csv(str(few), test=str(test), image_root=str(tmp_path), skip_missing=True)
    train, _ = csv_corpus.csv_corpora(config, CORPUS_AUS["DISFA"], 16, 0)
    assert train.made == {}
    assert "how faces at the border are padded is not recorded; taken for reflect" in capsys.readouterr().out
    # The folder of the corpus says it for lists from elsewhere; an older one had no choice.
    (tmp_path / "DISFA/prepared.jsonl").write_text('{"size": 16, "padding": "constant"}\n["SN001/00001", ""]\n')
    train, _ = csv_corpus.csv_corpora(config, CORPUS_AUS["DISFA"], 16, 0)
    assert train.made == {"padding": "constant", "target_landmarks": "moved"}
    with pytest.raises(ValueError, match=r"padding is constant, but data.csv.padding asks for reflect: prepare the corpus so"):
        csv_corpus.csv_corpora(dataclasses.replace(config, padding="reflect"), CORPUS_AUS["DISFA"], 16, 0)
    # labels.csv says it in its columns.
    rows = list(csv.reader(test.open()))
    with test.open("w", newline="") as file:
        csv.writer(file).writerows([[*rows[0], "padding"], *([*row, "reflect"] for row in rows[1:])])
    with pytest.raises(ValueError, match=r"faces of several kinds: padding is constant in .*100.csv, reflect in .*test.csv"):
        csv_corpus.csv_corpora(config, CORPUS_AUS["DISFA"], 16, 0)


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train and test have {fold} in them: say which with fold"):
        Csv("{fold}/train.csv", test="{fold}/test.csv")
    with pytest.raises(ValueError, match=r"fold needs folds .* or test"):
        Csv("{fold}/train.csv", fold=1)
    with pytest.raises(ValueError, match=r"validation: refit and val contradict each other"):
        Csv("a.csv", val="b.csv", validation="refit")
    assert Csv("{fold}/train.csv", test="{fold}/test.csv", fold=2).test == "2/test.csv"
    path = settings(tmp_path, data={"csv": {"train": "x.csv", "validation": "refit"}})
    with pytest.raises(ValueError, match=r"refit needs optimiser.schedule: none"):
        read_detector(str(path))
    with pytest.raises(ValueError, match=r"which one process can"):
        read_detector(str(path), ["optimiser.schedule=none", "trainer.devices=2"])


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of four subjects, whose labels.csv says how its faces were made, and settings for it."""
    folder = tmp_path_factory.mktemp("toy")
    path = toy_corpus(folder)
    rows = list(csv.reader(path.open()))
    made = ["padding", "target_landmarks"], ["constant", "measured"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*rows[0], *made[0]], *([*row, *made[1]] for row in rows[1:])])
    settings(folder, guide={"labels": 0.0}, optimiser={"epochs": 2, "schedule": "none"}, export={"corpus": "toy"})
    return folder


def changed(toy: Path, out: str, model: dict[str, object] | None = None, **csv_changes: object) -> Path:
    """Settings as the folder's, but for these."""
    values = yaml.safe_load((toy / "settings.yaml").read_text())
    values["data"]["csv"] |= csv_changes
    values["model"] = model or values["model"]
    values["trainer"]["out"] = str(toy / out)
    path = toy / f"{out}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_refit_trains_on_all_subjects_for_the_chosen_epochs(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fgnet_plugin.training.evaluate.runs import read_run
    from fgnet_plugin.training.train import train_detector

    path = changed(toy, "refitted", validation="refit")
    out = train_detector(read_detector(str(path)))
    first, info = read_info(toy / "refitted/choosing/fgnet.safetensors"), read_info(out)
    per_epoch = -(-36 // 8)
    assert first.training["step"] % per_epoch == 0
    epochs = info.training["refit_epochs"]
    assert epochs == first.training["step"] // per_epoch
    assert info.training["step"] == epochs * (48 // 8)  # all 48 frames
    assert info.training["validation"] == first.training["validation"]
    assert info.training["validation_faces"] == 12
    assert info.training["recipe"]["optimiser"]["epochs"] == 2
    # What the faces were is recorded, and detection follows it.
    assert info.padding == first.padding == "constant"
    assert info.training["faces"] == {"padding": "constant", "target_landmarks": "measured"}
    told = capsys.readouterr().out
    assert "number of epochs chosen on 25% of the training subjects, set aside, by mean AUC; then trained anew" in told
    run = read_run(str(toy / "refitted"))
    assert run.padding == "constant"
    assert "then trained anew on all of them" in run.selection
    assert any("padded with black" in note for note in run.notes)
    assert any("measured again on the aligned faces" in note for note in run.notes)
    assert not any("not finished" in note for note in run.notes)
    with pytest.raises(ValueError, match=r"holds a training of"):
        train_detector(read_detector(str(path)))
    (toy / "refitted/last.ckpt").unlink()  # as if it had been killed before its second part
    out.unlink()
    train_detector(read_detector(str(path)), resume=True)
    assert read_info(out) == info


def test_a_baseline_starts_from_imagenet(toy: Path, tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    from fgnet_plugin.training.evaluate.runs import read_run
    from fgnet_plugin.training.models.baseline import Baseline, imagenet_weights, load_baseline, start_from_imagenet
    from fgnet_plugin.training.train import train_detector

    torch.manual_seed(1)
    theirs = torchvision.models.resnet18(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18-imagenet.pth")
    save_file(theirs.state_dict(), tmp_path / "resnet18.safetensors")
    for name in ("resnet18-imagenet.pth", "resnet18.safetensors"):
        started = start_from_imagenet(tmp_path / name, "resnet18", AUS, 64).eval()
        # All but the last layer, on pixels in the units that torchvision documents for its weights.
        faces = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        pixels = torchvision.transforms.functional.normalize(faces / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        started.resnet.fc, theirs.fc = torch.nn.Identity(), torch.nn.Identity()
        torch.testing.assert_close(started(faces), theirs(pixels), rtol=1e-4, atol=1e-5)
    start = str(tmp_path / "resnet18-imagenet.pth")
    model = {"baseline": "resnet18", "size": 32, "baseline_weights": start}
    path = changed(toy, "imagenet", model, resize=True)
    out = train_detector(read_detector(str(path), ["optimiser.lr=1e-9", "optimiser.epochs=1", "optimiser.ema=null"]))
    trained, info = load_baseline(out)
    assert trained.imagenet
    assert info.imagenet
    assert info.training["faces"]["padding"] == "constant"
    torch.testing.assert_close(trained.resnet.conv1.weight, imagenet_weights(start, trained)["conv1.weight"], atol=1e-6, rtol=0)
    assert read_run(str(toy / "imagenet")).system == "resnet18 from resnet18-imagenet"
    with pytest.raises(CheckpointError, match=r"no such file; where there is a network, .*resnet18\(weights=\"DEFAULT\"\)"):
        start_from_imagenet(tmp_path / "none.pth", "resnet18", AUS, 64)
    with pytest.raises(CheckpointError, match=r"layer1.0.conv3.weight is missing"):
        start_from_imagenet(start, "resnet50", AUS, 64)
    torch.save({"model": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"no weights of torchvision's resnet18; it holds model"):
        imagenet_weights(tmp_path / "other.pth", Baseline("resnet18", AUS, 64))
    with pytest.raises(ValueError, match=r"baseline_weights are for a baseline"):
        read_detector(str(changed(toy, "none", {"size": 64, "baseline_weights": start})))


def test_the_generators_average_is_measured_in_images() -> None:
    """Half of it is younger than 10,000 images, whatever the batch; rosinality's code has 0.5 ** (32 / 10,000) a step."""
    from fgnet_plugin.training.config.pretraining import read_generator

    for batch in (32, 8):
        config = read_generator("generator", [f"optimiser.batch_size={batch}"])
        assert config.optimiser.ema == pytest.approx(0.5 ** (batch / 10_000))


def test_lists_choose_what_is_prepared(tmp_path: Path) -> None:
    """Only listed frames; those without codes, and with other labels, are said; targets' landmarks are measured again."""
    from test_prepare import codes, command, labels_of, photo, rows_of

    from fgnet_plugin.training.prepare import only_listed, prepare, read_bp4d

    place = tmp_path / "raw/2D+3D/F001/T1"
    place.mkdir(parents=True)
    for number in (7, 8, 9):
        Image.fromarray(photo(0)).save(place / f"{number}.jpg")
    codes(tmp_path / "raw/AUCoding/AU_OCC/F001_T1.csv", {number: labels_of(0) for number in (7, 8, 9)})
    listed = tmp_path / "train_100.csv"
    listed.write_text(
        ",image_path,au1,au2\n5,BP4D/aligned_images/F001/T1/00008.jpg,1,0\n9,BP4D/aligned_images/F001/T1/00007.jpg,0,0\n"
        "3,BP4D/aligned_images/F002/T1/00001.jpg,0,0\n"
    )
    corpus = only_listed(read_bp4d(tmp_path / "raw"), [listed])
    assert [frame.number for frame in corpus.frames] == [7, 8]
    assert corpus.uncoded == ("F002/T1/00001",)
    told = " ".join(corpus.notes)
    assert "1 coded frame is not listed" in told
    assert "1 listed frame is not coded here: F002/T1/00001" in told
    assert "1 listed frame has other labels in the list than in the codes: F001/T1/00008" in told
    told = command(
        *("bp4d", str(tmp_path / "raw"), str(tmp_path / "out"), "--config", "published-bp4d"),
        *("--frames", str(listed), "--workers", "0"),
    )
    assert "2 of 2 coded frames prepared" in told.stdout, told.stderr
    assert "1: listed, but not coded" in told.stdout
    rows = rows_of(tmp_path / "out/BP4D/labels.csv")
    assert [(row["padding"], row["target_landmarks"]) for row in rows] == [("constant", "measured")] * 2
    assert rows_of(tmp_path / "out/BP4D/report.csv")[-1] == {
        "frame": "F002/T1/00001",
        "file": "",
        "prepared": "no",
        "reason": "listed, but not coded",
    }
    points = np.load(tmp_path / "out/BP4D/aligned_landmarks/F001/T1/00007.npy")
    assert np.array_equal(points, points.round())
    moved = prepare(corpus, tmp_path / "moved", padding="constant", progress=False)
    before = np.load(tmp_path / "moved/BP4D/aligned_landmarks/F001/T1/00007.npy")
    assert 0.1 < np.abs(points - before).mean() < 6  # px of 256
    assert moved.written == 2
    with pytest.raises(ValueError, match=r"begun otherwise \(padding was constant, now reflect; target_landmarks was measured"):
        prepare(corpus, tmp_path / "out", progress=False)
    # Other frames of the corpus go into the same folder; what is there stays.
    again = prepare(read_bp4d(tmp_path / "raw"), tmp_path / "moved", padding="constant", progress=False)
    assert again.written == 3
    listed.write_text("image_path\nBP4D/aligned_images/F002/T1/00001.jpg\n")
    with pytest.raises(ValueError, match=r"none of the 1 frame is coded in .*is it a list of BP4D"):
        only_listed(read_bp4d(tmp_path / "raw"), [listed])
    listed.write_text("image_path\nphoto.jpg\n")
    with pytest.raises(ValueError, match=r"train_100.csv:2: image_path is 'photo.jpg'"):
        only_listed(read_bp4d(tmp_path / "raw"), [listed])
    with pytest.raises(ValueError, match=r"none\.csv: no such file"):
        only_listed(read_bp4d(tmp_path / "raw"), [tmp_path / "none.csv"])


def test_landmarks_are_whole_pixels_in_training(toy: Path) -> None:
    """dlib's .npy files hold integers: read as they are."""
    few, _ = published(toy / "lists", "BP4D")
    config = Csv(str(few), image_root=str(toy / "lists"), skip_missing=True)
    corpus = csv_corpus.read_csv(few, CORPUS_AUS["BP4D"], 16, config)
    assert corpus.landmarks.dtype == torch.float32
    assert corpus.landmarks.unique().tolist() == [8.0]
    assert toy_landmarks(16).dtype == np.float32
