"""Where each AU folds the skin, and how: after the appearance changes that the FACS manual lists."""

from __future__ import annotations

from dataclasses import dataclass

FOLD = -1.0
"""As a furrow's `age`: there at rest in most faces, whatever their age."""


@dataclass(frozen=True)
class Furrow:
    """A line on the left half (mirrored for the right), its width in units, and what it does to the light."""

    aus: dict[int, float]
    """AU -> how much of the furrow it brings at full intensity."""
    path: tuple[tuple[float, float], ...]
    width: float
    depth: float = 1.0
    bulge: float = 0.0
    """Swelling beside the furrow, on the left of its course (+) or on the right (-)."""
    age: float = 0.3
    """How much of it old faces keep at rest."""


FURROWS: tuple[Furrow, ...] = (
    # Forehead: 1 in the middle, 2 at the sides.
    Furrow({1: 1.0, 2: 0.2}, ((-2, 37), (12, 38.5), (26, 36)), 2.2, 0.9, 0.6, 0.35),
    Furrow({1: 1.0, 2: 0.3}, ((-2, 45), (14, 46.5), (30, 44)), 2.2, 0.8, 0.5, 0.35),
    Furrow({1: 0.6, 2: 0.4}, ((-2, 53), (16, 54), (34, 51)), 2.2, 0.6, 0.4, 0.25),
    Furrow({2: 1.0}, ((34, 38), (50, 40), (66, 31)), 2.2, 0.9, 0.6, 0.2),
    Furrow({2: 0.8}, ((32, 46), (50, 48), (66, 41)), 2.2, 0.7, 0.4, 0.2),
    # Between the brows: 4 upright, 9 across the nose's root.
    Furrow({4: 1.1, 9: 0.4}, ((8, 29), (7, 19), (6.5, 8)), 2.4, 1.7, 1.1, 0.3),
    Furrow({4: 0.8}, ((13, 30), (12, 21), (10, 13)), 2.0, 1.0, 0.6, 0.15),
    Furrow({4: 0.35, 9: 0.9}, ((-1, 4), (6, 4.5), (11, 7)), 1.8, 1.0, 0.5, 0.15),
    Furrow({4: 0.6}, ((20, 12), (32, 13), (46, 14)), 3.0, 0.5, 0.8, 0.05),
    # Nose: 9.
    Furrow({9: 1.1}, ((-1, -6), (6, -7), (12, -4)), 1.8, 1.0, 0.5, 0.02),
    Furrow({9: 1.0}, ((7, -8), (11, -16), (17, -22)), 1.8, 1.0, 0.6, 0.02),
    Furrow({9: 0.9}, ((11, -8), (16, -15), (23, -20)), 1.8, 0.9, 0.6, 0.02),
    # Eyes: crow's feet and the furrow under the bag of the lower lid: 6; the lower lid's own: 7.
    Furrow({6: 1.1, 12: 0.15}, ((64, -6), (72, -2), (80, 3)), 1.7, 1.1, 0.5, 0.3),
    Furrow({6: 1.1, 12: 0.15}, ((65, -9), (73, -9), (82, -8)), 1.7, 1.1, 0.5, 0.3),
    Furrow({6: 1.0, 12: 0.1}, ((63, -13), (71, -17), (79, -21)), 1.7, 1.0, 0.5, 0.25),
    Furrow({6: 1.0, 12: 0.25, 9: 0.4}, ((22, -17), (34, -25), (48, -26), (62, -20)), 2.4, 1.2, 1.2, 0.35),
    Furrow({7: 1.0, 6: 0.5, 9: 0.4}, ((24, -13), (34, -17), (46, -18), (57, -14)), 1.8, 1.0, 1.0, 0.15),
    # Nasolabial: whole with 12 (bulging cheek), upper part with 9 and 10, middle with 11.
    Furrow({12: 1.2, 6: 0.4, 11: 0.4, 10: 0.3}, ((29, -46), (38, -60), (44, -74), (46, -88)), 2.6, 1.5, 1.7, 0.4),
    Furrow({10: 1.1, 9: 1.0, 11: 0.7}, ((24, -38), (31, -47), (36, -58), (38, -68)), 2.4, 1.4, 1.3, 0.25),
    # Mouth's corners: 14 dimple, 15 and 12 lines, 20.
    Furrow({14: 1.3}, ((38, -79), (40, -86), (38, -94)), 2.2, 1.3, 1.4, 0.05),
    Furrow({12: 0.5, 14: 0.4, 20: 0.6}, ((46, -72), (51, -84), (50, -97)), 2.2, 0.7, 0.7, 0.1),
    Furrow({15: 1.2, 20: 0.4}, ((36, -91), (40, -99), (40, -110)), 2.2, 1.3, 0.9, 0.35),
    # Lips: 23 upright lines in and above the red; 24 swellings above and under; 10 a crease over the lip.
    Furrow({23: 1.2}, ((5, -65), (5.5, -72)), 1.5, 0.59, 0.4, 0.03),
    Furrow({23: 1.2}, ((13, -67), (14, -75)), 1.5, 0.59, 0.4, 0.03),
    Furrow({23: 1.1}, ((22, -73), (23, -80)), 1.5, 0.52, 0.4, 0.03),
    Furrow({23: 1.1}, ((9, -99), (9, -106)), 1.5, 0.52, 0.4, 0.03),
    Furrow({23: 1.0}, ((18, -96), (20, -103)), 1.5, 0.45, 0.4, 0.03),
    Furrow({24: 1.2, 28: 0.5}, ((-1, -69), (14, -70), (26, -77)), 2.2, 0.6, 1.6, 0.02),
    Furrow({24: 1.3, 17: 0.5, 28: 0.5}, ((-1, -104), (13, -104), (25, -99)), 2.2, 0.9, -1.6, 0.1),
    # Chin: 17 (its dimpled skin is `_dimples`).
    Furrow({17: 1.3}, ((-1, -110), (11, -111), (20, -115)), 2.6, 1.4, -1.2, 0.3),
    Furrow({26: 0.5}, ((54, -60), (60, -78), (58, -98)), 3.0, 0.4, 0.2, 0.05),
    # The upper lid's fold: most people have one, of any age; deeper with 5.
    Furrow({5: 0.5}, ((26, -1), (34, 5), (46, 6.5), (59, 0)), 1.4, 0.9, -0.4, FOLD),
)
