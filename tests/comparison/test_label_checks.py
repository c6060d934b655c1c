"""What is said of labels that are few, unused, unmatched or shifted."""

import warnings

import numpy as np
import pandas as pd
import pytest

from fgnet_plugin.comparison import compare


def smiles(files: int = 6, frames: int = 80) -> pd.DataFrame:
    """Files of frames whose smiles come and go."""
    rng = np.random.default_rng(0)
    parts = []
    for i in range(files):
        wave = np.convolve(rng.normal(size=frames + 8), np.ones(9), "valid")
        parts.append(pd.DataFrame({"input": f"{i}.mp4", "frame": range(frames), "AU12": 1 / (1 + np.exp(-wave))}))
    return pd.concat(parts, ignore_index=True)


def codes(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(AU12=(table["AU12"] > 0.5).astype(int))


def said(table: pd.DataFrame, labels: pd.DataFrame, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        compare({"a": table}, labels, bootstrap=20, **options)
    return [str(warning.message) for warning in found]


def test_nothing_is_said_of_labels_that_are_used_throughout() -> None:
    assert said(smiles(), codes(smiles())) == []
    people = codes(smiles()).assign(subject=np.repeat(list("abcdef"), 80))
    assert said(smiles(), people, cluster="subject") == []


@pytest.mark.parametrize(("shift", "word"), [(1, "earlier"), (-1, "later")])
def test_labels_that_are_a_frame_off_are_noticed(shift: int, word: str) -> None:
    labels = codes(smiles())
    labels["frame"] += shift
    shifted = [text for text in said(smiles(), labels) if "fit the scores better" in text]
    assert len(shifted) == 1
    assert f"one frame {word}" in shifted[0]


def test_unmatched_rows_and_unused_columns_are_named() -> None:
    labels = codes(smiles()).assign(AU99=0, coder="me")
    labels.loc[:2, "frame"] += 1000
    found = said(smiles(), labels)
    assert "columns of the labels that are not used: coder" in found
    assert "labels of AU99 are not used: no model has these AUs" in found
    assert "3 of 480 rows of the labels match no row of a model, such as input 0.mp4, frame 1000" in found


def test_labels_of_few_people_bring_a_warning() -> None:
    one = smiles(files=1)
    assert any("the 80 labelled rows come from 1 file only" in text for text in said(one, codes(one)))
    people = codes(smiles()).assign(subject=np.repeat(["a", "b"], 240))
    assert any("'subject' holds 2 different values in the 480" in text for text in said(smiles(), people, cluster="subject"))


def test_intervals_by_person_are_wider() -> None:
    """Each person's smiles are detected well or badly, so that people and not frames are what chance draws."""
    table = smiles(files=8, frames=60)
    labels = codes(table).assign(subject=table["input"])
    rng = np.random.default_rng(1)
    noise = np.repeat([0.02, 0.9] * 4, 60)
    noisy = table.assign(AU12=np.clip(table["AU12"] + rng.normal(0, noise), 0, 1))
    widths = []
    for frame in (labels.drop(columns=["input", "frame"]), labels):
        given = noisy if "input" in frame else noisy.drop(columns=["input", "frame"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = compare({"a": given}, frame, cluster="subject" if "input" in frame else None).accuracy.iloc[0]
        widths.append(row["auc_high"] - row["auc_low"])
    assert widths[1] > 1.5 * widths[0]
