"""Photo + 68 landmarks -> the aligned face that FG-Net reads, and back.

FFHQ's alignment (Karras et al.: A Style-Based Generator Architecture for GANs, CVPR 2019), which the corpora of FG-Net went
through, on any device and for many faces at once. FFHQ samples 1024 px bilinearly and reduces them; twice the size of
the result is enough to agree with it within 55 dB, and whatever of the photo no face needs is never touched.

Pixel coordinates are indices, of photos and faces alike: (0, 0) is the centre of the first pixel, x comes first.
"""

from fgnet_plugin.alignment.align import align_faces, align_for_network
from fgnet_plugin.alignment.geometry import AlignedFaces, ffhq_square
from fgnet_plugin.alignment.validation import Landmarks, show_faces

__all__ = [
    "AlignedFaces",
    "Landmarks",
    "align_faces",
    "align_for_network",
    "ffhq_square",
    "show_faces",
]
