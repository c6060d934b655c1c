"""What each run is tested on: the test part of its own settings, label files, or rendered faces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fgnet_plugin.training.config.detector import RENDERER, Csv
from fgnet_plugin.training.config.yaml_dataclass import plain
from fgnet_plugin.training.data import csv_corpus
from fgnet_plugin.training.data.build import rendered_corpora
from fgnet_plugin.training.data.csv_corpus import CsvCorpus
from fgnet_plugin.training.data.leakage import SeenError, check_unseen, start_notes
from fgnet_plugin.training.data.loading import Corpus
from fgnet_plugin.training.data.made_faces import Listed
from fgnet_plugin.training.evaluate.recipes import rendered_settings
from fgnet_plugin.training.evaluate.runs import Run
from fgnet_plugin.training.published_folds import PUBLISHED, published_folds
from fgnet_plugin.utils.files import sha256


@dataclass(frozen=True)
class Requested:
    """Which tests the user asked for."""

    on: tuple[tuple[str, str], ...] = ()
    """(corpus, label file) pairs."""
    domains: tuple[str, ...] = ()
    """Styles of rendered faces, see `rendered.DOMAINS`."""
    within: bool = False
    """Each run's own test part, too; without `on` and `domains` that is all there is."""
    count: int = 1000
    """Rendered faces of each style."""
    faces_seed: int = 7_000_000
    """Another seed, other rendered faces."""
    threshold: float = 1.0
    image_root: str = ""
    resize: bool = False
    skip_missing: bool = False
    """These four as in `config.Csv`, for the files in `on`."""
    fold: int | None = None
    """Of the corpora in `on`, only the test subjects of this published fold, as in the authors' tests across corpora; none: the
    whole files."""


@dataclass(frozen=True, eq=False)
class Test:
    """Faces that a run is tested on."""

    __test__ = False  # no class of tests, whatever pytest thinks of its name

    name: str
    """The corpus."""
    within: bool
    """Whether the run was trained on (other faces of) the same corpus."""
    aus: tuple[str, ...]
    """Those of the run that are labelled."""
    key: str
    """SHA-256 over what images and labels depend on, the contents of label files included."""
    read: Callable[[], tuple[Corpus, Sequence[str], Sequence[str]]]
    """Loads the faces, the name of each, and the subject of each. Raises ValueError naming all bad rows."""
    notes: tuple[str, ...] = ()
    """What a reader of the run's scores on it should know."""
    label_file: Path | None = None
    """Where the labels are from, and perhaps intensities beside them."""


class LabelFileCache:
    """Label files that have been read: every image was decoded for that, and many runs are tested on the same ones."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], CsvCorpus | ValueError | None] = {}

    def read(self, key: tuple[Any, ...], read: Callable[[], CsvCorpus | None]) -> CsvCorpus | None:
        """What `read` returns or raises (a ValueError), by a key that says all it depends on; it is called once."""
        if key not in self._known:
            try:
                self._known[key] = read()
            except ValueError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, ValueError):
            raise found
        return found


def tests_of(
    run: Run, requested: Requested, problems: list[str], left_out: list[str], label_files: LabelFileCache
) -> list[Test]:
    """The tests of a run.

    Args:
        run: the run.
        requested: what the user asked for.
        problems: gets a line for each test that can't be made.
        left_out: gets a line for each test that would be of faces that the run has been trained on, or may have been; and of
            a label file of the run's own corpus, where its own test part is tested already.
        label_files: what the tests of all runs of an evaluation have in common.
    """
    found: list[Test] = []
    makers: list[Callable[[], Test]] = []
    if requested.within or not (requested.on or requested.domains):
        makers.append(partial(own_test, run, label_files))
    makers += [partial(file_test, run, name, Path(path), requested, label_files) for name, path in requested.on]
    makers += [partial(rendered_test, run, domain, requested) for domain in requested.domains]
    for make in makers:
        try:
            test = make()
            if test.name in [other.name for other in found]:  # would count as another seed
                raise SeenError(f"{run.given}: its own test part, or an earlier option, is the test on {test.name}")
            found.append(test)
        except SeenError as error:
            left_out.append(str(error))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return found


def own_test(run: Run, label_files: LabelFileCache) -> Test:
    """The test fold or test file of a run's settings. Raises ValueError where it has none, or a file is missing."""
    config = run.csv
    if config is None or not (config.test or config.folds):
        what = "settings name no test frames (data.csv.test, or data.csv.folds)" if run.recipe else "checkpoint has no settings"
        raise ValueError(f"{run.given}: its {what}; say what to test it on with --on NAME=labels.csv or --domain")
    published = published_folds(config.folds)
    files = [config.test] if config.test else [config.train, *([] if published else [config.folds])]
    absent = [file for file in files if not Path(file).is_file()]
    if absent:
        raise ValueError(
            f"{run.given}: its test frames are in {', '.join(absent)}, not here; start from the folder where it was trained, "
            "or give the file with --on"
        )

    settings: dict[str, Any] = {name: getattr(config, name) for name in ("fold", "threshold", "resize", "image_root")}
    missing: tuple[str, ...] = ()
    if config.skip_missing:
        listed = Listed.read(Path(files[0]), config.root_of(Path(files[0])))
        settings["present"], missing = listed.present(), listed.notes(files[0], run.padding)

    def read() -> tuple[Corpus, Sequence[str], Sequence[str]]:
        key = ("own", config.train, config.test, config.folds, *settings.values(), run.aus, run.image_size)
        corpus = label_files.read(key, lambda: csv_corpus.test_corpus(config, run.aus, run.image_size))
        if corpus is None:
            raise ValueError(f"{run.given}: its settings name no test frames")
        return corpus, _relative(corpus.images, config.root_of(Path(files[0]))), corpus.subjects

    key = _key("own", files, run, **settings, folds=sorted(map(sorted, published or ())))
    return Test(run.trained_on, True, run.aus, key, read, (*start_notes(run, run.trained_on), *missing), Path(files[0]))


def validation_test(run: Run, label_files: LabelFileCache) -> Test:
    """The faces that a run's best epoch was chosen on, for thresholds to be chosen on, too.

    Raises ValueError where its settings name none, where these are the test frames (`SeenError`), or a file is missing.
    """
    config, rendered = run.csv, rendered_settings(run.recipe)
    seed = int((run.recipe.get("trainer") or {}).get("seed") or 0)
    if config is not None:
        if config.validation != "subjects":
            raise SeenError(f"{run.given}: was tested or trained on its validation frames; no threshold is chosen on them")
        files = [file for file in (config.train, config.val) if file]
        missing = [file for file in files if not Path(file).is_file()]
        if missing:
            raise ValueError(f"{run.given}: its validation frames are in {', '.join(missing)}, not here")
        settings = plain(config)

        def read() -> tuple[Corpus, Sequence[str], Sequence[str]]:
            key = ("validation", json.dumps(settings, sort_keys=True), run.aus, run.image_size, seed)
            corpus = label_files.read(key, lambda: csv_corpus.csv_corpora(config, run.aus, run.image_size, seed)[1])
            assert corpus is not None
            return corpus, _relative(corpus.images, config.root_of(Path(files[-1]))), corpus.subjects

        return Test("validation", True, run.aus, _key("validation", files, run, settings=settings, seed=seed), read)
    if rendered is None:
        raise ValueError(f"{run.given}: its settings name no validation faces to choose thresholds on")

    def read_rendered() -> tuple[Corpus, Sequence[str], Sequence[str]]:
        _, faces = rendered_corpora(rendered, run.image_size, epochs=1)
        names = [f"validation/{i}" for i in range(rendered.val_faces)]
        return faces, names, names

    key = _key("validation", [], run, rendered=plain(rendered), renderer=RENDERER)
    return Test("validation", True, run.aus, key, read_rendered)


def file_test(run: Run, name: str, path: Path, requested: Requested, label_files: LabelFileCache) -> Test:
    """A label file, for the AUs that it shares with the run. Raises ValueError where there are none."""
    labelled = csv_corpus.au_columns(path)
    aus = tuple(au for au in run.aus if au in labelled)
    if not aus:
        raise ValueError(f"{path}: labels {' '.join(labelled)}, none of the AUs of {run.given}, {' '.join(run.aus)}")
    settings = {name: getattr(requested, name) for name in ("threshold", "resize", "image_root")}
    config = Csv(str(path), **settings, skip_missing=requested.skip_missing)
    folds, subjects = published_folds(name), None
    if requested.fold is not None:
        if folds is None or requested.fold >= len(folds):
            raise ValueError(f"--on {name}=…: --on-fold is for {' and '.join(PUBLISHED)}, whose published folds are 0, 1 and 2")
        subjects = folds[requested.fold]
    same = name.lower() == run.trained_on.lower()
    notes = check_unseen(run, name, path, config.root_of(path))

    def read() -> tuple[Corpus, Sequence[str], Sequence[str]]:
        of = path, aus, run.image_size, config, subjects
        corpus = label_files.read(("file", *of), lambda: csv_corpus.read_csv(*of))
        assert corpus is not None  # read_csv has seen to it
        return corpus, _relative(corpus.images, config.root_of(path)), corpus.subjects

    listed = Listed.read(path, config.root_of(path))
    settings |= {"present": listed.present()} if config.skip_missing else {}
    settings |= {} if requested.fold is None else {"fold": requested.fold}
    key = _key("file", [str(path)], run, aus=aus, **settings)
    notes = (*notes, *start_notes(run, name), *listed.notes(str(path), run.padding))
    called = name if requested.fold is None else f"{name}, test subjects of fold {requested.fold}"
    return Test(called, same, aus, key, read, notes, path)


def rendered_test(run: Run, domain: str, requested: Requested) -> Test:
    """Rendered faces of one style. Raises ValueError for an unknown style, or where no AU is shared."""
    from fgnet_plugin.training.rendered import AUS, DOMAINS, RenderedCorpus

    if domain not in DOMAINS:
        raise ValueError(f"--domain {domain}: unknown; there are {', '.join(DOMAINS)}")
    aus = tuple(au for au in run.aus if au in AUS)
    if not aus:
        raise ValueError(f"--domain {domain}: rendered faces have none of the AUs of {run.given}, {' '.join(run.aus)}")
    trained = (run.recipe.get("data") or {}).get("rendered") or {}
    for seed, domains in (("seed", "domains"), ("val_seed", "val_domains")):
        if trained.get(seed) == requested.faces_seed and domain in trained.get(domains, ()):
            raise SeenError(f"{run.given} on rendered {domain}: trained with the same faces; give another --seed")

    def read() -> tuple[Corpus, Sequence[str], Sequence[str]]:
        faces = RenderedCorpus((domain,), run.image_size, requested.faces_seed, requested.count)
        names = [f"{domain}/{i}" for i in range(requested.count)]
        return _Columns(faces, [AUS.index(au) for au in aus]), names, names  # every face is another person

    key = _key("rendered", [], run, aus=aus, domain=domain, seed=requested.faces_seed, n=requested.count, renderer=RENDERER)
    return Test(f"rendered {domain}", domain in trained.get("domains", ()), aus, key, read)


class _Columns:
    """A corpus with some of its labels."""

    def __init__(self, corpus: Any, columns: list[int]) -> None:
        self.corpus, self.columns = corpus, columns

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.corpus[index]
        return item | {"labels": item["labels"][self.columns]}


def _relative(images: Iterable[str], root: Path) -> list[str]:
    """Paths below the root without it: the same for the same corpus elsewhere."""
    return [Path(image).relative_to(root).as_posix() if Path(image).is_relative_to(root) else image for image in images]


def _key(kind: str, files: Sequence[str], run: Run, **settings: Any) -> str:
    contents = [sha256(Path(file)) for file in files]
    text = json.dumps([kind, contents, run.image_size, run.aus, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
