"""The table of docs/measures_calibration.md: how well a checkpoint tells the sides of rendered heads with one-sided AUs.

    PYTHONPATH=tests/helpers python tests/benchmarks/one_sided_aus.py [--checkpoint NAME_OR_FILE] [--people 40] [--seed 31]

Each person shows each AU once on the right side of the face and once on the left. "AUC" is that of the difference left − right
for the side that moves, and "share" the share of faces in which the side that moves has more: of the scores of halves that are
made whole (`fgnet sides`), and of the means of the halves of the heatmaps. A minute for a small network; hours, on a CPU, for
one of the published size.
"""

from __future__ import annotations

import argparse

from rendered_people import one_sided, told

from fgnet_plugin.checkpoints.fgnet import load
from fgnet_plugin.checkpoints.registry import resolve
from fgnet_plugin.inference.sides import SIDED
from fgnet_plugin.training.rendered import heads


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="fgnet-rendered")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args()
    net = load(resolve(options.checkpoint))
    print(f"{options.checkpoint}, {options.people} people\n{'':6}{'halves made whole':>20}{'halves of heatmaps':>22}")
    print(f"{'AU':6}{'AUC':>10}{'share':>10}{'AUC':>12}{'share':>10}")
    for au in heads.DRAWN:
        if f"AU{au:02d}" in SIDED and f"AU{au:02d}" in net.aus:
            found = one_sided(net, au, options.people, options.seed)
            halves, heatmaps = told(found["halves"]), told(found["heatmaps"])
            print(f"{au:<6}{halves[0]:10.2f}{halves[1]:10.2f}{heatmaps[0]:12.2f}{heatmaps[1]:10.2f}", flush=True)


if __name__ == "__main__":
    main()
