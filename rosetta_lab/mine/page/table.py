"""All matches of a dictionary, as a table beside its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.files import write_csv

TABLE_NAME = "matches.csv"
OF_MATCH = (
    "layer", "channel", "r", "r_low", "r_high", "r_centred", "r_position", "r_shuffled", "q",
)  # fmt: skip
HEADS = [
    "concept", "neuron", "position_only", "reference_layer", "reference_channel", "neuron_score",
    "neuron_q", "stability", "model", "rank", *OF_MATCH,
]  # fmt: skip


def write_matches(folder: Path, dictionary: RosettaDictionary) -> None:
    """Write ``matches.csv``: a row for every match of every neuron, and of what place matches."""
    write_csv(folder / TABLE_NAME, [HEADS, *_rows(dictionary)])


def _rows(dictionary: RosettaDictionary) -> Iterator[list[object]]:
    for number, neuron in enumerate(dictionary.candidates):
        own = [
            None if neuron.concept < 0 else neuron.concept, number, neuron.position_only,
            *neuron.unit, neuron.score, neuron.q, neuron.stability,
        ]  # fmt: skip
        for model, matches in neuron.matches.items():
            for rank, match in enumerate(matches, 1):
                yield [*own, model, rank, *(getattr(match, key) for key in OF_MATCH)]
