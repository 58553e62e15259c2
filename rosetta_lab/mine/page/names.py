"""Names of a dictionary's concepts: ``names.json`` beside it, whoever or whatever gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from markupsafe import escape
from pydantic import Field

from rosetta_lab.files import atomic_write
from rosetta_lab.pages.document import PAGE_NAME
from rosetta_lab.run.foreign import Strict, check_record, read_json

NAMES = "names.json"
Name = Annotated[str, Field(min_length=1, max_length=80)]
Number = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")]


# Of a concept on its dictionary's page, as the template has it.
SHOWN = re.compile(
    r'(<section class="concept" id="concept-(\d+)"[^>]*><h3>.*?<span class="name">)[^<]*(</span>)'
)


class NamesRecord(Strict, extra="ignore"):
    """A ``names.json``: concept's number, as text, to its name."""

    names: Annotated[dict[Number, Name], Field(max_length=1 << 20)]


def read_names(folder: Path) -> dict[int, str]:
    """Names of the concepts of the dictionary in a folder; none where no file gives any.

    Raises:
        RosettaError: the file is something else.
    """
    try:
        record = read_json(folder / NAMES)
    except FileNotFoundError:
        return {}
    found = check_record(NamesRecord, record, f"{NAMES} of names")
    return {int(number): name for number, name in found.names.items()}


def show_names(folder: Path) -> None:
    """Put the names that lie beside a dictionary into its page, where it has one.

    Raises:
        RosettaError: see :func:`read_names`.
    """
    names = read_names(folder)
    if (page := folder / PAGE_NAME).is_file():
        atomic_write(page, named(page.read_text(encoding="utf-8"), names).encode())


def named(page: str, names: Mapping[int, str]) -> str:
    """A dictionary's page with other names of its concepts."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}{escape(names.get(int(found[2]), ''))}{found[3]}"

    return SHOWN.sub(put, page)
