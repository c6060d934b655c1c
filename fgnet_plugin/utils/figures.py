"""A matplotlib figure that belongs to no window, and that notebooks show all the same."""

from io import BytesIO

from matplotlib.figure import Figure

_DPI = 100


class NotebookFigure(Figure):
    """matplotlib's Figure. Jupyter shows those of matplotlib only once pyplot was imported, and this one always."""

    def _repr_png_(self) -> bytes:
        """Return the picture for IPython, which asks objects for it by this name."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=_DPI, bbox_inches="tight")
        return picture.getvalue()
