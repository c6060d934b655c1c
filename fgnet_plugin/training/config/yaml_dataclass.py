"""YAML files as frozen dataclasses: every unknown, mistyped or missing key is reported at once, with the file's name."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


def read(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """A dataclass from a YAML file.

    Args:
        kind: the dataclass; its fields may be other dataclasses, numbers, strings, booleans, tuples, dicts and Literals.
        path: the file.
        overrides: changes such as ``"optimiser.lr=1e-3"``, whose values are YAML.

    Raises:
        ValueError: no such file, no YAML, or keys that don't fit; the message lists all of them.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    problems: list[str] = []
    if isinstance(values, dict):
        for override in overrides:
            _apply(values, override, problems)
    result = _convert(kind, values, "", problems)
    if problems:
        raise ValueError(f"{path}: " + "\n  ".join(["the settings don't fit:", *problems]))
    return typing.cast("T", result)


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
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append(f"--set {override}: the value is not YAML")


def _convert(kind: Any, value: Any, name: str, problems: list[str]) -> Any:
    """The value as `kind`; what does not fit goes to `problems` under the key's name."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, name, problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # X | None
        present = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else _convert(present[0], value, name, problems)
    if origin is typing.Literal:
        if value not in arguments or isinstance(value, bool):
            problems.append(f"{name} must be one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            problems.append(f"{name} must be a list, got {value!r}")
            return value
        return tuple(_convert(arguments[0], item, f"{name}[{i}]", problems) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            problems.append(f"{name} must be a mapping, got {value!r}")
        return value
    if kind is float and isinstance(value, str):
        try:  # YAML 1.1 reads 1e-3, without a point, as text
            return float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        problems.append(f"{name} must be {_WORDS[kind]}, got {value!r}")
    return value


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _dataclass(kind: Any, value: Any, name: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{name or 'the file'} must be a mapping, got {value!r}")
        return None
    before = len(problems)
    hints, fields = typing.get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}
    prefix = f"{name}." if name else ""
    for key in value:
        if key not in fields:
            problems.append(f"{prefix}{key} is unknown; there are {', '.join(fields)}")
    converted = {}
    for key, field in fields.items():
        if key in value:
            converted[key] = _convert(hints[key], value[key], prefix + key, problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{prefix}{key} is missing")
    if len(problems) > before:
        return None
    try:
        return kind(**converted)
    except ValueError as error:  # a dataclass's own checks, one a line
        problems.extend(prefix + line for line in str(error).splitlines())
        return None
