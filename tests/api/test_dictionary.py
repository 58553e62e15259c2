"""Dictionaries from Python."""

from __future__ import annotations

import doctest
import subprocess
import sys

import pytest
import torch

import rosetta_lab as rl
from rosetta_lab.api import dictionary as module
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError


@pytest.fixture(scope="module")
def embedded() -> rl.Dictionary:
    return rl.load("embedded")


def test_its_docstring_runs_as_printed() -> None:
    assert doctest.testmod(module).failed == 0 and doctest.testmod(module).attempted >= 4


def test_concepts_and_neurons_are_those_of_the_record(embedded: rl.Dictionary) -> None:
    record: RosettaDictionary = embedded.record
    assert [x.unit for x in embedded.neurons] == [x.unit for x in record.neurons]
    concept = embedded.concepts[0]
    assert [x.unit for x in concept.neurons] == [
        record.neurons[number].unit for number in record.concepts[0].neurons
    ]
    assert concept.representative.score == concept.score
    assert embedded.page.name == "index.html" and embedded.summary is record.summary


def test_maps_are_the_networks_own(embedded: rl.Dictionary) -> None:
    neuron = embedded.neurons[2]
    images = embedded.images(3, seed=5)
    seen = neuron.maps(images)
    unit = neuron.matches["resnet_fashion"][0].unit
    model = embedded.model("resnet_fashion")
    kept: list[torch.Tensor] = []
    hook = model.network.get_submodule(unit.layer).register_forward_hook(
        lambda _, __, output: kept.append(output)
    )
    model(images)
    hook.remove()
    torch.testing.assert_close(seen["resnet_fashion"], kept[0][:, unit.channel])
    assert embedded.record.reference.name not in seen
    assert embedded.record.reference.name in neuron.maps()


def test_a_row_for_every_match(embedded: rl.Dictionary) -> None:
    table = embedded.to_pandas()
    matches = [m for n in embedded.record.neurons for x in n.matches.values() for m in x]
    assert len(table) == len(matches)
    assert table.r.tolist() == [match.r for match in matches]
    assert table.q.max() <= 0.05 and {"r_centred", "r_shuffled", "stability"} <= set(table.columns)


def test_notebooks_see_a_short_table(embedded: rl.Dictionary) -> None:
    html = embedded._repr_html_()
    assert html.count("<tr>") == 1 + len(embedded.concepts) and "among shuffled images" in html
    assert max(len(repr(x)) for x in (embedded, embedded.record, embedded.neurons[0])) < 120


def test_names_are_escaped(embedded: rl.Dictionary) -> None:
    record = RosettaDictionary.from_json(embedded.record.to_json())
    record.reference.name = "<script>alert(1)</script>"
    hostile = rl.Dictionary(embedded.found)
    hostile.record = record
    assert "<script>" not in hostile._repr_html_()


def test_nothing_is_imported_before_it_is_used() -> None:
    code = "import sys, rosetta_lab as rl; assert 'torch' not in sys.modules; dir(rl)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(RosettaError, match="No dictionary at"):
        rl.load("/nowhere")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        rl.lode  # noqa: B018
