"""FFHQ face alignment and its inverse.

FFHQ's alignment (Karras et al.: A Style-Based Generator Architecture for GANs, CVPR 2019), which the corpora of FG-Net went
through, on any device and for many faces at once. FFHQ samples 1024 px bilinearly and reduces them; twice the size of
the result is enough to agree with it within 55 dB, and whatever of the photo no face needs is never touched.

Convention:
    - Images are RGB, channels first. Points are (x, y): x to the right, y down.
    - Coordinates are indices, of photos and aligned faces alike: (0, 0) is the centre of the first pixel, and an image of
      W × H px covers [-0.5, W - 0.5] × [-0.5, H - 0.5].
    - A face's square covers the aligned face: its corners are at -0.5 and size - 0.5 of that.
    - A change of size keeps the edges: pixel j of an image reduced k times is at k·(j + 0.5) - 0.5 of the original
      (``align_corners=False``). ``grid_sample`` is called in these units, -1 and 1 being the edges.
    - Heatmaps alone differ, as the published targets do: pixel j of a map of w px is pixel j·size/w of the aligned face.
"""

from fgnet_plugin.alignment.align import align_faces, align_for_network
from fgnet_plugin.alignment.geometry import AlignedFaces, ffhq_square
from fgnet_plugin.alignment.region import Padding
from fgnet_plugin.alignment.validation import Landmarks, show_faces

__all__ = [
    "AlignedFaces",
    "Landmarks",
    "Padding",
    "align_faces",
    "align_for_network",
    "ffhq_square",
    "show_faces",
]
