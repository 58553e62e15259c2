"""Figures that show themselves in a notebook."""

from __future__ import annotations

import io

from matplotlib import figure


class Figure(figure.Figure):
    """A figure that is no part of pyplot: it needs no display, and is not kept by it."""

    def _repr_png_(self) -> bytes:
        # IPython draws figures by itself only after pyplot was imported.
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
