"""``fgnet train evaluate``: scores, intervals, groups, cached predictions, and the page, on made-up runs of toy faces."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer.testing
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score

pytest.importorskip("jinja2", reason="the extra `train` is not installed")

from fgnet_plugin.checkpoints.fgnet import CheckpointInfo, save
from fgnet_plugin.network import FGNet, small_config
from fgnet_plugin.training.data.intensities import read_intensities

AUS = ("AU01", "AU06", "AU12")
SIZE = 64


def toy_corpus(folder: Path, name: str, aus: tuple[str, ...] = AUS, n: int = 36, subjects: int = 6, seed: int = 0) -> Path:
    """A CSV file in the published layout; each AU brightens one colour. Beside it folds of two thirds and one third."""
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    for i in range(n):
        labels = rng.integers(0, 2, len(aus))
        pixels = rng.normal(80, 10, (SIZE, SIZE, 3))
        pixels[..., : len(aus)] += 100 * labels[:3]
        image = Path(name) / "aligned_images" / f"S{i % subjects}" / f"{i:03d}.png"
        points = folder / str(image.with_suffix(".npy")).replace("aligned_images", "aligned_landmarks")
        for path in (folder / image, points):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / image)
        np.save(points, rng.uniform(10, 50, (68, 2)).astype(np.float32))
        rows.append([image, *labels])
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image_path", *aus], *rows])
    (folder / f"{name}-folds.csv").write_text("subject,fold\n" + "".join(f"S{i},{i % 3}\n" for i in range(subjects)))
    return path


def made_up_run(folder: Path, name: str, corpus: Path | None = None, aus: tuple[str, ...] = AUS, **changes: Any) -> Path:
    """The folder of an FG-Net that was never trained, with a recipe that says otherwise."""
    fold, seed = changes.get("fold"), changes.get("seed", 0)
    config = small_config(aus, SIZE, 16)
    config = type(config)(**{**config.__dict__, "heatmap_size": 16})
    data: dict[str, Any] = {"rendered": {"domains": ["studio"], "seed": 0, "val_domains": ["film"], "val_seed": 5}}
    if corpus is not None:
        folds = str(corpus.with_name(f"{corpus.stem}-folds.csv")) if fold is not None else ""
        settings = {"folds": folds, "fold": fold, "samples": changes.get("samples"), "aus": []}
        settings |= {"validation": changes.get("validation", "subjects")} | changes.get("csv", {})
        data = {"csv": {"train": str(corpus), **settings}}
    model = {"start_from": changes.get("start", ""), "size": SIZE}
    optimiser = {"epochs": 3} | changes.get("optimiser", {})
    recipe = {"data": data, "trainer": {"seed": seed}, "model": model, "optimiser": optimiser, "export": {}}
    training = {"recipe": recipe} | changes.get("training", {})
    torch.manual_seed(zlib.crc32(name.encode()))
    info = CheckpointInfo(config, corpus=changes.get("trained_on", corpus.stem if corpus else ""), training=training)
    return save(FGNet(config), folder / name / "fgnet.safetensors", info).parent


class Reader:
    """In place of a network: activations are the colours of a face, with noise that depends on recipe and face alone."""

    calls = 0

    def __init__(self, path: Path, device: str) -> None:
        from fgnet_plugin.checkpoints.fgnet import read_info

        info = read_info(path)
        recipe = info.training["recipe"]
        self.aus, self.image_size = info.config.aus, SIZE
        self.noise = 0.5 if recipe["model"]["start_from"] else 1.5
        csv_settings = recipe["data"].get("csv", {})
        self.key = [recipe["trainer"]["seed"], csv_settings.get("fold") or 0, csv_settings.get("samples") or 0]

    def predict(self, faces: torch.Tensor, batch_size: int = 8) -> torch.Tensor:
        type(self).calls += len(faces)
        means = faces.float().mean((2, 3)).numpy()
        noise = [np.random.default_rng([*self.key, int(1000 * face.sum())]).normal(0, self.noise, 3) for face in means]
        return torch.from_numpy(np.tanh((means - 130) / 50 + noise).astype(np.float32)[:, : len(self.aus)])


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> type[Reader]:
    """`Reader` in place of the networks, counting faces from 0."""
    from fgnet_plugin.training.evaluate import evaluation

    monkeypatch.setattr(evaluation, "load_system", Reader)
    monkeypatch.setattr(Reader, "calls", 0)
    return Reader


def quiet(line: str) -> None:
    """Says nothing."""


def evaluated(out: Path, *runs: Path, bootstrap: int = 50, batch_size: int = 8, names: Any = (), **tests: Any) -> Any:
    """A study."""
    from fgnet_plugin.training.evaluate.evaluation import evaluate
    from fgnet_plugin.training.evaluate.study import Settings
    from fgnet_plugin.training.evaluate.test_sets import Requested

    settings = Settings(tuple(map(str, runs)), out, Requested(**tests), names, bootstrap, batch_size=batch_size)
    return evaluate(settings, say=quiet)


def predictions_of(labels: np.ndarray, activations: np.ndarray, subjects: np.ndarray, aus: tuple[str, ...]) -> Any:
    """Predictions that were made by nobody."""
    from fgnet_plugin.training.evaluate.predictions import Predictions
    from fgnet_plugin.training.evaluate.test_sets import Test

    test = Test("toy", True, aus, "key", read=lambda: pytest.fail("nothing to read"))
    images = np.array([str(i) for i in range(len(labels))], dtype=object)
    return Predictions(test, images, subjects.astype(str).astype(object), labels.astype(float), activations)


def clustered(rng: np.random.Generator, subjects: int = 14, frames: int = 30) -> tuple[np.ndarray, ...]:
    """Labels [N, 1], activations [N, 1] and subjects of frames whose activations shift from subject to subject."""
    of = np.repeat(np.arange(subjects), frames)
    truth = rng.random(len(of)) < rng.beta(0.8, 1.2, subjects)[of]  # some show the AU often, others hardly
    shift = rng.normal(0, 0.8, subjects)[of]
    score = np.tanh(0.5 * (2.0 * truth - 1 + shift + rng.normal(0, 1, len(of))))
    return truth[:, None].astype(float), score[:, None], of


def test_scores_agree_with_sklearn_and_leave_out_what_is_unknown_or_undefined() -> None:
    from fgnet_plugin.training.evaluate.scoring import OCCURRENCE, scored

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (300, 4)).astype(float)
    labels[rng.random(labels.shape) < 0.1] = np.nan
    labels[:, 2] = np.where(np.isnan(labels[:, 2]), np.nan, 0.0)
    labels[:, 3] = 1.0
    activations = rng.normal(0, 1, labels.shape).round(1)  # with ties
    found = scored(None, predictions_of(labels, activations, rng.integers(0, 20, 300), (*AUS, "AU17")), 20, 0)
    for i in (0, 1):
        known = np.isfinite(labels[:, i])
        truth, score = labels[known, i], activations[known, i]
        np.testing.assert_allclose(found.points[:2, i], [f1_score(truth, score > 0), roc_auc_score(truth, score)], atol=1e-12)
    of_occurrence = slice(len(OCCURRENCE))
    assert np.isnan(found.points[of_occurrence, 2:]).all()
    assert np.isnan(found.samples[of_occurrence, 2:]).all()
    assert np.isfinite(found.samples[:, :2]).all()


@pytest.mark.parametrize(("subjects", "times"), [(6, 40), (40, 6)])  # two ways to compute the same
def test_resamples_are_scores_of_copied_subjects(subjects: int, times: int) -> None:
    """Against copies made one by one, whose AUC leaves out pairs of a subject's copy with another copy of the same."""
    from fgnet_plugin.comparison.bootstrap import Case, draw_units, resampled_scores

    rng = np.random.default_rng(1)
    labels, scores, of = clustered(rng, subjects, 8)
    truth, score = labels[:, 0] > 0, scores[:, 0].round(1)
    case = Case(truth, score, score > 0, of)
    drawn = draw_units(np.random.default_rng(3), subjects, times)
    samples = resampled_scores([case], drawn, compare_copies=False)
    for b in range(times):
        copies = [unit for unit in range(subjects) for _ in range(int(drawn[unit, b]))]
        rows = np.concatenate([np.flatnonzero(of == unit) for unit in copies])
        person, copy = of[rows], np.repeat(np.arange(len(copies)), [(of == unit).sum() for unit in copies])
        assert samples[0, 0, b] == pytest.approx(f1_score(truth[rows], score[rows] > 0))
        first, second = np.flatnonzero(truth[rows]), np.flatnonzero(~truth[rows])
        pairs = (person[first][:, None] != person[second]) | (copy[first][:, None] == copy[second])
        difference = score[rows][first][:, None] - score[rows][second]
        won = (difference > 0) + 0.5 * (difference == 0)
        assert samples[1, 0, b] == pytest.approx(won[pairs].mean())


def test_intervals_over_subjects_cover_the_truth_and_those_over_frames_would_not() -> None:
    from fgnet_plugin.training.evaluate.scores import Group, Key
    from fgnet_plugin.training.evaluate.scoring import scored

    rng = np.random.default_rng(5)
    labels, scores, of = clustered(rng, 3000, 10)
    truth = roc_auc_score(labels[:, 0], scores[:, 0])
    hits = {"subjects": 0, "frames": 0}
    for _ in range(60):
        labels, scores, of = clustered(rng)
        for unit, who in (("subjects", of), ("frames", np.arange(len(of)))):
            one = scored(_Run(), predictions_of(labels, scores, who, ("AU12",)), 300, 0)
            found = Group(Key("s", "a", "b", True, None, "", False), (one,)).estimate(("AU12",), "auc")
            assert found.low < found.value < found.high
            hits[unit] += found.low <= truth <= found.high
    assert hits["subjects"] >= 50  # 57 expected; a few less with 14 subjects
    assert hits["frames"] < hits["subjects"] - 5


class _Run:
    """What a group asks of a run."""

    def __init__(self, fold: int | None = None, seed: int = 0, system: str = "s") -> None:
        self.fold, self.seed, self.system, self.given = fold, seed, system, "run"
        self.trained_on, self.samples, self.selection, self.published_choice = "toy", None, "chosen", False


def test_means_and_spread_over_folds_and_seeds() -> None:
    from fgnet_plugin.training.evaluate.scores import groups
    from fgnet_plugin.training.evaluate.scoring import scored

    rng, members = np.random.default_rng(0), []
    for fold in range(3):
        labels = rng.integers(0, 2, (80, 2)).astype(float)
        labels[:, 1] = labels[:, 1] if fold else 0  # an AU that one fold lacks
        for seed in range(2):
            score = labels + rng.normal(0, 1, labels.shape) - 0.5
            predictions = predictions_of(labels, score, np.arange(80) % 10 + 100 * fold, ("AU01", "AU12"))
            members.append(scored(_Run(fold, seed), predictions, 30, 0))
    (group,) = groups(members)
    auc = np.array([[members[2 * fold + seed].points[1] for seed in range(2)] for fold in range(3)])
    found = group.estimate(("AU01",), "auc")
    assert found.value == pytest.approx(auc[:, :, 0].mean())
    assert found.sd_folds == pytest.approx(auc[:, :, 0].mean(1).std(ddof=1))
    assert found.sd_seeds == pytest.approx(np.sqrt(auc[:, :, 0].var(1, ddof=1).mean()))
    assert group.estimate(("AU12",), "auc").value == pytest.approx(auc[1:, :, 1].mean())
    both = group.estimate(("AU01", "AU12"), "auc")
    assert both.value == pytest.approx((auc[:, :, 0].mean() + auc[1:, :, 1].mean()) / 2)
    assert both.low < both.value < both.high


def test_folds_that_share_subjects_are_resampled_together() -> None:
    """The same faces again as another fold, as in repeated divisions, say nothing new: the interval stays as wide."""
    from fgnet_plugin.training.evaluate.scores import groups
    from fgnet_plugin.training.evaluate.scoring import scored

    labels, scores, of = clustered(np.random.default_rng(4))
    members = [scored(_Run(fold), predictions_of(labels, scores, of, ("AU12",)), 200, 0) for fold in (0, 3)]
    (once,), (twice,) = groups(members[:1]), groups(members)
    for measure in ("f1", "auc", "mcc"):
        one, both = (group.estimate(("AU12",), measure) for group in (once, twice))
        assert (one.value, one.low, one.high) == pytest.approx((both.value, both.low, both.high))
    other = scored(_Run(3), predictions_of(labels, scores, of + 100, ("AU12",)), 200, 0)  # other people: it does say more
    alone, found = (group.estimate(("AU12",), "f1") for group in (once, *groups([members[0], other])))
    assert found.high - found.low < 0.85 * (alone.high - alone.low)


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    from fgnet_plugin.training.evaluate.scores import differences, groups
    from fgnet_plugin.training.evaluate.scoring import scored

    rng = np.random.default_rng(2)
    labels, scores, of = clustered(rng)
    noisy = np.tanh(np.arctanh(scores) + rng.normal(0, 0.2, scores.shape))
    both = [
        scored(_Run(system=name), predictions_of(labels, values, of, ("AU12",)), 300, 0)
        for name, values in (("one", scores), ("two", noisy))
    ]
    f1, auc = differences(groups(both))
    assert (f1.measure, auc.measure, auc.tests) == ("f1", "auc", 1)
    assert auc.value == pytest.approx(both[0].points[1, 0] - both[1].points[1, 0])
    own = np.ptp(np.quantile(both[0].samples[1, 0], [0.025, 0.975]))
    assert auc.high - auc.low < own / 2
    other = predictions_of(1 - labels, noisy, of, ("AU12",))  # the same faces with other labels can't be compared
    assert differences(groups([both[0], scored(_Run(system="two"), other, 300, 0)])) == []


def test_resamples_that_lack_an_au_are_no_resamples_of_a_mean_with_it() -> None:
    """Nine subjects, one of whom shows the hard AU; the other AU is easy."""
    from fgnet_plugin.training.evaluate.scores import Group, Key
    from fgnet_plugin.training.evaluate.scoring import scored

    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(9), 20)
    easy = rng.integers(0, 2, len(of))
    hard = np.where(of == 4, np.arange(len(of)) % 2, 0)
    labels = np.stack([easy, hard], axis=1).astype(float)
    scores = np.stack([2.0 * easy - 1, rng.normal(0, 0.3, len(of)) - 0.3], axis=1)
    key = Key("s", "a", "b", True, None, "", False)
    one = scored(_Run(), predictions_of(labels, scores, of, ("AU12", "AU17")), 1000, 0)
    group = Group(key, (one,))
    for measure in ("f1", "auc"):
        of_easy, of_hard, both = (group.estimate(aus, measure) for aus in (("AU12",), ("AU17",), ("AU12", "AU17")))
        assert (of_easy.value, of_easy.low, of_easy.high, of_easy.resamples) == (1, 1, 1, 1)
        assert both.resamples == of_hard.resamples == pytest.approx(1 - (8 / 9) ** 9, abs=0.06)  # where subject 4 is drawn
        # The easy AU adds one half, no more: a mean of it alone would be 1.
        assert [both.low, both.value, both.high] == pytest.approx(
            [(1 + v) / 2 for v in (of_hard.low, of_hard.value, of_hard.high)]
        )
        assert both.low < both.value < both.high < 0.9
    # Where the AU hangs on one subject in two of two folds, too few resamples have it in both.
    other = scored(_Run(fold=1), predictions_of(labels, scores, of + 100, ("AU12", "AU17")), 1000, 0)
    found = Group(key, (one, other)).estimate(("AU12", "AU17"), "f1")
    assert found.resamples == pytest.approx((1 - (8 / 9) ** 9) ** 2, abs=0.06)
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high]).all()


def test_a_paired_difference_has_all_aus_too() -> None:
    from fgnet_plugin.training.evaluate.scores import differences, groups
    from fgnet_plugin.training.evaluate.scoring import scored

    of = np.repeat(np.arange(9), 20)
    labels = np.stack([np.arange(len(of)) % 2, np.where(of == 4, np.arange(len(of)) % 2, 0)], axis=1).astype(float)
    good, bad = 2 * labels - 1, np.stack([2 * labels[:, 0] - 1, np.ones(len(of))], axis=1)  # differ in the rare AU only
    of_each = [scored(_Run(system=s), predictions_of(labels, a, of, AUS[:2]), 1000, 0) for s, a in (("a", good), ("b", bad))]
    f1, auc = differences(groups(of_each))
    assert f1.resamples == auc.resamples == pytest.approx(1 - (8 / 9) ** 9, abs=0.06)
    assert auc.value == pytest.approx(0.25)
    assert (auc.low, auc.high) == pytest.approx((0.25, 0.25))  # 0 belongs to resamples without the AU
    assert f1.low > 0.2


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., list[Path]]:
    """Two corpora, and a function that makes runs of three folds and two seeds."""
    corpus = toy_corpus(tmp_path, "Home")
    toy_corpus(tmp_path, "Away", ("AU12", "AU06", "AU17"), seed=1)

    def runs(folds: int = 3, seeds: int = 2, **changes: Any) -> list[Path]:
        tag = "-".join(f"{value}" for value in changes.values())
        return [
            made_up_run(tmp_path / "runs", f"{tag}f{fold}s{seed}", corpus, fold=fold, seed=seed, **changes)
            for fold in range(folds)
            for seed in range(seeds)
        ]

    return runs


def test_an_evaluation_within_and_across_corpora(lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path) -> None:
    runs = [*lab(start="faces"), *lab(), *lab(seeds=1, validation="test"), *lab(seeds=1, samples=10), *lab(seeds=1, samples=20)]
    out = tmp_path / "out"
    found = evaluated(out, *runs, on=(("Away", str(tmp_path / "Away.csv")),), within=True)
    scores, summary = (pd.read_csv(out / f"{name}.csv") for name in ("scores", "summary"))
    assert set(summary["system"]) == {"FG-Net from faces", "FG-Net 64 px from scratch"}
    assert set(scores["samples"]) == {"all", "10", "20"}
    full = summary.query("au == 'mean' and samples == 'all' and system == 'FG-Net from faces'").set_index("tested_on")
    assert full.loc["Home", ["runs", "folds", "seeds", "setting"]].tolist() == [6, 3, 2, "within"]
    assert full.loc["Away", ["runs", "folds", "seeds", "setting"]].tolist() == [6, 3, 2, "cross"]
    assert full.loc["Home", "name"] == "AU01 AU06 AU12"
    assert full.loc["Away", "name"] == "AU06 AU12"
    # Every test frame of the three folds counts once, and the numbers are those of sklearn on the predictions.
    home = summary.query("au == 'AU12' and samples == 'all' and tested_on == 'Home' and system == 'FG-Net from faces'").iloc[0]
    assert home["frames"] == 36
    labels = pd.read_csv(tmp_path / "Home.csv")
    assert home["positives"] == labels["AU12"].sum()
    by_fold: dict[int, list[float]] = {}
    for one in found.tested[:12]:
        if one.predictions.test.name == "Home":
            truth, score = one.predictions.labels[:, 2], one.predictions.activations[:, 2]
            by_fold.setdefault(one.run.fold, []).append(f1_score(truth, score > 0))
            assert set(one.predictions.subjects) == {f"S{i}" for i in range(6) if i % 3 == one.run.fold}
    assert home["f1_mean"] == pytest.approx(np.mean([np.mean(values) for values in by_fold.values()]))
    assert home["f1_low"] <= home["f1_mean"] <= home["f1_high"]
    chosen = summary[summary["selection"].str.contains("chosen on the test split")]
    assert set(chosen["runs"]) == {3}
    assert len(found.differences) == len(pd.read_csv(out / "comparisons.csv"))
    pairs = {(one.first.system, one.second.system, one.first.tested_on) for one in found.differences}
    assert ("FG-Net from faces", "FG-Net 64 px from scratch", "Away") in pairs
    for name in ("figure.png", "figure.svg", "report.html"):
        assert (out / name).stat().st_size > 10_000
    assert Image.open(out / "figure.png").width > 1000
    page = (out / "report.html").read_text()
    assert page.count("epoch chosen on test") > 0
    assert page.index("<h2>Figure") < page.index("<h2>Differences")
    comparisons = pd.read_csv(out / "comparisons.csv")
    assert not comparisons.duplicated(["first", "second", "tested_on", "measure"]).any()
    clear = (comparisons["low"] > 0) | (comparisons["high"] < 0)
    assert 0 < clear.sum() < len(clear)
    assert page.count('<td class="v"><b>') == clear.sum()


class _Page(HTMLParser):
    """Text and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.sources, self.tags = "", list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [
            str(value) for name, value in attributes if name in ("src", "srcset") or (tag, name) == ("link", "href")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_the_numbers_escapes_names_and_needs_nothing_else(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    name, out = "<script>alert(1)</script> & “co”", tmp_path / "out"
    evaluated(out, *lab(start="faces"), names=(("facesf*", name),))
    text = (out / "report.html").read_text()
    page = _Page(text)
    assert "<script" not in text
    assert name in page.text
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert page.tags.count("img") == 1
    summary = pd.read_csv(out / "summary.csv")
    assert len(summary) == 4
    for _, row in summary.iterrows():
        for column in ("f1_mean", "f1_low", "auc_mean", "auc_high", "auc_sd_folds", "auc_sd_seeds"):
            assert f"{row[column]:.3f}" in page.text
    for what in ("±0.065", "2 subjects", "set aside", "activation > 0", "50 resamples"):
        assert what in page.text


def test_predictions_are_used_again(lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path) -> None:
    runs, out = lab(folds=1), tmp_path / "out"
    evaluated(out, *runs)
    assert reader.calls == 2 * 12
    scores, svg = (out / "scores.csv").read_bytes(), (out / "figure.svg").read_bytes()
    for image in (tmp_path / "Home").rglob("*.png"):
        image.unlink()  # not needed any more
    evaluated(out, *runs)
    assert reader.calls == 2 * 12
    assert (out / "scores.csv").read_bytes() == scores
    assert (out / "figure.svg").read_bytes() == svg
    # Another label file is another test.
    text = (tmp_path / "Home.csv").read_text()
    (tmp_path / "Home.csv").write_text(text + "\n")
    with pytest.raises(ValueError, match="no such file"):
        evaluated(out, *runs)


def test_an_interrupted_evaluation_goes_on(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = lab(folds=1)
    evaluated(tmp_path / "whole", *runs, batch_size=4)
    predict = reader.predict

    def interrupted(self: Reader, faces: torch.Tensor, batch_size: int = 8) -> torch.Tensor:
        if reader.calls >= 16:  # in the second run, after its first batch
            raise KeyboardInterrupt
        return predict(self, faces, batch_size)

    reader.calls = 0
    monkeypatch.setattr(reader, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "out", *runs, batch_size=4)
    assert not (tmp_path / "out" / "scores.csv").exists()
    monkeypatch.setattr(reader, "predict", predict)
    evaluated(tmp_path / "out", *runs, batch_size=4)
    assert reader.calls == 24  # nothing twice
    for name in ("scores.csv", "summary.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_error_keeps_what_was_computed(lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path) -> None:
    runs, path = lab(folds=1, seeds=1), tmp_path / "Away.csv"
    good = path.read_text()
    path.write_text(good + "none.png,1,0,0\nnone2.png,1,0,0\n")
    with pytest.raises(ValueError, match=r"(?s)Away\.csv:38.*Away\.csv:39.*1 other test are kept"):
        evaluated(tmp_path / "out", *runs, on=(("Away", str(path)),), within=True)
    path.write_text(good)
    evaluated(tmp_path / "out", *runs, on=(("Away", str(path)),), within=True)
    assert reader.calls == 12 + 36


def test_unknown_labels_and_aus_without_both_kinds(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    path = tmp_path / "Away.csv"
    table = pd.read_csv(path)
    table["AU06"] = 0
    table["AU12"] = table["AU12"].astype(object)
    table.loc[:4, "AU12"] = ["", 9, "NaN", 9, ""]
    table.to_csv(path, index=False)
    out = tmp_path / "out"
    evaluated(out, *lab(folds=1, seeds=1), on=(("Away", str(path)),))
    summary = pd.read_csv(out / "summary.csv").set_index("au")
    assert summary.loc["AU12", "frames"] == 31
    assert summary.loc["AU06", ["f1_mean", "auc_mean", "f1_low"]].isna().all()
    assert summary.loc["mean", "auc_mean"] == summary.loc["AU12", "auc_mean"]
    assert "on Away: AU06" in _Page((out / "report.html").read_text()).text


def test_all_mistakes_are_told_at_once(lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path) -> None:
    (good,) = lab(folds=1, seeds=1)
    loose = made_up_run(tmp_path / "runs", "loose")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("no checkpoint")
    other = toy_corpus(tmp_path, "Other", ("AU17",), n=6)
    given = (good, loose, tmp_path / "empty", tmp_path / "text.safetensors", tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="nothing was computed") as caught:
        evaluated(tmp_path / "out", *given, names=(("nobody", "x"),), on=(("Other", str(other)),), within=True)
    for text in (
        f"{loose}: its settings name no test frames",
        f"{tmp_path / 'empty'}: holds neither",
        "text.safetensors: not a safetensors file",
        "none.safetensors",
        "--name nobody=…: fits none of the runs",
        f"{other}: labels AU17, none of the AUs of {good}, AU01 AU06 AU12",
    ):
        assert text in str(caught.value)
    with pytest.raises(ValueError, match=r"its settings name no test frames .*; say what to test it on with --on"):
        evaluated(tmp_path / "out", loose)
    with pytest.raises(ValueError, match=r"--domain moon: unknown; there are studio"):
        evaluated(tmp_path / "out", loose, domains=("moon",))
    (tmp_path / "Home.csv").unlink()
    with pytest.raises(ValueError, match=r"its test frames are in .*Home\.csv, not here"):
        evaluated(tmp_path / "out", good)
    assert not (tmp_path / "out").exists()


def test_faces_that_were_trained_with_are_not_tested_on(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    (run,) = lab(folds=1, seeds=1)
    home, away = (("Home", str(tmp_path / "Home.csv")), ("Away", str(tmp_path / "Away.csv")))
    found = evaluated(tmp_path / "out", run, on=(home, away))
    assert [one.predictions.test.name for one in found.tested] == ["Away"]
    assert "36 of 36 frames are in" in found.left_out[0]
    assert "36 of 36 frames are in" in _Page((tmp_path / "out" / "report.html").read_text()).text
    with pytest.raises(ValueError, match=r"(?s)nothing is left to test.*36 of 36 frames"):
        evaluated(tmp_path / "out", run, on=(home,))
    # Other frames of the same people, where they are said to be the same corpus.
    more = toy_corpus(tmp_path, "More", n=12, seed=5)
    with pytest.raises(ValueError, match="the subjects S0, S1, S2, S3, S4, S5 are in"):
        evaluated(tmp_path / "out", run, on=(("Home", str(more)),))
    with pytest.raises(ValueError, match="trained with the same faces; give another --seed"):
        evaluated(tmp_path / "out", made_up_run(tmp_path, "drawn"), domains=("studio",), faces_seed=0)


def test_faces_that_may_have_been_trained_with_are_not_tested_on(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    """The training's label file is not on this machine."""
    from fgnet_plugin.training.models.systems import read_system_info

    (run,) = lab(folds=1, seeds=1)
    loose = made_up_run(tmp_path / "runs", "loose", tmp_path / "Home.csv", seed=1)  # has no folds
    kept = pd.read_csv(tmp_path / "Home.csv")
    (tmp_path / "Home.csv").unlink()
    of_fold = kept["image_path"].str.contains("/S0/|/S3/")
    for name, rows in (("tested", of_fold), ("mixed", slice(0, 6))):
        kept[rows].to_csv(tmp_path / f"{name}.csv", index=False)

    out, away = tmp_path / "out", ("Away", str(tmp_path / "Away.csv"))
    found = evaluated(out, run, loose, names=(("loose", "loose"),), on=(("Home", str(tmp_path / "tested.csv")), away))
    assert [(one.run.given, one.predictions.test.name, one.predictions.test.within) for one in found.tested] == [
        (str(run), "Home", True),  # its fold says so
        (str(run), "Away", False),
        (str(loose), "Away", False),
    ]
    (line,) = found.left_out
    assert line.startswith(f"{loose} on {tmp_path / 'tested.csv'}: it was trained on Home, too, and could not be checked")
    ((note, about),) = found.notes.items()
    assert "could not be checked whether frames of" in note
    assert f"{tmp_path / 'Home.csv'}, which it was trained with, is not here" in note
    assert about == [str(run), str(loose)]
    text = _Page((out / "report.html").read_text()).text
    assert note in text
    assert line in text
    summary = pd.read_csv(out / "summary.csv", keep_default_na=False)
    assert set(summary.query("tested_on == 'Away'")["notes"]) == {note}
    assert set(summary.query("tested_on == 'Home'")["notes"]) == {""}
    with pytest.raises(ValueError, match=r"(?s)nothing is left.*not all subjects of .*mixed\.csv are in its test fold, 0"):
        evaluated(out, run, on=(("home", str(tmp_path / "mixed.csv")),))
    # Weights that tell nothing but their corpus.
    bare = save(
        FGNet(small_config(AUS, SIZE, 16)), tmp_path / "bare.safetensors", CheckpointInfo(small_config(AUS, SIZE, 16), "Home")
    )
    assert read_system_info(bare).recipe == {}
    with pytest.raises(ValueError, match=r"it was trained on Home, too, .*: its training frames are not recorded"):
        evaluated(out, bare, on=(("Home", str(tmp_path / "tested.csv")),))


def test_authors_weights_are_not_tested_on_their_own_corpus(tmp_path: Path) -> None:
    from fgnet_plugin.training.data.leakage import SeenError, check_unseen
    from fgnet_plugin.training.evaluate.runs import read_run

    toy_corpus(tmp_path, "labels", n=6)
    table = pd.read_csv(tmp_path / "labels.csv")
    table.assign(subject=["SN001", "SN002"] * 3).to_csv(tmp_path / "labels.csv", index=False)  # fold 0 of DISFA
    config = small_config(AUS, SIZE, 16)

    def checked(corpus: str, name: str, fold: int | None = None) -> tuple[str, ...]:
        info = CheckpointInfo(config, corpus, fold, {"by": "the authors"}, sources={"model.pth": "0"})
        run = read_run(str(save(FGNet(config), tmp_path / "of.safetensors", info)))
        return check_unseen(run, name, tmp_path / "labels.csv", tmp_path)

    with pytest.raises(SeenError, match="trained on DISFA, too"):
        checked("DISFA", "disfa")
    with pytest.raises(SeenError, match="are in its test fold, 1"):
        checked("DISFA", "DISFA", fold=1)
    assert checked("DISFA", "DISFA", fold=0) == ()
    (note,) = checked("BP4D", "DISFA")
    assert note.endswith("its training frames are not recorded")


def test_what_the_start_of_a_training_had_seen_is_told(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    from fgnet_plugin.checkpoints.pretrained import save_pretrained
    from fgnet_plugin.training.evaluate.recipes import started_on

    config = small_config(AUS, SIZE, 16)
    net = FGNet(config)
    pictures = {"recipe": {"data": {"folder": "corpora/Away/aligned_images", "rendered": None}}}
    save_pretrained(tmp_path / "generator.safetensors", config, {"generator": net.generator}, pictures)
    second = {"recipe": {"data": {"rendered": {"domains": ["studio"]}}, "start_from": str(tmp_path / "generator.safetensors")}}
    save_pretrained(tmp_path / "encoder.safetensors", config, {"encoder": net.encoder}, second)
    (run,) = lab(folds=1, seeds=1, start=str(tmp_path / "encoder.safetensors"))
    before = made_up_run(tmp_path / "before", "home", tmp_path / "Home.csv", fold=1)
    tuned = made_up_run(tmp_path / "runs", "tuned", tmp_path / "Home.csv", fold=0, start=str(before / "fgnet.safetensors"))
    lost = made_up_run(tmp_path / "runs", "lost", tmp_path / "Home.csv", fold=0, start="gone/other.safetensors")
    found = evaluated(tmp_path / "out", run, tuned, lost, within=True, on=(("Away", str(tmp_path / "Away.csv")),))
    about = {runs[0]: [note for note, of in found.notes.items() if of == runs] for runs in found.notes.values()}
    assert about[str(run)][0].endswith("encoder.safetensors, which had been trained on corpora/Away/aligned_images")
    assert about[str(run)][1].endswith("scores on Away may be too high")
    assert "fgnet.safetensors, which had been trained on Home, " in about[str(tuned)][0]
    assert about[str(tuned)][1].endswith("scores on Home may be too high")
    assert about[str(lost)] == ["started from gone/other.safetensors, of which no corpus is known that it was trained on"]
    assert started_on({"model": {"start_from": "fgnet-bp4d"}}) == ("BP4D",)


def test_runs_with_other_settings_are_not_averaged(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    runs, corpus = lab(), tmp_path / "Home.csv"
    quick = made_up_run(tmp_path / "runs", "quick", corpus, fold=0, seed=7, optimiser={"lr": 0.01})
    with pytest.raises(
        ValueError, match=r"other settings \(optimiser\.lr: 0\.01, was 5e-05\): tell them apart with --name"
    ) as caught:
        evaluated(tmp_path / "out", *runs, quick)
    assert f"{quick} would be averaged with {runs[0]}, {runs[1]}, {runs[2]} and 3 more" in str(caught.value)
    found = evaluated(tmp_path / "out", *runs, quick, names=(("quick", "quick FG-Net"),))
    assert [(group.key.system, len(group.members)) for group in found.groups] == [
        ("FG-Net 64 px from scratch", 6),
        ("quick FG-Net", 1),
    ]
    # A setting at its default is the same as none; starts of the same name are not.
    same = made_up_run(tmp_path / "runs", "same", corpus, fold=0, seed=8, optimiser={"lr": 5e-5})
    assert len(evaluated(tmp_path / "out", *runs, same).groups) == 1
    two = [
        made_up_run(tmp_path / "runs", folder, corpus, fold=fold, start=f"{folder}/pretrained.safetensors")
        for fold, folder in enumerate(("a", "b"))
    ]
    with pytest.raises(ValueError, match=r"model\.start_from: b/pretrained\.safetensors, was a/pretrained\.safetensors"):
        evaluated(tmp_path / "out", *two)


def test_files_of_a_fold_are_each_runs_own() -> None:
    from fgnet_plugin.training.evaluate.recipes import comparable

    def recipe(seed: int = 0, code: str = "1", **csv: Any) -> dict[str, Any]:
        return {"data": {"csv": csv}, "trainer": {"seed": seed, "threads": seed + 1}, "code": {"version": code, "renderer": 2}}

    first = recipe(0, train="fold0/train.csv", val="fold0/val.csv", test="fold0/test.csv")
    other = recipe(1, "2", train="fold1/train.csv", val="fold1/val.csv", test="fold1/test.csv")
    assert comparable(first) == comparable(other)
    one, two = (recipe(train=f"{name}.csv", folds="bp4d", fold=0) for name in ("all", "some"))
    assert comparable(one) != comparable(two)
    assert comparable(one) == comparable(recipe(3, train="./all.csv", folds="bp4d", fold=2))
    assert comparable(one) != comparable(recipe(train="all.csv", folds="bp4d", fold=0, threshold=2.0))


def test_labels_that_chose_the_epoch_stand_beside_few_samples(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    from fgnet_plugin.training.evaluate import tables

    runs = [
        made_up_run(
            tmp_path / "runs", f"r{fold}{samples}", tmp_path / "Home.csv", fold=fold, samples=samples, training=training
        )
        for samples, training in ((10, {"validation_faces": 6}), (20, {}))
        for fold in range(2)
    ]
    runs.append(
        made_up_run(tmp_path / "runs", "r2", tmp_path / "Home.csv", fold=2, samples=10, training={"validation_faces": 1200})
    )
    found = evaluated(tmp_path / "out", *runs)
    text = _Page((tmp_path / "out" / "report.html").read_text()).text
    for said in ("+ 6–1,200 labelled validation frames", "validation frames not counted"):
        assert said in text
        assert said in tables.compact(found.groups)
    summary = pd.read_csv(tmp_path / "out" / "summary.csv", dtype=str, keep_default_na=False)
    assert set(zip(summary["samples"], summary["validation_frames"], strict=True)) == {("10", "6–1,200"), ("20", "")}


def test_a_training_records_its_validation_faces() -> None:
    pytest.importorskip("torchvision", reason="the extra `train` is not installed")
    from fgnet_plugin.training.config.detector import Csv, Data, DetectorConfig, Model
    from fgnet_plugin.training.config.trainer import Trainer
    from fgnet_plugin.training.data.loading import StepSampler
    from fgnet_plugin.training.models.baseline import Baseline
    from fgnet_plugin.training.stages.baseline import BaselineStage

    config = DetectorConfig(Data(csv=Csv("train.csv")), Trainer("out"), Model(size=SIZE, baseline="resnet18"))
    corpus: Any = [{}] * 32
    stage = BaselineStage(Baseline("resnet18", AUS, SIZE), config, corpus, corpus[:7], StepSampler(32, 16, 1, None, 0))
    assert stage.summary({"auc": 0.5}, 3)["validation_faces"] == 7


def test_the_headline_says_how_many_comparisons_it_was_chosen_from(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    starts = ("x.st", "y.st", "z.st")
    found = evaluated(tmp_path / "out", *(run for start in starts for run in lab(folds=1, seeds=1, start=start)))
    text = _Page((tmp_path / "out" / "report.html").read_text()).text
    assert "the best of 3 by these very scores, and the closest of 2 comparisons with another system" in text
    assert len(found.differences) == 6
    assert "These are 6 intervals of 95 %" in text


def test_a_label_file_is_read_once_for_all_runs(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fgnet_plugin.training.data import csv_corpus

    read, files = csv_corpus._read, list[str]()

    def counted(path: Path, *others: Any) -> Any:
        files.append(path.name)
        return read(path, *others)

    monkeypatch.setattr(csv_corpus, "_read", counted)
    evaluated(tmp_path / "out", *lab(folds=2, seeds=3), within=True, on=(("Away", str(tmp_path / "Away.csv")),))
    assert sorted(files) == ["Away.csv", "Home.csv", "Home.csv"]  # two test folds


def test_a_test_file_counts_once(lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path) -> None:
    """It is the run's own, and given as --on, too: no second seed."""
    train, test = toy_corpus(tmp_path, "train", n=12), toy_corpus(tmp_path, "test", n=12, seed=3)
    run = made_up_run(tmp_path / "runs", "run", train, trained_on="Home", csv={"test": str(test), "shared_subjects": True})
    found = evaluated(tmp_path / "out", run, within=True, on=(("Home", str(test)),))
    assert len(found.tested) == 1
    assert "its own test part, or an earlier option, is the test on Home" in found.left_out[0]


def test_repeats_that_nothing_tells_apart_are_refused(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    (run,) = lab(folds=1, seeds=1)
    twin = made_up_run(tmp_path / "runs", "twin", tmp_path / "Home.csv", fold=0, seed=0)
    with pytest.raises(ValueError, match=r"have the same system \(FG-Net 64 px from scratch\), data, fold and seed: tell them"):
        evaluated(tmp_path / "out", run, twin)
    found = evaluated(tmp_path / "out", run, twin, run, names=(("twin", "the other"),))
    assert [group.key.system for group in found.groups] == ["FG-Net 64 px from scratch", "the other"]


def test_what_systems_and_corpora_are_called(tmp_path: Path) -> None:
    from fgnet_plugin.checkpoints.registry import resolve
    from fgnet_plugin.training.config.detector import read_detector
    from fgnet_plugin.training.config.yaml_dataclass import plain
    from fgnet_plugin.training.evaluate.runs import read_run, system_name
    from fgnet_plugin.training.models.systems import SystemInfo

    def named(converted: bool = False, **recipe: Any) -> str:
        training = {"recipe": recipe} if recipe else {}
        return system_name(SystemInfo(Path("a/b.st"), "fgnet", AUS, 64, training=training, converted=converted))

    assert named() == "b"
    assert named(converted=True) == "FG-Net, the authors' weights"
    assert named(model={"baseline": "resnet18"}) == "resnet18"
    assert named(model={"start_from": "weights/fgnet-disfa.safetensors"}) == "FG-Net from fgnet-disfa"
    assert named(model={}, export={"system": "ours"}) == "ours"
    for config in ("disfa", "bp4d", "published"):
        assert named(**plain(read_detector(config))) == "FG-Net from published StyleGAN2 and pSp"
    only_generator = plain(read_detector("bp4d", ["model.psp=''", "model.stylegan2=stylegan2-ffhq-config-f.pt"]))
    assert named(**only_generator) == "FG-Net from published StyleGAN2"
    assert named(**plain(read_detector("bp4d-baseline"))) == "resnet50"
    assert named(**plain(read_detector("rendered-small"))) == "FG-Net 64 px from scratch"
    run = read_run(str(made_up_run(tmp_path, "run")))
    assert (run.trained_on, run.selection) == ("rendered studio", "best epoch chosen on other rendered faces")
    log = tmp_path / "run" / "metrics.csv"
    log.write_text("step,epoch,val_auc\n5,1,0.5\n8,2,\n")
    assert read_run(str(tmp_path / "run")).notes == ("not finished: 1 of 3 epochs",)
    log.write_text("step,epoch,val_auc\n5,1,0.5\n15,3,0.6\n")
    assert read_run(str(tmp_path / "run")).notes == ()
    bundled = read_run("fgnet-rendered")
    assert bundled.path == resolve("fgnet-rendered")
    assert bundled.trained_on.startswith("rendered")


def test_baselines_are_evaluated_too(tmp_path: Path) -> None:
    """With their own weights, by the real loader."""
    pytest.importorskip("torchvision", reason="the extra `train` is not installed")
    from fgnet_plugin.training.models.baseline import BASELINE_FILE, Baseline, BaselineInfo, save_baseline

    corpus = toy_corpus(tmp_path, "Home", n=12)
    recipe = {"data": {"csv": {"train": str(corpus), "folds": str(tmp_path / "Home-folds.csv"), "fold": 1}}}
    recipe |= {"model": {"baseline": "resnet18"}, "trainer": {"seed": 3}}
    torch.manual_seed(0)
    net = Baseline("resnet18", AUS, SIZE).eval()
    info = BaselineInfo("resnet18", AUS, SIZE, corpus="Home", training={"recipe": recipe})
    save_baseline(net, tmp_path / "run" / BASELINE_FILE, info)
    (one,) = evaluated(tmp_path / "out", tmp_path / "run").tested
    assert (one.run.system, one.run.seed, one.run.fold) == ("resnet18", 3, 1)
    paths = [tmp_path / image for image in one.predictions.images]
    faces = torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths])
    with torch.no_grad():
        expected = 2 * torch.sigmoid(net(faces)) - 1
    np.testing.assert_allclose(one.predictions.activations, expected.numpy(), atol=1e-5)


def test_the_command_line_on_rendered_faces(tmp_path: Path) -> None:
    """From the bundled weights to the page, with nothing made up."""
    from fgnet_plugin.cli.app import app

    out = tmp_path / "out"
    options = ["--domain", "film", "--count", "6", "--bootstrap", "20", "--device", "cpu", "--name", "fgnet-rendered=small"]
    result = typer.testing.CliRunner().invoke(app, ["train", "evaluate", "fgnet-rendered", "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert "small, trained on" in result.stdout
    assert result.stdout.splitlines()[-1] == str(out / "report.html")
    (cached,) = (out / "predictions").glob("*.csv")
    assert len(pd.read_csv(cached)) == 6
    depends_on = json.loads(cached.with_name(cached.name + ".run").read_text().splitlines()[0])
    assert set(depends_on) == {"checkpoint", "test", "aus", "code"}
    wrong = typer.testing.CliRunner().invoke(app, ["train", "evaluate", "x", "--out", str(out), "--on", "labels.csv"])
    assert str(wrong.exception) == "--on labels.csv: must look like NAME=labels.csv"


def test_thresholds_intensities_and_tables_for_a_paper(
    lab: Callable[..., list[Path]], reader: type[Reader], tmp_path: Path
) -> None:
    from fgnet_plugin.cli.app import app
    from fgnet_plugin.training.evaluate.paper import published_results

    # A corpus that is called as a published one, with intensities that follow the labels.
    table = pd.read_csv(tmp_path / "Home.csv")
    for au in AUS:
        table[f"{au}_intensity"] = 4 * table[au]
    table.loc[0, "AU12_intensity"] = 9
    table.to_csv(tmp_path / "Home.csv", index=False)
    runs = [made_up_run(tmp_path / "runs", f"f{k}", tmp_path / "Home.csv", fold=k, trained_on="DISFA") for k in (0, 1)]
    out = tmp_path / "out"
    tables = [tmp_path / "paper.md", tmp_path / "paper.tex"]
    options = ["--out", str(out), "--bootstrap", "40", "--choose-thresholds", *(f"--table={path}" for path in tables)]
    result = typer.testing.CliRunner().invoke(app, ["train", "evaluate", *map(str, runs), *options])
    assert result.exit_code == 0, result.output
    found = pd.read_csv(out / "measures.csv")
    of_au = found.query("au == 'AU12'").set_index("measure")
    assert {"auc", "pr_auc", "mcc", "kappa", "free_kappa", "f1_skew", "f1_chosen", "icc", "mae"} <= set(of_au.index)
    assert (of_au["low"].dropna() <= of_au["value"][of_au["low"].notna()] + 1e-9).all()
    predictions = [pd.read_csv(path) for path in sorted((out / "predictions").glob("*.csv"))]
    tested = pd.concat([p for p in predictions if len(p) == 12])
    present, truth = tested["AU12"] > 0, tested["label_AU12"] > 0
    assert of_au.loc["f1_pooled", "value"] == pytest.approx(f1_score(truth, present))
    every = [tested[f"{kind}{au}"] > 0 for kind in ("label_", "") for au in AUS]
    micro = found.query("au == 'mean' and measure == 'f1_pooled'").iloc[0]
    assert micro["title"] == "F1-micro"
    assert micro["value"] == pytest.approx(f1_score(np.stack(every[:3], 1), np.stack(every[3:], 1), average="micro"))
    assert 0.35 < of_au.loc["auc", "chance"] < 0.65
    assert of_au.loc["auc", "noise_floor"] >= of_au.loc["auc", "chance"] - 1e-9
    markdown, latex = (path.read_text() for path in tables)
    assert "| JAA-Net [1] | – | – | – | 56.0 |" in markdown
    assert "[1] as reported in ME-GraphAU's README" in markdown
    assert "noise floor" in markdown
    assert "Reported means are over the AUs of DISFA that are customary, those of the other rows over 3" in markdown
    assert r"\toprule" in latex
    assert "\n  {[}1] as reported" in latex  # a bracket after a line break would be its argument
    assert r"F1 (\%) on DISFA" in latex
    values = [one.value for one in published_results("disfa", "f1")]
    assert (min(values), values) == (55.9, sorted(values))
    wrong = typer.testing.CliRunner().invoke(app, ["train", "evaluate", "x", "--out", str(out), "--table", "t.doc"])
    assert "must end in .md or .tex" in str(wrong.exception)


def test_intensities_are_read_as_numbers_with_decimals(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image_path,au12_intensity\na.png,2.5\nb.png,9.0\nc.png,0.0\n")
    found = read_intensities(table, ["c.png", "b.png", "a.png"], ("AU12", "AU04"))
    np.testing.assert_array_equal(found, [[0.0, np.nan], [np.nan, np.nan], [2.5, np.nan]])
