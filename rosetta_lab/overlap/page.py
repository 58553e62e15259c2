"""Two dictionaries on one page: their concepts beside each other, pictures first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.files import atomic_write
from rosetta_lab.mine.page.concepts import image_name
from rosetta_lab.overlap.concepts import Partner, partners
from rosetta_lab.overlap.overlaps import Overlap
from rosetta_lab.pages.document import PAGE_NAME, write_document

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


def write_side_by_side(
    folder: Path, first: Side, second: Side, overlaps: list[Overlap], heads: list[str],
    rows: list[list[str]],
) -> Path:  # fmt: skip
    """Write ``index.html`` and the pictures that it shows.

    Args:
        folder: where to.
        first: dictionary A.
        second: dictionary B.
        overlaps: of both.
        heads: of the table.
        rows: its rows, a row for each overlap.

    Returns:
        The path of the page.
    """
    ours, theirs = (
        partners(first.dictionary, second.dictionary),
        partners(second.dictionary, first.dictionary),
    )
    return write_document(
        folder / PAGE_NAME,
        "side_by_side.html.j2",
        first=first.dictionary,
        second=second.dictionary,
        shared=[_card(folder, first, second, one) for one in ours if one.shared],
        alone={
            "Only in A": [_card(folder, first, second, one) for one in ours if not one.shared],
            "Only in B": [_card(folder, second, first, one) for one in theirs if not one.shared],
        },
        shuffled=any(overlap.shuffled for overlap in overlaps),
        heads=heads,
        rows=rows,
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
