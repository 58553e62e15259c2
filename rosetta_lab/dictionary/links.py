"""Links from other pages to a dictionary's own."""

from __future__ import annotations

from pathlib import Path

from rosetta_lab.files import path_of
from rosetta_lab.pages.document import PAGE_NAME, link_to


def link_to_dictionary(dictionary: object, folder: Path) -> str:
    """The address of a dictionary's page from another page's folder; empty where it has none.

    Args:
        dictionary: as a run's configuration names it, which may be anybody's.
        folder: of the other page.
    """
    try:
        return link_to(path_of(str(dictionary)) / PAGE_NAME, folder)
    except (OSError, ValueError):  # a name that no file can have
        return ""
