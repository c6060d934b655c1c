"""How long bundled checkpoints take to read an aligned face, and how large they are; the face finder's time is not in it.

    python examples/reading_speed.py [fgnet-rendered-1 fgnet-rendered]

Processor time of one thread, the checkpoints in turns, so that what else the machine does meets all of them alike. Needs the
extra `train`, for the faces.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch

import fgnet_plugin
from fgnet_plugin.training.rendered import HeadCorpus

FACES, TURNS = 32, 7
WEIGHTS = Path(__file__).parents[1] / "weights"


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["fgnet-rendered-1", "fgnet-rendered"], help="bundled checkpoints")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    nets = [fgnet_plugin.load(name).fuse() for name in names]
    corpora = [HeadCorpus(size=net.config.image_size, length=FACES) for net in nets]
    faces = [torch.stack([corpus[i]["image"] for i in range(FACES)]) for corpus in corpora]
    taken: list[list[float]] = [[] for _ in names]
    for _ in range(TURNS):
        for i, net in enumerate(nets):
            start = time.process_time()
            net.predict(faces[i], batch_size=FACES)
            taken[i].append(1e3 * (time.process_time() - start) / FACES)
    for name, net, of_turns in zip(names, nets, taken, strict=True):
        size = (WEIGHTS / f"{name}.safetensors").stat().st_size / 1e6
        print(
            f"{name:18}{len(net.aus):3} AUs  {size:4.1f} MB  {median(of_turns):5.1f} ms a face ({min(of_turns):.1f} to "
            f"{max(of_turns):.1f})  {1e3 / median(of_turns):4.0f} faces a second and thread"
        )


if __name__ == "__main__":
    main()
