"""Few test cases that still meet every combination of two parameters."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Choose from the product of the axes cases in which each value of an axis meets each value of every other one.

    Greedily, in a fixed order: the next case is the one that adds the most pairs.

    >>> pairwise("ab", (0, 1), (False, True))
    [('a', 0, False), ('a', 1, True), ('b', 0, True), ('b', 1, False)]
    """
    # By position, because values need not be hashable
    places = [range(len(axis)) for axis in axes]
    pairs = {case: {((i, case[i]), (j, case[j])) for i, j in combinations(range(len(axes)), 2)} for case in product(*places)}
    missing, chosen = set().union(*pairs.values()), []
    while missing:
        chosen.append(max(pairs, key=lambda case: len(pairs[case] & missing)))
        missing -= pairs[chosen[-1]]
    return [tuple(axis[place] for axis, place in zip(axes, case, strict=True)) for case in sorted(chosen)]
