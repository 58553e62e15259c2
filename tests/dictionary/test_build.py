"""Dictionaries from tables made by hand; dead units, numbers of neighbours, the round trip."""

from __future__ import annotations

import pytest
import torch
from matched import dictionary_of

from rosetta_lab.dictionary.build import check_k
from rosetta_lab.dictionary.schema import ModelCard, RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import Layer, Unit


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


def test_no_k_fits_a_model_none_of_whose_units_varies() -> None:
    """There is nothing between 1 and 0 to choose from."""
    with pytest.raises(RosettaError, match="a: none of its recorded units varies") as error:
        check_k({"g": 4, "a": 0}, "g", 1, 1)
    assert "between" not in str(error.value) and "layers=" in str(error.value)


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
