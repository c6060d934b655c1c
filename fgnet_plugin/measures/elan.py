"""Codings as ELAN's files (.eaf): a tier for each AU. Read and written with pympi-ling, which opens no other file."""

from __future__ import annotations

import mimetypes
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from fgnet_plugin.errors import InputError
from fgnet_plugin.measures.coding import Coding, au_of
from fgnet_plugin.utils.files import atomic_write
from fgnet_plugin.utils.text import plural

_CODES = re.compile(r"[+,; ]+")
_CODE = re.compile(r"(?:AU)?[LRTB]?0*(\d{1,2})[A-E]?", re.IGNORECASE)


def write_elan(coding: Coding, path: Path) -> None:
    """Write a coding as .eaf: times in milliseconds, and as text of each event its highest score, where there is one.

    AUs without an event have an empty tier: they were looked at. A file that is there is replaced.

    Raises InputError where pympi-ling is not installed.
    """
    eaf = _pympi().Eaf(author="fgnet-plugin")
    eaf.remove_tier("default")
    video = Path(coding.recording)
    kind = mimetypes.guess_type(video.name)[0] or "video/*"
    eaf.add_linked_file(video.absolute().as_uri(), relpath=f"./{video.name}", mimetype=kind)
    for au in coding.aus:
        eaf.add_tier(au)
    for event in coding.events.to_dict("records"):
        start, end = (round(1000 * event[name]) for name in ("onset", "offset"))
        eaf.add_annotation(event["AU"], start, max(end, start + 1), f"{event['peak']:.2f}" if "peak" in event else "")
    with atomic_write(path) as part:
        eaf.to_file(str(part))


def read_elan(path: Path) -> Coding:
    """Read the coding of an .eaf file.

    A tier that is called as an AU ("AU12", "au 6", "4") holds its events, whatever their text. On other tiers, an event whose
    text is a FACS code ("6+12C") counts for its AUs. What is neither is left out, with a warning.

    Raises:
        InputError: no .eaf file, none with AUs, or one with codes of several participants.
    """
    eaf = _opened(path)
    events: list[tuple[str, float, float]] = []
    coded: dict[str, set[str]] = {}  # AU -> participants
    for tier, (*_, attributes, _order) in eaf.tiers.items():
        of_tier, participant = au_of(tier), str(attributes.get("PARTICIPANT") or "")
        if of_tier:
            coded.setdefault(of_tier, set()).add(participant)
        left_out = 0
        for start, end, text, *_rest in _annotations(eaf, tier, path):
            aus = [of_tier] if of_tier else _coded_aus(text)
            left_out += not aus
            for au in aus:
                coded.setdefault(au, set()).add(participant)
                events.append((au, start / 1000, end / 1000))
        if left_out:
            notes, verbs = plural(left_out, "annotation"), plural(left_out, "names no AU, and is", "name no AU, and are")
            warnings.warn(f"{path}: {left_out} {notes} of the tier {tier!r} {verbs} left out", stacklevel=2)
    if not coded:
        raise InputError(f"{path} has no AUs: no tier is called AU12 or the like, and no annotation is a FACS code")
    if len(people := set().union(*coded.values())) > 1:
        raise InputError(f"{path} has codes of several participants ({', '.join(sorted(people))}): save a file for each")
    table = pd.DataFrame(sorted(events), columns=["AU", "onset", "offset"])
    return Coding(_video(eaf), tuple(sorted(coded)), table)


def _pympi() -> Any:
    try:
        import pympi
    except ModuleNotFoundError as error:
        raise InputError('.eaf files need pympi-ling; run: pip install "fgnet-plugin[coding]"') from error
    return pympi


def _opened(path: Path) -> Any:
    pympi = _pympi()
    try:
        return pympi.Eaf(str(path), suppress_version_warning=True)
    except Exception as error:  # pympi raises many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{path} is damaged, or no file of ELAN ({type(error).__name__}: {error})") from error


def _annotations(eaf: Any, tier: str, path: Path) -> list[tuple[Any, ...]]:
    try:
        found: list[tuple[Any, ...]] = eaf.get_annotation_data_for_tier(tier)
    except Exception as error:  # pympi raises many kinds
        raise InputError(f"{path}: the tier {tier!r} can't be read ({type(error).__name__}: {error})") from error
    if any(time is None for entry in found for time in entry[:2]):
        raise InputError(f"{path}: the tier {tier!r} has annotations without times: align them in ELAN")
    return found


def _coded_aus(text: str) -> list[str]:
    """Read a FACS code: ``"6+12C"`` -> AU06, AU12; nothing for text that is none."""
    codes = [_CODE.fullmatch(part) for part in _CODES.split(text.strip())]
    return [f"AU{int(code[1]):02d}" for code in codes if code] if all(codes) else []


def _video(eaf: Any) -> str:
    """Return the first video that the file names; empty where it names none."""
    for media in eaf.get_linked_files():
        return unquote(str(media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or "").removeprefix("file://"))
    return ""
