"""Face and landmark detection that comes with the package."""

from typing import TYPE_CHECKING

from fgnet_plugin.utils.lazy import lazy_names

if TYPE_CHECKING:
    from fgnet_plugin.faces.finder import FaceFinder, FoundFaces, find_faces
    from fgnet_plugin.media.images import read_photo

__all__ = ["FaceFinder", "FoundFaces", "find_faces", "read_photo"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "FaceFinder": "fgnet_plugin.faces.finder",
        "FoundFaces": "fgnet_plugin.faces.finder",
        "find_faces": "fgnet_plugin.faces.finder",
        "read_photo": "fgnet_plugin.media.images",
    },
)
