"""Which units of discriminative models two dictionaries have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.dictionary.pairs import Pairs, Pool, pool_of
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError

Matched = Literal["best_buddies", "candidates", "accepted", "rosetta"]


@dataclass
class Overlap:
    """Units of a model that two generators match.

    Attributes:
        model: the discriminative one.
        pool: ``best_buddies``: matched with this model; ``candidates``: by generator units that
            have a best buddy in every model, the paper's rule; ``accepted`` and ``rosetta``: the
            same of matches that pass the null.
        units: of the model.
        first: of these, matched by the first generator.
        second: matched by the second.
        both: matched by both.
        random: expected in both if the second's were drawn at random from the same layers.
        shuffled: the same three counts by the same rule in the shuffled images of both; None where
            a dictionary does not hold them: without a null, and of what passes it.
    """

    model: str
    pool: Matched
    units: int
    first: int
    second: int
    both: int
    random: float
    shuffled: tuple[int, int, int] | None

    @property
    def share(self) -> float | None:
        """Share of the first's units that the second matches as well; None without any."""
        return self.both / self.first if self.first else None


def two_dictionaries(
    sources: Sequence[str],
) -> tuple[RosettaDictionary, RosettaDictionary]:
    """The dictionaries that a config names.

    Raises:
        RosettaError: not two of them, or one is none.
    """
    if len(sources) != 2:
        raise RosettaError(
            f"dictionaries: expected two run folders of rosetta_lab.mine, got {len(sources)}.\n"
            "Name them with dictionaries=[embedded,FOLDER]."
        )
    first, second = (RosettaDictionary.load(dictionary_folder(source)) for source in sources)
    return first, second


def common_models(first: RosettaDictionary, second: RosettaDictionary) -> list[str]:
    """Names of the models that two dictionaries were mined with.

    Raises:
        RosettaError: there is no such model, or one had other layers or weights.
    """
    names = [name for name in first.discriminative if name in second.discriminative]
    if not names:
        raise RosettaError(
            "The two dictionaries have no discriminative model in common.\n"
            "Mine both generators with the same disc=[...]."
        )
    for name in names:
        a, b = first.discriminative[name], second.discriminative[name]
        if a.layers != b.layers or a.weights.get("sha256") != b.weights.get("sha256"):
            raise RosettaError(
                f"{name}: the two dictionaries recorded different layers or weights of it.\n"
                "Mine both generators with the same models."
            )
    return names


def overlaps(first: RosettaDictionary, second: RosettaDictionary) -> list[Overlap]:
    """Compare two dictionaries, for every model that both were mined with.

    Raises:
        RosettaError: see :func:`common_models`.
    """
    names = common_models(first, second)
    both = (first, second)
    found, decoys = _matched(both, "best_buddies"), None
    if all(dictionary.evidence for dictionary in both):
        decoys = _matched(both, "decoys")
    accepted = _matched(both, "accepted")
    pools: list[tuple[Matched, list[Pairs], list[Pairs] | None]] = [
        ("best_buddies", found, decoys),
        ("accepted", accepted, None),
        ("candidates", _in_every(found), decoys and _in_every(decoys)),
        ("rosetta", _in_every(accepted), None),
    ]
    return [
        _overlap(first, name, pool, real, shuffled)
        for pool, real, shuffled in pools
        for name in names
    ]


def _matched(dictionaries: tuple[RosettaDictionary, ...], pool: Pool) -> list[Pairs]:
    return [
        {name: pool_of(dictionary, name, pool) for name in dictionary.discriminative}
        for dictionary in dictionaries
    ]


def _in_every(found: list[Pairs]) -> list[Pairs]:
    """Pairs of generator units that have one in every model (paper, section 3.2)."""
    every = []
    for pairs in found:
        units = set.intersection(*(set(rows[:, 0].tolist()) for rows in pairs.values()))
        wanted = torch.tensor(sorted(units), dtype=torch.long)
        every.append({name: rows[torch.isin(rows[:, 0], wanted)] for name, rows in pairs.items()})
    return every


def _overlap(
    dictionary: RosettaDictionary,
    name: str,
    pool: Matched,
    real: list[Pairs],
    shuffled: list[Pairs] | None,
) -> Overlap:
    index = dictionary.discriminative[name].units
    a, b = (_units(pairs[name], len(index)) for pairs in real)
    spans = [index.units(layer.name) for layer in index.layers]
    random = sum(int(a[s].sum()) * int(b[s].sum()) / (s.stop - s.start) for s in spans)
    counts = None
    if shuffled is not None:
        counts = _counts(*(_units(pairs[name], len(index)) for pairs in shuffled))
    return Overlap(name, pool, len(index), *_counts(a, b), float(random), counts)


def _units(pairs: Tensor, units: int) -> Tensor:
    """Which of a model's units are in pairs (units,), bool."""
    matched = torch.zeros(units, dtype=torch.bool)
    matched[pairs[:, 1].long()] = True
    return matched


def _counts(a: Tensor, b: Tensor) -> tuple[int, int, int]:
    return int(a.sum()), int(b.sum()), int((a & b).sum())
