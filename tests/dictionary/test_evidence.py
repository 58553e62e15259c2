"""Best buddies against decoys, and what of it a dictionary keeps, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.dictionary.build import build_dictionary, null_summary
from rosetta_lab.dictionary.evidence import Found, find, judge, returning
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.matching import NOBODY, Neighbours, neighbours
from rosetta_lab.metrics.matching import Matching
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.mine.stability import measure_stability
from rosetta_lab.models.units import Layer

UNITS = 60  # of every model; unit i matches unit i
CONTENT = 40  # the first so many by content, the others by place alone


def tables(seed: int, content: int = CONTENT) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)

    def noise() -> Tensor:
        return 0.05 * torch.randn(UNITS, UNITS, generator=source)

    true = torch.eye(UNITS)
    centred, position = noise(), noise() + 0.5 * true
    centred[:content] += 0.6 * true[:content]
    return {"r": (position + centred).clamp(-1, 1), "position": position, "centred": centred}


def matching(seed: int, draws: int = 2, content: int = CONTENT) -> Matching:
    alive = torch.ones(UNITS, dtype=torch.bool)
    target = tables(seed, content)
    target["shuffled"] = target["position"]
    decoys = [tables(seed + 1000 + draw, content=0) for draw in range(draws)]
    return Matching(
        neighbours(target["r"].clone(), 8, alive, alive, target),
        [neighbours(d["r"].clone(), 8, alive, alive, d) for d in decoys],
    )


def found(**how: int) -> Found:
    return find({"a": matching(1, **how), "b": matching(2, **how)}, 1, 1, 0.05)


def dictionary(of: Found, **more: object) -> RosettaDictionary:
    def card(name: str) -> ModelCard:
        return ModelCard(name, {"source": "x", "sha256": None}, [Layer("layer", UNITS, 2, 2)])

    alive = torch.ones(UNITS, dtype=torch.bool)
    own = neighbours(torch.full((UNITS, UNITS), -torch.inf), 8, alive, alive, {})
    every = dict.fromkeys(("g", "a", "b"), alive)
    cards = {"a": card("a"), "b": card("b")}
    return build_dictionary(
        card("g"), cards, of, own, every, k_gen=1, k_disc=1, seed=0, num_images=8, **more
    )


def test_matches_by_place_fail_and_those_by_content_pass() -> None:
    judged = judge(matching(1), 1, 1, 0.05)
    assert judged.q is not None and judged.threshold is not None
    assert judged.buddies.pairs.tolist() == [[i, i] for i in range(UNITS)]
    assert judged.kept.nonzero().flatten().tolist() == list(range(CONTENT))
    assert judged.q[CONTENT:].min() > 0.05 > judged.q[:CONTENT].max()
    assert len(judged.passing(judged.decoys[0]).pairs) <= 1
    both = found()
    assert both.candidates == list(range(UNITS))
    assert both.rosetta == list(range(CONTENT))
    assert [len(draw) for draw in both.decoys] == [UNITS, UNITS]  # chance finds as many
    assert both.decoys_kept == [[], []]
    assert max(both.q[i] for i in range(CONTENT)) < min(both.q[i] for i in range(CONTENT, UNITS))


def test_without_a_null_all_are_kept() -> None:
    none = found(draws=0)
    assert none.rosetta == none.candidates == list(range(UNITS))
    assert not none.q and not none.decoys and none.models["a"].q is None
    made = dictionary(none)
    assert not made.position_only and not made.evidence and "null" not in made.summary
    assert made.neurons[0].q is None and made.neurons[0].matches["a"][0].r_centred is None


def test_the_dictionary_says_it_all_and_is_read_again(tmp_path: Path) -> None:
    both = found()
    made = dictionary(both, stability=dict.fromkeys(range(CONTENT), 0.5))
    made.save(tmp_path)
    read = RosettaDictionary.load(tmp_path)
    assert read == made
    assert (len(read.neurons), len(read.position_only)) == (CONTENT, UNITS - CONTENT)
    assert all(neuron.stability == 0.5 and not neuron.position_only for neuron in read.neurons)
    assert all(neuron.position_only for neuron in read.position_only)
    match, table = read.neurons[0].matches["a"][0], tables(1)
    row = read.reference.units.number(read.neurons[0].unit)
    for key, name in (("r", "r"), ("r_position", "position"), ("r_centred", "centred")):
        assert getattr(match, key) == pytest.approx(float(table[name][row, row]), abs=1e-5)
    null = read.summary["null"]
    assert null["candidates"] == UNITS == null["shuffled_rosetta_neurons"]
    assert null["accepted_best_buddies"] == {"a": CONTENT, "b": CONTENT}
    assert null["shuffled_rosetta_neurons_accepted"] == 0
    assert sum(null["centred_histogram"]["a"]) == UNITS
    for name, values in made.evidence.items():
        for key, tensor in values.items():
            torch.testing.assert_close(read.evidence[name][key], tensor)
    torch.testing.assert_close(read.evidence["a"]["q"] <= 0.05, both.models["a"].kept)


def test_what_chance_finds_is_the_mean_over_draws() -> None:
    """Of 60, 57 and 55 units that have best buddies among shuffled images in model a."""

    def fewer(draw: Neighbours, units: int) -> Neighbours:
        rows = draw.rows.clone()
        rows[units:] = NOBODY
        return draw._replace(rows=rows)

    a, b = matching(1, draws=3), matching(2, draws=3)
    a = a._replace(decoys=[fewer(d, n) for d, n in zip(a.decoys, (60, 57, 55), strict=True)])
    null = null_summary(find({"a": a, "b": b}, 1, 1, 0.05))
    assert null["draws"] == 3
    assert null["shuffled_best_buddies"] == {"a": 57.33, "b": 60.0}  # 172 / 3
    assert null["shuffled_rosetta_neurons"] == 57.33
    assert sum(null["shuffled_histogram"]["a"]) == pytest.approx(172 / 3, abs=0.2)


def test_pools_are_parts_of_the_best_buddies() -> None:
    made = dictionary(found())

    def pool(name: str, **how: int) -> set[tuple[int, int]]:
        pairs = matched_pairs(made, "a", name, **how)["a"]  # type: ignore[arg-type]
        assert len(pairs) == len({tuple(pair) for pair in pairs.tolist()})
        return {(a, b) for a, b in pairs.tolist()}

    accepted, rejected = pool("accepted"), pool("rejected")
    assert accepted == {(i, i) for i in range(CONTENT)}
    assert accepted | rejected == pool("best_buddies") and not accepted & rejected
    assert pool("rosetta") == accepted
    assert {a for a, _ in pool("random")} == set(range(UNITS)) and pool("random") != accepted
    assert len(pool("decoys")) >= UNITS
    assert len(pool("accepted", limit=7)) == 7 and pool("accepted", limit=7) < accepted
    assert pool("accepted", limit=7) != pool("accepted", limit=7, seed=1)
    assert matched_pairs(made, "all", "none") == {}
    plain = dictionary(found(draws=0))
    assert len(matched_pairs(plain, "a", "accepted")["a"]) == UNITS
    with pytest.raises(RosettaError, match=r"pool=rejected.*without a null\.\n.*null=shuffled"):
        matched_pairs(plain, "a", "rejected")


def test_stability_is_how_often_a_unit_returns() -> None:
    whole = {"a": matching(1), "b": matching(2)}
    parts = {
        "half_0a": whole,  # finds them all again
        "half_0b": {"a": matching(1), "b": matching(2, content=CONTENT // 2)},
        "first_1": {"a": matching(1, content=10), "b": matching(2, content=10)},
    }
    result = MiningResult(whole, matching(3).targets, {}, parts)
    again = MiningResult.from_tensors(result.to_tensors())
    assert again.parts.keys() == result.parts.keys()
    all_found = find(whole, 1, 1, 0.05)
    for read in (result, again):
        of_parts = {part: find(matchings, 1, 1, 0.05) for part, matchings in read.parts.items()}
        stable = measure_stability(of_parts, all_found, Grouping(80, 1, blocks=2))
        assert stable is not None
        expected = {i: 1.0 if i < CONTENT // 2 else 0.5 for i in range(CONTENT)}
        assert stable.of_units == expected
        assert stable.neurons == pytest.approx(0.5)
        assert [row[:2] for row in stable.course] == [(40, 10), (80, CONTENT)]
    assert measure_stability({}, all_found, Grouping(80, 1)) is None


def test_a_unit_with_other_partners_does_not_return() -> None:
    whole = find({"a": matching(1)}, 1, 1, 0.05)
    other = matching(1)
    rolled = other.targets._replace(
        rows=other.targets.rows.roll(1, 0), columns=other.targets.columns.roll(1, 0)
    )
    assert returning(whole, whole) == set(range(CONTENT))
    moved = find({"a": Matching(rolled, other.decoys)}, 1, 1, 0.05)
    assert returning(whole, moved) == set()
