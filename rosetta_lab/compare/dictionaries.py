"""Two dictionaries on one page: their concepts beside each other, pictures first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rosetta_lab.compare.concepts import Partner, partners
from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import atomic_write
from rosetta_lab.mine.page.concepts import image_name
from rosetta_lab.pages.document import PAGE_NAME, link_to, write_document

PICTURES = "pictures"


@dataclass(frozen=True)
class Side:
    """One of the two dictionaries.

    Attributes:
        dictionary: itself.
        folder: where it is.
        letter: what the page calls it.
    """

    dictionary: RosettaDictionary
    folder: Path
    letter: str


@dataclass(frozen=True)
class Card:
    """A concept with its partner.

    Attributes:
        title: of it.
        facts: of both, in words.
        pictures: caption and file of each, as far as the dictionaries have pages.
    """

    title: str
    facts: str
    pictures: list[tuple[str, str]]


def compare_dictionaries(folder: Path, sources: list[str]) -> Path:
    """Write ``index.html`` with two dictionaries, and the pictures that it shows.

    Args:
        folder: where to.
        sources: two of what ``dictionary=`` takes.

    Returns:
        The path of the page.

    Raises:
        RosettaError: there are not two, or one cannot be read, or they cannot be compared.
    """
    if len(sources) != 2:
        raise RosettaError(
            f"dictionaries: expected two run folders of rosetta_lab.mine, got {len(sources)}.\n"
            "Name them with dictionaries=[embedded,FOLDER]."
        )
    places = [dictionary_folder(source) for source in sources]
    first, second = (
        Side(RosettaDictionary.load(place), place, letter)
        for place, letter in zip(places, "AB", strict=True)
    )
    ours = partners(first.dictionary, second.dictionary)
    theirs = partners(second.dictionary, first.dictionary)
    return write_document(
        folder / PAGE_NAME,
        "side_by_side.html.j2",
        first=first.dictionary,
        second=second.dictionary,
        models="; ".join(
            dict.fromkeys(", ".join(one.dictionary.discriminative) for one in (first, second))
        ),
        links={
            f"The dictionary {side.letter}": address
            for side in (first, second)
            if (address := link_to(side.folder / PAGE_NAME, folder))
        },
        shared=[_card(folder, first, second, one) for one in ours if one.shared],
        alone={
            "Only in A": [_card(folder, first, second, one) for one in ours if not one.shared],
            "Only in B": [_card(folder, second, first, one) for one in theirs if not one.shared],
        },
    )


def _card(folder: Path, own: Side, other: Side, found: Partner) -> Card:
    title = f"Concept {found.concept} of {own.letter}"
    facts = (
        f"{found.units} units of the models; {found.common} in common with "
        f"{'any' if found.other is None else f'concept {found.other}'} of {other.letter}, where as "
        f"many random units have {found.random:.1f} with any (95 %: at most {found.bound})"
    )
    pictures = [_picture(folder, own, found.concept)]
    if found.other is not None:
        title += f", concept {found.other} of {other.letter}" if found.shared else ""
        pictures.append(_picture(folder, other, found.other))
    return Card(title, facts, [picture for picture in pictures if picture is not None])


def _picture(folder: Path, side: Side, concept: int) -> tuple[str, str] | None:
    """A copy of the picture of a concept's best neuron; None where there is none."""
    record = side.dictionary.concepts[concept]
    source = side.folder / image_name(record.representative)
    if not source.is_file() or source.is_symlink():
        return None
    name = f"{PICTURES}/{side.letter.lower()}_{concept}{source.suffix}"
    atomic_write(folder / name, source.read_bytes())
    return f"Concept {concept} of {side.letter}, score {record.score:.2f}", name
