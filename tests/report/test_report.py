"""Pages of recordings and of studies: what they hold, and how they behave in a browser where there is one."""

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Page, browser_is_there
from in_process import without_ray
from photos import feat_path
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("jinja2", reason="the extra report is not installed")
pytest.importorskip("av")

from fgnet_plugin import OfflineDetector
from fgnet_plugin.cli.app import app
from fgnet_plugin.errors import InputError
from fgnet_plugin.faces import FaceFinder
from fgnet_plugin.media.blur import blur_faces
from fgnet_plugin.media.images import read_photo
from fgnet_plugin.report import report
from fgnet_plugin.report.page import clock, thinned
from fgnet_plugin.report.timeline import of_rows, timelines

in_browser = pytest.mark.skipif(not browser_is_there(), reason="needs selenium, and Debian's chromium and chromium-driver")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smile on video, a photo of five, a drawing; their table, and the pages of the video and of all."""
    folder = tmp_path_factory.mktemp("report")
    names = ("single_face.mp4", "multi_face.jpg", "free-mountain-vector-01.jpg")
    for name in names:
        shutil.copy(feat_path(name), folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        OfflineDetector().detect(list(names), save="all.csv", progress_bar=False, columns="faces", time=True)
        table = pd.read_csv("all.csv")
        table[table["input"] == "single_face.mp4"].to_csv("smile.csv", index=False)
        shutil.copy("all.csv.run", "smile.csv.run")
        report("smile.csv", "smile.html")
        report("all.csv", "study.html", pictures=12)
    return folder


def data_of(page: Path) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_a_page_holds_the_numbers_of_the_table(folder: Path) -> None:
    table, data = pd.read_csv(folder / "smile.csv"), data_of(folder / "smile.html")
    assert unpacked(data["frames"], "<u4").tolist() == table["frame"].tolist()
    assert np.allclose(unpacked(data["times"], "<f4"), table["time"], atol=1e-6)
    (person,) = data["persons"]
    for au in data["aus"]:
        assert np.allclose(unpacked(person["scores"][au["name"]], "<u2") / 10_000, table[au["name"]], atol=6e-5)
    over = table["AU12"].to_numpy() > 0.5
    first, last = int(over.argmax()), len(over) - 1 - int(over[::-1].argmax())
    smiles = [event for event in person["events"] if event[0] == "AU12"]
    assert smiles[0][1] == first
    assert smiles[-1][3] == last
    assert all(table["AU12"].iloc[event[2]] == table["AU12"].iloc[event[1] : event[3] + 1].max() for event in smiles)
    assert len(data["pictures"]) == 72


def test_the_paragraph_has_the_run_s_numbers(folder: Path) -> None:
    text = re.sub(r"\s+", " ", (folder / "study.html").read_text())
    assert (
        "in 1 video recording and 2 pictures (2 s in all) with fgnet-rendered (FG-Net; Yin et al., 2024; weights sha256" in text
    )
    digest = json.loads((folder / "all.csv.run").read_text().splitlines()[0])["checkpoint"]
    assert digest in text
    assert "A face was found in 73 of 74 frames (98.6%)" in text
    assert "BlazeFace (Bazarevsky et al., 2019)" in text


@pytest.mark.parametrize("name", ["smile.html", "study.html", "study_files/multi_face.html"])
def test_pages_ask_for_nothing(folder: Path, name: str) -> None:
    text = (folder / name).read_text()
    assert "default-src 'none'" in text
    for address in re.findall(r"""(?:src|href|action)\s*=\s*["']([^"']*)""", text):
        assert address.startswith(("data:", "#", "study_files/", "../")) or not address, address
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", text)


def test_names_can_t_break_a_page(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"input": "<script>alert(1)</script>.mp4", "frame": [0, 1], "AU12": [0.2, 0.9], "Identity": "</script><b>"}
    )
    report(rows.assign(FaceRectX=1.0, FaceRectY=1.0, FaceRectWidth=9.0, FaceRectHeight=9.0), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    assert "<script>alert" not in text
    assert "</script><b>" not in text
    assert data_of(tmp_path / "x.html")["persons"][0]["label"] == "</script><b>"


def test_blurred_faces_are_not_found_any_more(folder: Path, tmp_path: Path) -> None:
    photo = folder / "multi_face.jpg"
    finder = FaceFinder()
    (found,) = finder.find([read_photo(photo)])
    boxes = found.boxes.numpy()[:, :4]
    boxes[:, 2:] -= boxes[:, :2]
    assert len(boxes) == 5
    blurred = blur_faces(np.asarray(Image.open(photo).convert("RGB")), boxes)
    assert len(finder.find([read_photo(blurred)])[0]) == 0
    report(folder / "all.csv", tmp_path / "blurred.html", blur_faces=True, source=folder, heatmaps=False)
    pictures = data_of(tmp_path / "blurred_files" / "multi_face.html")["pictures"]
    (tmp_path / "page.webp").write_bytes(base64.b64decode(pictures[0]["src"].split(",")[1]))
    assert len(finder.find([read_photo(tmp_path / "page.webp")])[0]) == 0
    drawing = tmp_path / "blurred_files" / "free-mountain-vector-01.html"
    assert data_of(drawing)["pictures"] == []
    assert "frames in which no face was found have no picture" in drawing.read_text()


def test_no_pictures(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGNET_NO_PICTURES", "1")
    done = CliRunner().invoke(app, ["report", str(folder / "smile.csv"), "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 0, done.output
    assert "data:image" not in (tmp_path / "a.html").read_text().replace("img-src data:", "")
    asked = ["report", str(folder / "smile.csv"), "--out", str(tmp_path / "b.html"), "--with-pictures", "--no-heatmaps"]
    assert CliRunner().invoke(app, [*asked, "--source", str(folder)]).exit_code == 0
    assert "data:image" in (tmp_path / "b.html").read_text()


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    for name in ("smile.csv", "single_face.mp4"):
        shutil.copy(folder / name, tmp_path / name)
    report(tmp_path / "smile.csv", tmp_path / "a.html", source=tmp_path)
    text = (tmp_path / "a.html").read_text()
    assert "There are no heatmaps: the table does not say which AU model it is of; --au-model names it." in text
    assert "there is no .run file beside the table" in text
    report(tmp_path / "smile.csv", tmp_path / "b.html", source=tmp_path / "elsewhere")
    assert "single_face.mp4 is not there; --source names the folder" in (tmp_path / "b.html").read_text()
    longer = pd.read_csv(tmp_path / "smile.csv")
    longer["frame"] += 30
    report(longer, tmp_path / "c.html", source=tmp_path)
    assert "has 72 frames, but the table has rows up to frame 101: it is another recording" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pd.DataFrame({"input": ["a", "b", "a"], "frame": 0, "AU12": 0.5}), "the rows of a do not follow one another"),
        (pd.DataFrame({"input": ["a"], "AU12": 0.5}), "no column frame"),
        (pd.DataFrame({"input": ["a"], "frame": 0}), "no AUs"),
        (pd.DataFrame({"input": [], "frame": [], "AU12": []}), "no rows"),
    ],
)
def test_tables_that_are_refused(table: pd.DataFrame, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        report(table, tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_persons_gaps_and_long_recordings() -> None:
    frames = np.arange(300)
    rows = pd.DataFrame({"input": "v", "frame": frames, "time": frames / 25, "FaceRectX": 1.0, "FaceRectWidth": 9.0})
    rows = rows.assign(FaceRectY=1.0, FaceRectHeight=9.0, AU12=(frames % 100 > 50) * 1.0, Identity="Person_0")
    other = rows[100:200].assign(Identity="Person_1", AU12=0.0)
    passing = rows[10:11].assign(Identity="Person_2")
    table = pd.concat([rows[(frames < 220) | (frames >= 260)], other, passing])
    recording = of_rows("v", table)
    assert [person.label for person in recording.persons] == ["Person_0", "Person_1"]
    assert any("1 face of persons who are seen briefly" in note for note in recording.notes)
    assert recording.breaks().tolist() == [219]
    assert [(event.onset, event.offset) for event in recording.persons[0].events] == [(51, 99), (151, 199), (220, 259)]
    few, _, _ = thinned(recording, 10, [], [])
    assert len(few.frames) == 26
    assert few.persons[0].spread("AU12", 26).tolist()[:11] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert (few.persons[0].events[0].onset, few.persons[0].events[0].offset) == (5, 9)
    assert clock(3675.5) == "1:01:15.50"


def test_times_of_pyfeat_s_tables() -> None:
    """Whole minutes and seconds: a line through them is less than a second off."""
    frames = np.arange(0, 900, 5)
    rows = pd.DataFrame(
        {"input": "v", "frame": frames, "AU12": 0.1, "approx_time": [f"00:{int(f / 29.97):02}" for f in frames]}
    )
    (recording,) = timelines(rows)
    assert recording.timed
    assert np.abs(recording.times - frames / 29.97).max() < 1
    (untimed,) = timelines(rows.drop(columns="approx_time"))
    assert not untimed.timed
    assert "The table has no times" in untimed.notes[0]


def test_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One recording after the other, and what could not be read."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    shutil.copy(feat_path("single_face.mp4"), "clips/a.mp4")
    shutil.copy(feat_path("single_face.jpg"), "clips/b.jpg")
    shutil.copy(feat_path("free-mountain-vector-01.jpg"), "clips/nobody.jpg")
    Path("clips/broken.mp4").write_bytes(feat_path("single_face.mp4").read_bytes()[:2000])
    with without_ray():
        arguments = ["detect", "clips", "--offline", "--skip-frames", "12", "--out", "corpus", "--workers", "1"]
        assert CliRunner().invoke(app, arguments).exit_code == 1
    done = CliRunner().invoke(app, ["report", "corpus", "--out", "corpus.html"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("corpus_files").iterdir()) == ["a.html", "b.html", "nobody.html"]
    text = Path("corpus.html").read_text()
    assert "Left out: clips/broken.mp4" in text
    assert "with fgnet-rendered (FG-Net; Yin et al., 2024; weights" in text
    assert "data:image/webp" in Path("corpus_files/a.html").read_text()


@in_browser
def test_a_recording_in_a_browser(folder: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with Page(folder / "smile.html") as page:
        assert page.run("return document.querySelectorAll('#charts canvas').length") == 12
        pixels = "getContext('2d').getImageData(0, 0, 900, 60).data"
        assert page.run(f"return document.querySelector('#charts canvas').{pixels}.some((v, i) => i % 4 === 3 && v > 0)")
        page.keys(Keys.HOME)
        assert page.text("#where").startswith("0:00.00, frame 0")
        page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        assert "frame 2." in page.text("#where")
        page.keys("n")
        assert page.run("return state.place") in {event[2] for event in data_of(folder / "smile.html")["persons"][0]["events"]}
        page.keys(Keys.END)
        assert "frame 71" in page.text("#where")
        score = pd.read_csv(folder / "smile.csv")["AU12"].iloc[71]
        assert page.text("#scores tr:nth-child(6)").endswith(f"{score:.2f}")
        page.click("#charts .chart:nth-child(6) .u-over")
        middle = page.run("return state.place")
        assert 30 <= middle <= 42
        picture = page.run("return document.getElementById('picture').src")
        page.click(".peaks button")
        assert page.run("return state.place") != middle
        assert page.run("return document.getElementById('picture').src") != picture
        assert (page.requests(), page.complaints()) == ([], [])


@in_browser
def test_a_study_in_a_browser(folder: Path) -> None:
    with Page(folder / "study.html") as page:
        names = "return [...document.querySelectorAll('#rows th')].map(th => th.textContent)"
        assert len(page.run(names)) == 3
        page.click('th button[data-key="AU12"]')
        assert page.run(names)[-1] == "free-mountain-vector-01"  # nobody's AU12 is known there
        assert page.run("return document.querySelector('th[aria-sort=descending]').textContent") == "AU12"
        page.keys("face", into="#name")
        assert sorted(page.run(names)) == ["multi_face", "single_face"]
        assert page.text("#count") == "2 of 3 recordings"
        page.click("#rows a")
        assert page.run("return document.getElementById('picture') !== null")
        assert (page.requests(), page.complaints()) == ([], [])
