"""Short names for files that are written for each of several inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def distinct_names(paths: Iterable[str]) -> dict[str, str]:
    """Name each path by its stem; where several have the same, by as many of its folders as it takes, or by its suffix.

    Names differ in more than the case of their letters, as some file systems want.

    Example:
        >>> distinct_names(["s1/clip.mp4", "s2/clip.mp4", "a.jpg", "b.mp4", "b.mov"])
        {'s1/clip.mp4': 's1_clip', 's2/clip.mp4': 's2_clip', 'a.jpg': 'a', 'b.mp4': 'b.mp4', 'b.mov': 'b.mov'}
    """
    given = list(dict.fromkeys(paths))
    names = {path: Path(path).stem for path in given}
    for path in _alike(names):
        parts = [part for part in Path(path).parts if part.strip("/\\.")]
        others = [other for other in given if other != path and Path(other).stem.casefold() == Path(path).stem.casefold()]
        if Path(path).name.casefold() not in (Path(other).name.casefold() for other in others):
            names[path] = Path(path).name
            continue
        for count in range(2, len(parts) + 1):
            end = tuple(part.casefold() for part in parts[-count:])
            if all(tuple(part.casefold() for part in Path(other).parts[-count:]) != end for other in others):
                names[path] = "_".join([*parts[-count:-1], Path(path).stem])
                break
    taken: set[str] = set()
    for path, name in names.items():
        number, unique = 2, name
        while unique.casefold() in taken:
            number, unique = number + 1, f"{name}_{number}"
        names[path] = unique
        taken.add(unique.casefold())
    return names


def _alike(names: dict[str, str]) -> list[str]:
    """List the paths whose names others have, too."""
    count = Counter(name.casefold() for name in names.values())
    return [path for path, name in names.items() if count[name.casefold()] > 1]
