"""The page's HTML, style and script."""

from __future__ import annotations

from importlib.resources import files


def read_template(name: str) -> str:
    """The text of a file of this package."""
    return (files(__name__) / name).read_text(encoding="utf-8")
