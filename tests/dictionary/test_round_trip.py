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
COUNT = st.integers(0, 2**40)
R = st.floats(-1.0, 1.0)
SETTINGS = st.dictionaries(
    NAME,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAME,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
CARD = st.builds(
    ModelCard,
    NAME,
    st.fixed_dictionaries({"source": st.none() | NAME, "sha256": st.none() | NAME}),
    st.lists(st.builds(Layer, NAME, COUNT, COUNT, COUNT), max_size=3),
    st.none() | SETTINGS,
)
MATCHES = st.dictionaries(NAME, st.lists(st.builds(Match, NAME, COUNT, R), max_size=2), max_size=2)
PAIRS = st.lists(st.tuples(COUNT, COUNT, COUNT), max_size=3).map(
    lambda rows: torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
)
DICTIONARY = st.builds(
    RosettaDictionary,
    CARD,
    st.dictionaries(NAME, CARD, max_size=2),
    st.lists(st.builds(Neuron, st.builds(Unit, NAME, COUNT), MATCHES, R, COUNT), max_size=3),
    st.lists(st.builds(Concept, COUNT, st.lists(COUNT, max_size=3), COUNT, R), max_size=2),
    seed=COUNT,
    num_images=COUNT,
    k=COUNT,
    config=SETTINGS,
    summary=SETTINGS,
    created=NAME,
    rosetta_lab=NAME,
    buddies=st.dictionaries(NAME, PAIRS, max_size=2),
)


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
