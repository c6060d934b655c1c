"""How often 95 % intervals of F1 hold the truth, by simulation: percentiles, as before, and what the package has now.

    python tests/benchmarks/interval_coverage.py [SIMULATIONS]

Each simulated corpus has 14 or 27 subjects of 30 frames. How often a subject shows the AU is Beta(a, b); activations shift from
subject to subject by 0.8 standard deviations of a frame's noise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from fgnet_plugin.comparison.bootstrap import bca_interval, draw_units, interval

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from simulated_subjects import corpus, f1, f1_of_many

RESAMPLES = 1000
COMMON, RARE = (0.8, 1.2), (0.3, 2.0)


def coverage(subjects: int, shape: tuple[float, float], simulations: int) -> dict[str, tuple[float, float]]:
    """Kind of interval -> (share of simulations whose interval holds the truth, mean width)."""
    rng, truth = np.random.default_rng(1), f1_of_many(*shape)
    found: dict[str, list[tuple[bool, float]]] = {"percentile": [], "now": []}
    for _ in range(simulations):
        sums = corpus(rng, subjects, *shape)
        classic = f1(sums @ rng.multinomial(subjects, np.full(subjects, 1 / subjects), RESAMPLES).T)
        samples, without = f1(sums @ draw_units(rng, subjects, RESAMPLES)), f1(sums.sum(1, keepdims=True) - sums)
        limits = {"percentile": interval(classic, 0.95), "now": bca_interval(float(f1(sums.sum(1))), samples, without, 0.95)}
        for kind, (low, high) in limits.items():
            found[kind].append((low <= truth <= high, high - low))
    return {kind: (float(np.mean([h for h, _ in of])), float(np.nanmean([w for _, w in of]))) for kind, of in found.items()}


def main(simulations: int) -> None:
    """Print the table."""
    print("| AU | subjects | percentile | now |\n| --- | ---: | ---: | ---: |")
    for name, shape in (("common", COMMON), ("rare", RARE)):
        for subjects in (14, 27):
            of = coverage(subjects, shape, simulations)
            cells = (f"{held:.3f} (width {width:.3f})" for held, width in of.values())
            print(f"| {name} | {subjects} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
