"""A dictionary is read as it was written, whatever its models, layers and settings are called."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from rosetta_lab.dictionary.schema import Concept, Match, ModelCard, RosettaDictionary
from rosetta_lab.dictionary.schema import RosettaNeuron as Neuron
from rosetta_lab.models.units import Layer, Unit

NAME = st.text()
COUNT = st.integers(0, 2**39)
SIZE = st.integers(1, 2**39)
CHANNELS, SIDE = st.integers(1, 2**20), st.integers(1, 2**16)
# A model's stands on command lines, beside two words of ours.
MODEL = st.text(max_size=200).filter(
    lambda name: name.isprintable() and name not in ("all", "none")
)
R = st.floats(-1.0, 1.0)
SETTINGS = st.dictionaries(
    NAME.filter(lambda name: name != "gen"),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | NAME,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
CARD = st.builds(
    ModelCard,
    NAME,
    st.fixed_dictionaries({"source": st.none() | NAME, "sha256": st.none() | NAME}),
    st.lists(
        st.builds(Layer, NAME, CHANNELS, SIDE, SIDE),
        min_size=1,
        max_size=3,
        unique_by=lambda layer: layer.name,
    ),
    st.none() | SETTINGS,
)


@st.composite
def dictionaries(draw: st.DrawFn) -> RosettaDictionary:
    """Any dictionary whose neurons, concepts and pairs are of units that its cards have."""

    def unit(card: ModelCard) -> Unit:
        layer = draw(st.sampled_from(card.layers))
        return Unit(layer.name, draw(st.integers(0, layer.channels - 1)))

    generator, models = draw(CARD), draw(st.dictionaries(MODEL, CARD, max_size=2))
    count = draw(st.integers(0, 2))
    neurons = [
        Neuron(
            unit(generator),
            {
                name: [Match(*unit(card), draw(R)) for _ in range(draw(st.integers(0, 2)))]
                for name, card in models.items()
            },
            draw(R),
            draw(st.integers(-1, count - 1)),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    members = st.integers(0, len(neurons) - 1) if neurons else st.nothing()
    concepts = [
        Concept(number, draw(st.lists(members, max_size=3)), draw(members), draw(R))
        for number in range(count if neurons else 0)
    ]
    for neuron in neurons:
        neuron.concept = min(neuron.concept, len(concepts) - 1)
    buddies = {
        name: torch.tensor(
            [
                (generator.units.number(unit(generator)), card.units.number(unit(card)), k)
                for k in draw(st.lists(COUNT, max_size=3))
            ],
            dtype=torch.int64,
        ).reshape(-1, 3)
        for name, card in models.items()
    }
    return RosettaDictionary(
        generator,
        models,
        neurons,
        concepts,
        seed=draw(COUNT),
        num_images=draw(SIZE),
        k=draw(SIZE),
        config=draw(SETTINGS),
        summary=draw(SETTINGS),
        created=draw(NAME),
        rosetta_lab=draw(NAME),
        buddies=buddies,
    )


DICTIONARY = dictionaries()


@given(DICTIONARY)
def test_what_is_written_is_read(dictionary: RosettaDictionary) -> None:
    record = json.loads(json.dumps(dictionary.to_json()))
    assert RosettaDictionary.from_json(record) == dictionary
    with tempfile.TemporaryDirectory() as folder:
        dictionary.save(Path(folder))
        loaded = RosettaDictionary.load(folder)
    assert loaded == dictionary
    assert loaded.buddies.keys() == dictionary.buddies.keys()
    assert all(torch.equal(loaded.buddies[name], rows) for name, rows in dictionary.buddies.items())
