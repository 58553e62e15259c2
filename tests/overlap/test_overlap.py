"""Which units of the models two generators' dictionaries share."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from commands import call

from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.schema import Match, ModelCard, RosettaDictionary, RosettaNeuron
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import Layer, Unit
from rosetta_lab.overlap.overlaps import overlaps

LAYERS = [Layer("low", 4, 8, 8), Layer("high", 10, 4, 4)]


def dictionary(name: str, matched: list[int], rosetta: list[int]) -> RosettaDictionary:
    """A dictionary that matches these units of one model, and finds Rosetta neurons in some."""
    generator = ModelCard(name, {"sha256": name}, [Layer("conv", 20, 8, 8)])
    model = ModelCard("vit", {"sha256": "v"}, LAYERS)
    neurons = [
        RosettaNeuron(
            Unit("conv", unit), {"vit": [Match(*model.units[unit], r=0.5)]}, 0.5, concept=0
        )
        for unit in rosetta
    ]
    # Two generator units match every one of them: each counts once.
    pairs = [[generator_unit, unit] for unit in matched for generator_unit in (unit, unit + 1)]
    return RosettaDictionary(
        generator, {"vit": model}, neurons, [], seed=0, num_images=1, k=1,
        buddies={"vit": torch.tensor(pairs).reshape(-1, 2)},
    )  # fmt: skip


def test_units_are_counted_by_hand() -> None:
    first = dictionary("a", matched=[0, 1, 4, 5, 6], rosetta=[4, 5])
    second = dictionary("b", matched=[1, 2, 5, 13], rosetta=[])
    buddies, rosetta = overlaps(first, second)
    assert (buddies.pool, buddies.model, buddies.units) == ("best_buddies", "vit", 14)
    assert (buddies.first, buddies.second, buddies.both) == (5, 4, 2)
    assert buddies.share == pytest.approx(0.4)
    assert buddies.chance == pytest.approx(2 * 2 / 4 + 3 * 2 / 10)
    assert (rosetta.pool, rosetta.first, rosetta.second, rosetta.both) == ("rosetta", 2, 0, 0)
    assert overlaps(second, first)[1].share is None


def test_chance_is_that_of_random_draws() -> None:
    first, second = (dictionary("a", units, []) for units in ([0, 4, 5, 6], [1, 7, 8, 9, 10]))
    random = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(2000):
        low = torch.randperm(4, generator=random)[:1]
        high = 4 + torch.randperm(10, generator=random)[:4]
        drawn.append(len({0, 4, 5, 6} & {*low.tolist(), *high.tolist()}))
    assert overlaps(first, second)[0].chance == pytest.approx(sum(drawn) / 2000, abs=0.06)


def test_dictionaries_that_cannot_be_compared() -> None:
    first = dictionary("a", [0], [])
    other = copy.deepcopy(first)
    other.discriminative["vit"].weights = {"sha256": "w"}
    with pytest.raises(RosettaError, match="different layers or weights"):
        overlaps(first, other)
    other.discriminative = {"resnet": other.discriminative["vit"]}
    with pytest.raises(RosettaError, match="no discriminative model in common"):
        overlaps(first, other)


def test_a_dictionary_shares_everything_with_itself(tmp_path: Path) -> None:
    both = f"dictionaries=[embedded,{EMBEDDED}]"
    done = call("overlap", both, "format=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 2 * 5
    assert all(row["first"] == row["second"] == row["both"] > row["chance"] for row in found)
    assert {row["share"] for row in found} == {1.0}
    assert not list(tmp_path.iterdir())
    one = call("overlap", "dictionaries=[embedded]", cwd=tmp_path)
    assert one.returncode == 1 and "expected two run folders" in one.stderr
