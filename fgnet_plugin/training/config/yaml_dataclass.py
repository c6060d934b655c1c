"""YAML files as frozen dataclasses: every unknown, mistyped or missing key is reported at once, with the file's name."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

T = TypeVar("T")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads 1e-3 as a number, as YAML 1.2 does; YAML 1.1 asks for a point in it.

    References (``*name``) are refused: a few lines of them can stand for more values than fit in memory.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to another place with *; write the value out")
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def read(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Reads a dataclass from a YAML file.

    Args:
        kind: the dataclass; its fields may be other dataclasses, and what pydantic validates strictly. ValueErrors of its
            ``__post_init__`` say what does not fit together, one problem a line.
        path: the file.
        overrides: changes such as ``"optimiser.lr=1e-3"``, whose values are YAML.

    Raises:
        ValueError: no such file, no YAML, or keys that don't fit; the message lists all of them.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    problems: list[str] = []
    if isinstance(values, dict):
        for override in overrides:
            _apply(values, override, problems)
    adapter = TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True))(kind))
    try:
        # As JSON, in which strictness allows for a list where a tuple belongs, and a mapping for a dataclass.
        result = adapter.validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            problems += _lines(kind, dict(problem))
    if problems:
        raise ValueError(f"{path}: " + "\n  ".join(["the settings don't fit:", *problems]))
    return result


def plain(value: Any) -> Any:
    """A dataclass as JSON knows it: dicts, lists, numbers, strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What two results of `plain` differ in: ``["optimiser.lr: 0.001, was 0.0001"]``.

    A setting that the old one does not know yet, and that is off (false, 0, empty) in the new one, is no difference.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *(key for key in new if key in old or new[key])}):
            found += differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        return found
    return [] if old == new else [f"{name}: {new}, was {old}"]


def _apply(values: dict[str, Any], override: str, problems: list[str]) -> None:
    name, equals, text = override.partition("=")
    *sections, last = name.split(".")
    if not equals or not all([*sections, last]):
        problems.append(f"--set {override}: must look like section.key=value")
        return
    place: Any = values
    for section in sections:
        if not isinstance(place, dict):
            break
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
    if not isinstance(place, dict):
        problems.append(f"--set {override}: {'.'.join(sections)} is not a section")
        return
    try:
        place[last] = yaml.load(text, _Loader)
    except yaml.YAMLError:
        problems.append(f"--set {override}: the value is not YAML")


_WORDS = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false", "string_type": "text"}
_WORDS |= {"tuple_type": "a list", "dict_type": "a mapping", "dataclass_type": "a mapping"}


def _lines(kind: Any, problem: dict[str, Any]) -> list[str]:
    """What pydantic has found at one place, in the words of a settings file."""
    path, error = problem["loc"], problem["type"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if error == "value_error":  # of __post_init__
        return [f"{name}.{line}".lstrip(".") for line in str(problem["ctx"]["error"]).splitlines()]
    if error == "unexpected_keyword_argument":
        for part in path[:-1]:
            kind = typing.get_type_hints(kind)[part]
            kind = next((member for member in typing.get_args(kind) if member is not type(None)), kind)
        return [f"{name} is unknown; there are {', '.join(field.name for field in dataclasses.fields(kind))}"]
    if error == "missing":
        return [f"{name} is missing"]
    if error == "literal_error":
        expected = f"one of {problem['ctx']['expected'].replace(' or ', ', ')}".replace("'", "")
    else:
        expected = _WORDS.get(error, problem["msg"])
    return [f"{name or 'the file'} must be {expected}, got {problem['input']!r}"]
