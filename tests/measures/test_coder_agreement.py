"""Agreement with human coders on base rates, frames and events, against answers that are known."""

import numpy as np
import pandas as pd
import pytest

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.agreement import agree_with_coders, match_onsets, read_codes
from fgnet_plugin.measures.recordings import Recording, read_recordings


def detected(**scores: list[float] | np.ndarray) -> dict[str, Recording]:
    tables = [pd.DataFrame({"input": name, "frame": range(len(values)), "AU12": values}) for name, values in scores.items()]
    return {recording.name: recording for recording in read_recordings(pd.concat(tables), rate=10)}


def coded(**codes: list[float] | np.ndarray) -> dict[str, Recording]:
    tables = [pd.DataFrame({"input": name, "frame": range(len(values)), "AU12": values}) for name, values in codes.items()]
    return read_codes(pd.concat(tables), rate=10)


def pulse(start: int, end: int, n: int = 60) -> np.ndarray:
    return ((np.arange(n) >= start) & (np.arange(n) < end)).astype(float)


def test_the_same_codes_agree_entirely() -> None:
    parts = {name: pulse(10, 10 + length) for name, length in {"a": 10, "b": 20, "c": 40}.items()}
    found = agree_with_coders(detected(**parts), coded(**parts))
    assert found.base_rates["icc"].item() == pytest.approx(1)
    assert found.frames[["kappa", "mcc"]].to_numpy().ravel() == pytest.approx([1, 1])
    assert found.events[["precision", "recall", "f1", "onset_error"]].to_numpy().ravel() == pytest.approx([1, 1, 1, 0])


def test_known_disagreement_has_known_numbers() -> None:
    """60 frames: both present 10, only the coder 10, only the detector 5, neither 35."""
    found = agree_with_coders(detected(a=pulse(20, 35)), coded(a=pulse(10, 30)))
    expected = (20 * 15 + 40 * 45) / 60**2
    assert found.frames["kappa"].item() == pytest.approx((45 / 60 - expected) / (1 - expected))
    assert found.frames["mcc"].item() == pytest.approx((10 * 35 - 10 * 5) / np.sqrt(20 * 15 * 40 * 45))
    assert found.base_rates[["coded", "detected"]].to_numpy().ravel() == pytest.approx([20 / 60, 15 / 60])
    assert np.isnan(found.base_rates["icc"].item())  # of one recording
    assert found.events["matched"].item() == 0  # a second apart


def test_events_match_once_within_the_tolerance() -> None:
    coder = np.maximum(pulse(10, 15), pulse(40, 45))
    detector = np.maximum(np.maximum(pulse(12, 15), pulse(17, 20)), pulse(50, 55))
    [row] = agree_with_coders(detected(a=detector), coded(a=coder), tolerance=0.5).events.to_dict("records")
    assert (row["coded"], row["detected"], row["matched"]) == (2, 3, 1)
    assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((1 / 3, 1 / 2, 2 / 5))
    assert row["onset_error"] == pytest.approx(0.2)


def test_as_many_onsets_as_possible_are_matched() -> None:
    assert match_onsets([1.0, 1.4], [1.3, 0.6], 0.5) == [(0, 1), (1, 0)]
    assert match_onsets([1.0, 1.4], [1.3], 0.5) == [(1, 0)]
    assert match_onsets([], [1.3], 0.5) == []


def test_what_was_not_coded_does_not_count() -> None:
    codes = pulse(10, 30)
    codes[40:] = 9
    found = agree_with_coders(detected(a=pulse(10, 30)), coded(a=codes, other=codes))
    assert found.frames["n"].item() == 40


def test_labels_that_match_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"the coded recordings \(z\) and the detected ones \(a\) have no name in common"):
        agree_with_coders(detected(a=pulse(1, 5)), coded(z=pulse(1, 5)))
    late = pd.DataFrame({"input": "a", "time": np.arange(60) / 10 + 0.05, "AU12": 1.0})
    with pytest.raises(InputError, match="no frame is both coded and detected: their times differ"):
        agree_with_coders(detected(a=pulse(1, 5)), read_codes(late))
    with pytest.raises(InputError, match=r"no AU is both coded \(AU04\) and detected"):
        agree_with_coders(detected(a=pulse(1, 5)), read_codes(late.rename(columns={"AU12": "AU04"})))
