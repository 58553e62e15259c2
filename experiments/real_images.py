"""Which best buddies two dictionaries of the same models share: ``real_images.py RUN RUN``.

Both have the same reference. Beside what they share stands what their decoys share: the best
buddies that the same rule finds in the shuffled images of each.
"""

from __future__ import annotations

import sys

from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.dictionary.pairs import Pool, pool_of
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import say
from rosetta_lab.functional.evidence import jaccard

POOLS: dict[str, Pool] = {"all": "best_buddies", "accepted": "accepted", "decoys": "decoys"}


def pairs(dictionary: RosettaDictionary, model: str, pool: Pool) -> set[tuple[int, int]]:
    """Numbers of a pool's units, reference and model."""
    return {(a, b) for a, b in pool_of(dictionary, model, pool).tolist()}


def table(first: RosettaDictionary, second: RosettaDictionary) -> str:
    """A Markdown table, one line per model: counts of both, and the Jaccard index."""
    if first.reference != second.reference:
        raise SystemExit("The two dictionaries have other references, or other layers of it.")
    lines = [
        "| " + " | ".join(["model", *(f"{p}: one, other, **Jaccard**" for p in POOLS)]) + " |",
        "|" + "---|" * (1 + len(POOLS)),
    ]
    for model in (name for name in first.discriminative if name in second.discriminative):
        cells = [model]
        for pool in POOLS.values():
            one, other = (pairs(dictionary, model, pool) for dictionary in (first, second))
            cells.append(f"{len(one)}, {len(other)}, **{jaccard(one, other):.3f}**")
        lines.append("| " + " | ".join(cells) + " |")
    own = [{neuron.unit for neuron in dictionary.neurons} for dictionary in (first, second)]
    counts = " and ".join(str(len(units)) for units in own)
    lines.append(f"\nRosetta neurons: {counts}, Jaccard {jaccard(*own):.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    say(table(*(RosettaDictionary.load(dictionary_folder(folder)) for folder in sys.argv[1:3])))
