"""Which units of the models two generators' dictionaries share."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from commands import call

from rosetta_lab.bridge.overlaps import Overlap, overlaps
from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import Layer

LAYERS = [Layer("low", 4, 8, 8), Layer("high", 10, 4, 4)]
Pair = tuple[int, int]  # of units, generator and model


def dictionary(
    vit: list[Pair], cnn: list[Pair], decoys: dict[str, list[Pair]] | None = None
) -> RosettaDictionary:
    """Best buddies of a generator in two models; with decoys, those of even generator units pass
    the null."""
    generator = ModelCard("g", {"sha256": "g"}, [Layer("conv", 20, 8, 8)])
    cards = {name: ModelCard(name, {"sha256": name}, LAYERS) for name in ("vit", "cnn")}
    buddies = {"vit": torch.tensor(vit).reshape(-1, 2), "cnn": torch.tensor(cnn).reshape(-1, 2)}
    evidence = {
        name: {"q": rows[:, 0] % 2 * 0.5, "decoys": torch.tensor(decoys[name]).reshape(-1, 2)}
        for name, rows in buddies.items()
        if decoys is not None
    }
    return RosettaDictionary(
        generator, cards, [], [], seed=0, num_images=1, k=1, buddies=buddies, evidence=evidence,
        summary={} if decoys is None else {"null": {"max_fdr": 0.05}},
    )  # fmt: skip


def found(first: RosettaDictionary, second: RosettaDictionary) -> dict[tuple[str, str], Overlap]:
    return {(one.pool, one.model): one for one in overlaps(first, second)}


def counts(overlap: Overlap) -> tuple[int, int, int]:
    return overlap.first, overlap.second, overlap.both


def test_units_are_counted_by_hand() -> None:
    # Unit 4 of the ViT has two generator units, and counts once.
    first = dictionary(
        [(0, 0), (2, 4), (3, 4), (4, 5), (5, 6)], [(0, 1), (5, 2)],
        {"vit": [(1, 7), (2, 8)], "cnn": [(1, 3)]},
    )  # fmt: skip
    second = dictionary(
        [(8, 4), (6, 6), (7, 13)], [(6, 2), (7, 1)],
        {"vit": [(9, 8), (1, 7)], "cnn": [(9, 3)]},
    )  # fmt: skip
    both = found(first, second)
    one = both["best_buddies", "vit"]
    assert (one.units, counts(one), one.share) == (14, (4, 3, 2), 0.5)
    assert one.random == pytest.approx(1 * 0 / 4 + 3 * 3 / 10)
    assert one.shuffled == (2, 2, 2)
    # Generator units 0 and 5 have one in either model; in the other 6 and 7.
    assert counts(both["candidates", "vit"]) == (2, 2, 1)
    assert counts(both["candidates", "cnn"]) == (2, 2, 2)
    assert both["candidates", "vit"].shuffled == (1, 1, 0)  # units 7 of one, 8 of the other
    assert both["candidates", "cnn"].shuffled == (1, 1, 1)
    # Of even generator units alone.
    assert counts(both["accepted", "vit"]) == (3, 2, 1)
    assert counts(both["rosetta", "vit"]) == (1, 1, 0)
    assert both["accepted", "vit"].shuffled is both["rosetta", "vit"].shuffled is None


def test_without_a_null_nothing_is_known_of_shuffled_images() -> None:
    plain = dictionary([(0, 0), (1, 5)], [(0, 1)])
    other = dictionary([(0, 0)], [(0, 1)], {"vit": [(1, 7)], "cnn": []})
    for both in (found(plain, other), found(other, plain)):
        assert all(one.shuffled is None for one in both.values())
    assert counts(found(plain, plain)["accepted", "vit"]) == (2, 2, 2)
    nothing = dictionary([], [], {"vit": [], "cnn": []})
    one = found(nothing, other)["rosetta", "vit"]
    assert counts(one) == (0, 1, 0) and one.share is None


def test_random_is_that_of_random_draws() -> None:
    units = [0, 4, 5, 6], [1, 7, 8, 9, 10]
    first, second = (dictionary([(0, unit) for unit in own], [(0, 0)]) for own in units)
    random = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(2000):
        low = torch.randperm(4, generator=random)[:1]
        high = 4 + torch.randperm(10, generator=random)[:4]
        drawn.append(len({0, 4, 5, 6} & {*low.tolist(), *high.tolist()}))
    expected = found(first, second)["best_buddies", "vit"].random
    assert expected == pytest.approx(sum(drawn) / 2000, abs=0.06)


def test_dictionaries_that_cannot_be_compared() -> None:
    first = dictionary([(0, 0)], [(0, 0)])
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
    rows = json.loads(done.stdout)
    assert len(rows) == 4 * 5
    assert all(row["first"] == row["second"] == row["both"] > row["random"] for row in rows)
    for row in rows:
        known = row["pool"] in ("best_buddies", "candidates")
        assert (len(set(row["shuffled"])) == 1) if known else row["shuffled"] is None
    said = call("overlap", both, cwd=tmp_path).stdout.splitlines()
    line = next(x for x in said if x.startswith("candidates") and "dino_vit" in x)
    assert len(line.split()) == 10 and "100%" in line
