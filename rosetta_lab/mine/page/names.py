"""Names of a dictionary's concepts: ``names.json`` beside it, whoever or whatever gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from rosetta_lab.run.foreign import Strict, check_record, read_json

NAMES = "names.json"
Name = Annotated[str, Field(min_length=1, max_length=80)]
Number = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")]


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
