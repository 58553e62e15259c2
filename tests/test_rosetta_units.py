"""Which matched units an objective compares, and what they see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from rosetta_lab.data.fashion_targets import FashionTargets
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import standardize
from rosetta_lab.hooks import record
from rosetta_lab.mined import EMBEDDED, check_targets, load_mined
from rosetta_lab.models.base import Generator
from rosetta_lab.rosetta_units import RosettaUnits, load_statistics, matched_pairs


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
    number = dictionary.generator.units.number
    of_concept = matched_pairs(dictionary, "all", concepts=[0])
    wanted = {number(dictionary.neurons[n].unit) for n in dictionary.concepts[0].neurons}
    assert {int(a) for rows in of_concept.values() for a in rows[:, 0]} == wanted
    one = matched_pairs(dictionary, "all", neurons=[3])
    assert {int(a) for rows in one.values() for a in rows[:, 0]} == {
        number(dictionary.neurons[3].unit)
    }
    layer = dictionary.generator.layers[2].name
    span = dictionary.generator.units.units(layer)
    for rows in matched_pairs(dictionary, "all", layers=[layer]).values():
        assert bool(((rows[:, 0] >= span.start) & (rows[:, 0] < span.stop)).all())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"matches": ["vgg"]}, "no such model"),
        ({"concepts": [999]}, "no concept 999"),
        ({"neurons": [-1]}, "no neuron -1"),
        ({"layers": ["conv9"]}, "no recorded layer"),
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
    rows = [(mined.dictionary.generator.units[a], theirs[b]) for a, b in pairs[name].tolist()]
    own, seen = rows[0]
    with record(models[name].network, [seen.layer]) as raw:
        models[name](images)
    expected = standardize(raw[seen.layer], *statistics[seen.layer])[:, seen.channel]
    target = next(t for t in targets if t.layer == own.layer and int(t.channels[0]) == own.channel)
    torch.testing.assert_close(target.maps[:, 0], expected)


def test_a_folder_without_statistics(tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match="No statistics"):
        load_statistics(tmp_path, "resnet_fashion")


def test_a_configuration_from_outside_makes_only_what_it_may(mined, tmp_path: Path) -> None:
    check_targets(mined.config.gen, Generator)
    for name in ("os.system", "subprocess.Popen", "torch.nn.Linear", "no.such.thing"):
        config = OmegaConf.create({"network": {"_target_": name, "command": "touch evil"}})
        with pytest.raises(RosettaError, match="refused"):
            check_targets(config, Generator)
    assert EMBEDDED.is_dir()
