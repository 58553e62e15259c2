"""Best buddies against brute force, ties, concepts on a graph made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matched import dictionary_of
from reference import brute_force_buddies

from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.matching import (
    best_buddies,
    connected_components,
    least_k,
    nearest,
)
from rosetta_lab.models.units import Layer, Unit


def pairs(mask: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in mask.nonzero()}


@pytest.mark.parametrize("k", [(1, 1), (3, 3), (1, 5), (5, 2), (9, 12)])
def test_best_buddies_against_brute_force(k: tuple[int, int]) -> None:
    table = np.random.default_rng(k[0]).normal(size=(12, 9)).astype(np.float32)
    found = pairs(best_buddies(torch.from_numpy(table), *k))
    assert found == brute_force_buddies(table, *k)


def test_ties_go_to_the_lower_index() -> None:
    table = np.random.default_rng(0).integers(0, 3, size=(10, 8)).astype(np.float32)
    for k in (1, 2, 4):
        assert pairs(best_buddies(torch.from_numpy(table), k, k)) == brute_force_buddies(
            table, k, k
        )
    assert nearest(torch.zeros(1, 5), 2).tolist() == [[True, True, False, False, False]]


def test_chunks_change_nothing() -> None:
    table = torch.randint(0, 4, (50, 20)).float()
    assert torch.equal(nearest(table, 3, chunk=7), nearest(table, 3))


def test_forbidden_pairs_are_never_chosen() -> None:
    table = torch.tensor([[-torch.inf, -0.5], [-torch.inf, -torch.inf]])
    assert pairs(nearest(table, 2)) == {(0, 1)}


def test_components_of_a_hand_made_graph() -> None:
    edges = [(0, 3), (3, 5), (1, 2)]
    adjacency = torch.zeros(7, 7, dtype=torch.bool)
    for a, b in edges:
        adjacency[a, b] = adjacency[b, a] = True
    assert connected_components(adjacency) == [[0, 3, 5], [1, 2], [4], [6]]


def card(name: str, channels: int) -> ModelCard:
    return ModelCard(name, {"source": "test", "sha256": None}, [Layer("layer", channels, 2, 2)])


def small_dictionary(k_gen: int = 1, k_disc: int = 1) -> RosettaDictionary:
    """Generator unit 0 meets unit 2 of both models, unit 3 meets unit 0; 1 meets only one model."""
    first = torch.full((5, 4), 0.1)
    second = torch.full((5, 4), 0.1)
    first[0, 2], second[0, 2] = 0.9, 0.7
    first[3, 0], second[3, 0] = 0.5, 0.6
    first[1, 1], second[1, 1] = 0.8, -0.5
    second[4, 1] = 0.3
    own = torch.eye(5)
    own[0, 3] = own[3, 0] = 0.4  # 0 and 3 are one concept
    return dictionary_of(
        card("g", 5),
        {"a": card("a", 4), "b": card("b", 4)},
        {"a": first, "b": second},
        own,
        torch.tensor([True] * 5),
        {"a": torch.tensor([True] * 4), "b": torch.tensor([True] * 4)},
        k_gen=k_gen,
        k_disc=k_disc,
        seed=0,
        num_images=1,
    )


def test_rosetta_neurons_by_hand() -> None:
    dictionary = small_dictionary()
    assert [neuron.unit for neuron in dictionary.neurons] == [Unit("layer", 0), Unit("layer", 3)]
    best = dictionary.neurons[0]
    assert best.score == pytest.approx(0.8)
    assert [(m.channel, m.r) for m in best.matches["a"]] == [(2, pytest.approx(0.9))]
    assert [concept.neurons for concept in dictionary.concepts] == [[0, 1]]
    assert dictionary.concepts[0].representative == 0
    assert [neuron.concept for neuron in dictionary.neurons] == [0, 0]


def test_dead_units_are_never_matched() -> None:
    table = torch.tensor([[0.0, -0.2], [-0.3, 0.0]])  # unit 1 of the model is dead: r = 0
    dictionary = dictionary_of(
        card("g", 2),
        {"a": card("a", 2)},
        {"a": table},
        torch.eye(2),
        torch.tensor([True, True]),
        {"a": torch.tensor([True, False])},
        k_gen=2,
        k_disc=1,
        seed=0,
        num_images=1,
    )
    assert {m.channel for n in dictionary.neurons for m in n.matches["a"]} == {0}
    assert dictionary.summary["dead_units"] == {"g": 0, "a": 1}


@pytest.mark.parametrize("k", [0, 5])
def test_k_that_does_not_fit(k: int) -> None:
    with pytest.raises(RosettaError, match=r"k_disc=\d.*a: it has 4 units") as error:
        small_dictionary(k_disc=k)
    assert "between 1 and 4" in str(error.value)


def test_dictionary_round_trip(tmp_path) -> None:
    dictionary = small_dictionary()
    dictionary.save(tmp_path)
    loaded = RosettaDictionary.load(tmp_path)
    assert loaded == dictionary
    assert loaded.buddies.keys() == dictionary.buddies.keys()
    assert all(torch.equal(loaded.buddies[name], rows) for name, rows in dictionary.buddies.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best_buddies.safetensors",
        "dictionary.json",
    ]


def test_other_schema_is_refused(tmp_path) -> None:
    (tmp_path / "dictionary.json").write_text('{"schema": "rosetta_lab.dictionary/9"}')
    with pytest.raises(RosettaError, match=r"dictionary/9.*expected.*dictionary/1.*dictionary/2"):
        RosettaDictionary.load(tmp_path)
    with pytest.raises(RosettaError, match=r"No dictionary.*\n.*rosetta_lab\.mine"):
        RosettaDictionary.load(tmp_path / "nowhere")


@pytest.mark.parametrize("ties", [False, True])
def test_least_k_is_where_a_pair_first_appears(ties: bool) -> None:
    table = np.random.default_rng(3).normal(size=(9, 13))
    table = np.round(table) if ties else table
    tensor = torch.from_numpy(table)
    tensor[2, :] = tensor[:, 5] = -torch.inf  # units that do not vary
    every = best_buddies(tensor, 9, 9).nonzero()
    least = least_k(tensor, every, chunk=7)
    for k in range(1, 10):
        chosen = {tuple(pair) for pair in every[least <= k].tolist()}
        assert chosen == pairs(best_buddies(tensor, k, k))
