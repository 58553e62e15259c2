"""Names of concepts on their dictionary's page, also where they come later than the page."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from markupsafe import escape

from rosetta_lab.dictionary.names import load_names
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write
from rosetta_lab.pages.document import PAGE_NAME

log = logging.getLogger("rosetta_lab")
# Of a concept on its dictionary's page, as the template has it.
SHOWN = re.compile(
    r'(<section class="concept" id="concept-(\d+)"[^>]*><h3>.*?<span class="name">)[^<]*(</span>)'
)


def names_beside(folder: Path, dictionary: RosettaDictionary) -> dict[int, str]:
    """Names of the concepts of the dictionary in a folder; none, with a word, where they are
    another's.
    """
    try:
        found = load_names(folder, dictionary)
    except RosettaError as error:
        log.warning("The page shows no names. %s", error)
        return {}
    return {number: name.name for number, name in found.items() if name.name}


def show_names(folder: Path, dictionary: RosettaDictionary) -> None:
    """Put the names that lie beside a dictionary into its page, where it has one."""
    if (page := folder / PAGE_NAME).is_file():
        names = names_beside(folder, dictionary)
        atomic_write(page, named(page.read_text(encoding="utf-8"), names).encode())


def named(page: str, names: Mapping[int, str]) -> str:
    """A dictionary's page with other names of its concepts."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}{escape(names.get(int(found[2]), ''))}{found[3]}"

    return SHOWN.sub(put, page)
