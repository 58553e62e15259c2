"""Which matched units an objective compares, and what they see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.dictionary.mined import EMBEDDED, load_mined
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import standardize
from rosetta_lab.invert.units import RosettaUnits
from rosetta_lab.models.recording import record


@pytest.fixture(scope="module")
def mined():
    return load_mined("embedded")


def test_best_buddies_and_rosetta_pairs(mined) -> None:
    dictionary = mined.dictionary
    every = matched_pairs(dictionary, "all")
    assert {n: len(p) for n, p in every.items()} == dictionary.summary["best_buddies"]
    rosetta = matched_pairs(dictionary, "all", "rosetta")
    for name, pairs in rosetta.items():
        assert len(pairs) == sum(len(n.matches[name]) for n in dictionary.neurons)
        known = {tuple(row) for row in every[name].tolist()}
        assert {tuple(row) for row in pairs.tolist()} <= known
    assert matched_pairs(dictionary, "none") == {}
    assert list(matched_pairs(dictionary, "clip_fashion")) == ["clip_fashion"]


def test_concepts_neurons_and_layers_choose(mined) -> None:
    dictionary = mined.dictionary
    number = dictionary.reference.units.number
    of_concept = matched_pairs(dictionary, "all", concepts=[0])
    wanted = {number(dictionary.neurons[n].unit) for n in dictionary.concepts[0].neurons}
    assert {int(a) for rows in of_concept.values() for a in rows[:, 0]} == wanted
    one = matched_pairs(dictionary, "all", neurons=[3])
    assert {int(a) for rows in one.values() for a in rows[:, 0]} == {
        number(dictionary.neurons[3].unit)
    }
    layer = dictionary.reference.layers[2].name
    span = dictionary.reference.units.units(layer)
    for rows in matched_pairs(dictionary, "all", layers=[layer]).values():
        assert bool(((rows[:, 0] >= span.start) & (rows[:, 0] < span.stop)).all())


def test_a_smaller_k_keeps_the_nearer_pairs(mined) -> None:
    dictionary = mined.dictionary
    assert_same(matched_pairs(dictionary, "all", k=5), matched_pairs(dictionary, "all"))
    rosetta = matched_pairs(dictionary, "all", "rosetta")
    assert_same(matched_pairs(dictionary, "all", "rosetta", k=5), rosetta)
    stored = load_file(EMBEDDED / "best_buddies.safetensors")
    least = {n: {(a, b): k for a, b, k in rows.tolist()} for n, rows in stored.items()}
    for k in (1, 3):
        every = matched_pairs(dictionary, "all", k=k)
        for name, rows in every.items():
            assert {tuple(row) for row in rows.tolist()} == {
                pair for pair, needed in least[name].items() if needed <= k
            }
    # A Rosetta neuron has a best buddy in every model.
    rows = matched_pairs(dictionary, "all", "rosetta", k=4)
    units = [set(near[:, 0].tolist()) for near in rows.values()]
    assert units[0] and all(other == units[0] for other in units)
    assert units[0] < {unit for near in rosetta.values() for unit in near[:, 0].tolist()}
    assert all(least[name][tuple(pair)] <= 4 for name in rows for pair in rows[name].tolist())


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(rows, expected[name]) for name, rows in found.items())


@pytest.mark.parametrize("kept", [0, 2])
def test_a_dictionary_that_does_not_tell_how_near(mined, kept: int) -> None:
    buddies = {name: rows[:, :2] for name, rows in mined.dictionary.buddies.items()}
    old = replace(mined.dictionary, buddies=buddies if kept else {})
    with pytest.raises(RosettaError, match="leave k out"):
        matched_pairs(old, "all", "rosetta", k=3)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"matches": ["vgg"]}, "no such model"),
        ({"concepts": [999]}, "no concept 999"),
        ({"neurons": [-1]}, "no neuron -1"),
        ({"layers": ["conv9"]}, "no recorded layer"),
        ({"k": 6}, "mined with K=5"),
        ({"k": 0}, "Choose 1 to 5"),
        ({"neurons": []}, "No matched units are left"),
    ],
)
def test_choices_that_are_not_there(mined, choice, message) -> None:
    with pytest.raises(RosettaError, match=message):
        matched_pairs(mined.dictionary, **choice)


def test_targets_are_the_models_own_maps(mined) -> None:
    name = "resnet_fashion"
    pairs = matched_pairs(mined.dictionary, name)
    models = mined.models([name])
    units = RosettaUnits(mined.dictionary, mined.folder, models, pairs)
    images = torch.stack([FashionTargets(per_class=1)[i].image for i in range(2)])
    targets = units.targets(images)
    assert sum(len(target.channels) for target in targets) == len(pairs[name])
    statistics = load_statistics(mined.folder, name)
    theirs = mined.dictionary.discriminative[name].units
    rows = [(mined.dictionary.reference.units[a], theirs[b]) for a, b in pairs[name].tolist()]
    own, seen = rows[0]
    with record(models[name].network, [seen.layer]) as raw:
        models[name](images)
    expected = standardize(raw[seen.layer], *statistics[seen.layer])[:, seen.channel]
    target = next(t for t in targets if t.layer == own.layer and int(t.channels[0]) == own.channel)
    torch.testing.assert_close(target.maps[:, 0], expected)


def test_a_folder_without_statistics(tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match="No statistics"):
        load_statistics(tmp_path, "resnet_fashion")


@pytest.mark.parametrize(("entry", "key"), [("gen", "network"), ("disc", "resnet_fashion")])
@pytest.mark.parametrize(
    ("target", "argument"),
    [
        *(("os.system", "command"), ("subprocess.check_call", "args"), ("pathlib.Path", "x")),
        *(("torch.nn.Linear", "x"), ("no.such.thing", "x")),
    ],
)
def test_a_configuration_from_outside_makes_only_what_it_may(
    mined, tmp_path: Path, monkeypatch, entry: str, key: str, target: str, argument: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.to_container(mined.config)
    config[entry][key] = {"_target_": target, argument: "touch evil"}
    replace(mined.dictionary, config=config).save(tmp_path)
    with pytest.raises(RosettaError, match="refused"):
        load_mined(tmp_path)
    assert not (tmp_path / "evil").exists()
