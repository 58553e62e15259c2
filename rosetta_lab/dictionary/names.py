"""Names of a dictionary's concepts: ``names.json`` beside it, which pages read where it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rosetta_lab.dictionary.record import digest_of
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write
from rosetta_lab.models.options import Text
from rosetta_lab.run.foreign import Strict, check_record, read_json

SCHEMA: Literal["rosetta_lab.names/1"] = "rosetta_lab.names/1"
FILE_NAME = "names.json"
Score = Annotated[float, Field(ge=-1e6, le=1e6)]


class Name(Strict):
    """What a concept is called, by whoever named it.

    Attributes:
        concept: its number in the dictionary.
        name: the best word; None where meaningless words, or other crops, do as well.
        word: the best word in any case; None, as what follows, of a name that a person gave.
        score: its score.
        runner_up: the next best word; None where there is none.
        runner_up_score: its score.
        chance: how often the best word would be as good if it meant nothing, see
            :class:`rosetta_lab.functional.naming.Named`.
    """

    concept: Annotated[int, Field(ge=0, lt=1 << 40)]
    name: Text | None
    word: Text | None = None
    score: Score | None = None
    runner_up: Text | None = None
    runner_up_score: Score | None = None
    chance: Annotated[float, Field(ge=0.0, le=1.0)] | None = None


class Names(Strict):
    """A ``names.json``.

    Attributes:
        dictionary: digest of the dictionary whose concepts it names.
        text: name of the text-image model that gave them; None of a person, on the page.
        concepts: the names.
    """

    schema_: Literal["rosetta_lab.names/1"] = Field(alias="schema")
    dictionary: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    text: Text | None = None
    concepts: list[Name]


def digest(dictionary: RosettaDictionary) -> str:
    """What tells one dictionary from another: SHA-256 over its record."""
    return digest_of(json.loads(json.dumps(dictionary.to_json())))


def save_names(
    folder: Path, dictionary: RosettaDictionary, text: str | None, names: Sequence[Name]
) -> Path:
    """Write ``names.json``; ``text`` is the name of the text-image model, if one gave them."""
    record = {
        "schema": SCHEMA,
        "dictionary": digest(dictionary),
        "text": text,
        "concepts": [name.model_dump() for name in names],
    }
    atomic_write(folder / FILE_NAME, (json.dumps(record, indent=1) + "\n").encode())
    return folder / FILE_NAME


def load_names(folder: Path, dictionary: RosettaDictionary) -> dict[int, Name]:
    """Names of a dictionary's concepts by their numbers, from a folder that may be anybody's.

    Returns:
        Empty where there is no file.

    Raises:
        RosettaError: it holds something else, or the names of another dictionary.
    """
    path = folder / FILE_NAME
    try:
        record = read_json(path)
    except FileNotFoundError:
        return {}
    names = check_record(Names, record, FILE_NAME)
    numbers = [name.concept for name in names.concepts]
    fits = all(number < len(dictionary.concepts) for number in numbers)
    if names.dictionary != digest(dictionary) or not fits or len(set(numbers)) != len(numbers):
        raise RosettaError(
            f"{path}: these are names of another dictionary's concepts.\n"
            "Name these: python -m rosetta_lab.name dictionary=FOLDER"
        )
    return {name.concept: name for name in names.concepts}
