"""Tables for a paper, LaTeX or Markdown: AU by AU, with what other systems' authors reported beside them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fgnet_plugin.action_units import CORPUS_AUS, au_number
from fgnet_plugin.training.evaluate import tables
from fgnet_plugin.training.evaluate.figure import TITLES, fullest
from fgnet_plugin.training.evaluate.scores import MEASURES, Group
from fgnet_plugin.training.evaluate.study import Study
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import counted

SUFFIXES = ".md", ".tex"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}


@dataclass(frozen=True)
class Published:
    """A figure that another system's authors, or those who compared it, reported."""

    system: str
    corpus: str
    measure: str
    value: float
    """Mean over the corpus' AUs, %."""
    source: str


@dataclass(frozen=True)
class PaperTable:
    """One corpus and measure."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def published_results(corpus: str, measure: str) -> list[Published]:
    """What is known of other systems on a corpus, by rising value; see ``published_results.csv``, which names each source.

    Example:
        >>> [one.system for one in published_results("BP4D", "f1")][-1]
        'FMAE-IAT'
    """
    text = (files("fgnet_plugin.training.evaluate") / "published_results.csv").read_text(encoding="utf-8")
    rows = [
        Published(row["system"], row["corpus"], row["measure"], float(row["value"]), row["source"])
        for row in csv.DictReader(text.splitlines())
    ]
    return sorted((r for r in rows if (r.corpus, r.measure) == (corpus.upper(), measure)), key=lambda one: one.value)


def check_path(path: Path) -> None:
    """Raise ValueError for a file that is neither Markdown nor LaTeX by its name."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--table {path}: must end in {' or '.join(SUFFIXES)}")


def write(study: Study, path: Path) -> None:
    """All tables of a study in one file, ``.md`` or ``.tex`` (for LaTeX's package booktabs), whole or not at all."""
    form = latex if path.suffix.lower() == ".tex" else markdown
    with atomic_write(path) as part:
        part.write_text("\n\n".join(map(form, paper_tables(study))) + "\n", encoding="utf-8")


def paper_tables(study: Study) -> list[PaperTable]:
    """A table for each corpus tested on and each of F1 and AUC."""
    corpora = dict.fromkeys(group.key.tested_on for group in study.groups)
    found = []
    for corpus in corpora:
        groups = fullest([group for group in study.groups if group.key.tested_on == corpus and group.scored])
        found += [_table(corpus, measure, groups) for measure in MEASURES if groups]
    return found


def _table(corpus: str, measure: str, groups: Sequence[Group]) -> PaperTable:
    aus = sorted({au for group in groups for au in group.scored}, key=au_number)
    others = published_results(corpus, measure) if any(group.key.within for group in groups) else []
    sources = {source: f"{i}" for i, source in enumerate(dict.fromkeys(one.source for one in others), start=1)}
    rows = [(f"{one.system} [{sources[one.source]}]", *("–" for _ in aus), f"{one.value:.1f}") for one in others]
    for group in groups:
        mean = group.estimate(group.scored, measure)
        interval = f" [{_percent(mean.low)}, {_percent(mean.high)}]" if math.isfinite(mean.low) else ""
        of_aus = (_percent(group.estimate((au,), measure).value) if au in group.scored else "–" for au in aus)
        rows.append((tables.name(group.key), *of_aus, _percent(mean.value) + interval))
    floors = [max((g.chance((au,), measure)[1] for g in groups if au in g.scored), default=math.nan) for au in aus]
    mean_floor = max(group.chance(group.scored, measure)[1] for group in groups)
    rows.append(("noise floor", *map(_percent, floors), _percent(mean_floor)))
    notes = [f"{counted(len(group.members), 'run')} of {tables.name(group.key)}: {group.key.selection}" for group in groups]
    notes += ["Brackets: bias-corrected and accelerated 95 % bootstrap intervals over subjects"]
    notes += ["Noise floor: what one of twenty detectors reaches that is given other subjects' activations; the rows' largest"]
    notes += [f"[{mark}] as reported in {source}; not run again, and folds, AUs and epoch may have been chosen otherwise"
              for source, mark in sources.items()]  # fmt: skip
    if others and set(aus) != set(CORPUS_AUS.get(corpus.upper(), ())):
        notes.append(f"Reported means are over the AUs of {corpus} that are customary, those of the other rows over {len(aus)}")
    notes += [note for group in groups for note in tables.notes(group)]
    caption = f"{TITLES[measure]} (%) on {corpus}"
    return PaperTable(caption, ("system", *(au.removeprefix("AU").lstrip("0") for au in aus), "mean"), tuple(rows),
                      tuple(dict.fromkeys(notes)))  # fmt: skip


def markdown(table: PaperTable) -> str:
    """A pipe table with its caption above it and its notes below."""
    rows = [table.header, ("---", *("---:" for _ in table.header[1:])), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"**{table.caption}**", "", *lines, "", *(f"- {note}." for note in table.notes)])


def latex(table: PaperTable) -> str:
    """A ``table`` with booktabs' rules."""
    lines = [r"\begin{table}", r"  \centering", f"  \\caption{{{_escaped(table.caption)}}}"]
    lines += [f"  \\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"    \toprule"]
    rows = ["    " + " & ".join(_escaped(cell) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    lines += [rows[0], r"    \midrule", *rows[1:], r"    \bottomrule", r"  \end{tabular}", r"  \par\footnotesize"]
    lines += ["  " + " \\\\\n  ".join(_escaped(f"{note}.") for note in table.notes), r"\end{table}"]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in text).replace("–", "--").replace("κ", r"$\kappa$")
    return "{[}" + escaped[1:] if escaped.startswith("[") else escaped  # after a line break it would be its argument


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "–"
