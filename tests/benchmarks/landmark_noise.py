"""How steady landmarks are: a still with the noise of a camera's sensor, many times.

    PYTHONPATH=.:tests/helpers python tests/benchmarks/landmark_noise.py [COUNT]

Prints the landmarks' standard deviation for the surest face of each still, in pixels and as a part of the inter-ocular
distance. Any version of the package can be on the path.
"""

import sys

import numpy as np
import torch
from photos import noisy, read_photo

from fgnet_plugin.faces import FaceFinder

STILLS = "skimage/astronaut", "pyfeat/single_face.jpg", "pyfeat/0-f1-su-ph.jpg", "pyfeat/15-f13-anc-ph.jpg"


def main() -> None:
    """Measure."""
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    finder = FaceFinder()
    for name in STILLS:
        photo, random = read_photo(name), torch.Generator().manual_seed(0)
        found = [finder.find([noisy(photo, random)])[0].landmarks for _ in range(count)]
        points = np.stack([np.asarray(landmarks)[0] for landmarks in found if len(landmarks)])  # [count, 68, 2]
        spread = float(np.sqrt(points.var(0).sum(-1).mean()))
        middle = points.mean(0)
        between = float(np.linalg.norm(middle[42:48].mean(0) - middle[36:42].mean(0)))
        print(f"{name:26} in {len(points)} of {count}: {spread:.3f} px, {spread / between:.4f} of {between:.0f} px", flush=True)


if __name__ == "__main__":
    main()
