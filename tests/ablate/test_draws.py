"""Which units stand in for Rosetta units."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rosetta_lab.ablate.units import (
    MATCHED,
    RANDOM,
    ROSETTA,
    Chosen,
    choose,
    draw_matched,
    draw_random,
)
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import Layer, Unit, UnitIndex

INDEX = UnitIndex([Layer("low", 6, 8, 8), Layer("none", 5, 8, 8), Layer("high", 40, 4, 4)])


@pytest.fixture(scope="module")
def mined():
    return load_mined("embedded")


@pytest.fixture(scope="module")
def chosen(mined) -> dict[str, Chosen]:
    return choose(mined, draws=4, seed=0)


def layers_of(index: UnitIndex, units: torch.Tensor) -> list[str]:
    return sorted(index[int(unit)].layer for unit in units)


def test_the_rosetta_units_are_those_of_the_dictionary(mined, chosen) -> None:
    dictionary = mined.dictionary
    assert list(chosen) == [dictionary.reference.name, *dictionary.discriminative]
    own = chosen["clip_fashion"]
    found = {own.index[int(unit)] for unit in own.arms[ROSETTA][0]}
    assert found == {m.unit for n in dictionary.neurons for m in n.matches["clip_fashion"]}
    own = chosen[dictionary.reference.name]
    found = {own.index[int(unit)] for unit in own.arms[ROSETTA][0]}
    assert found == {neuron.unit for neuron in dictionary.neurons}


def test_draws_are_as_many_other_live_units_of_the_same_layers(mined, chosen) -> None:
    for name, own in chosen.items():
        rosetta = set(own.arms[ROSETTA][0].tolist())
        wanted = layers_of(own.index, own.arms[ROSETTA][0])
        statistics = load_statistics(mined.folder, name)
        for arm in (MATCHED, RANDOM):
            draws = [set(draw.tolist()) for draw in own.arms[arm]]
            assert len({frozenset(draw) for draw in draws}) == 4  # draws differ
            for draw, units in zip(draws, own.arms[arm], strict=True):
                assert len(draw) == len(units) == len(rosetta)
                assert not draw & rosetta
                assert layers_of(own.index, units) == wanted
                places = [own.index[unit] for unit in draw]
                assert all(statistics[layer][1][channel] > 0 for layer, channel in places)


def distance(own, arm: str, values: torch.Tensor) -> float:
    """How far the units of an arm are from the Rosetta units, layer by layer, both in order."""
    gaps = []
    for layer in own.index.layers:
        span = own.index.units(layer.name)
        first, *others = [
            np.sort(values[units[(units >= span.start) & (units < span.stop)]].numpy())
            for units in (own.arms[ROSETTA][0], *own.arms[arm])
        ]
        if len(first):
            gaps += [np.abs(other - first).mean() / values[span].std() for other in others]
    return float(np.mean(gaps))


def test_matched_units_are_nearer_in_mean_activation_than_random_ones(chosen) -> None:
    for name, own in chosen.items():
        assert distance(own, MATCHED, own.mean) < 0.6 * distance(own, RANDOM, own.mean), name


def test_units_can_be_matched_in_variance_instead(mined, chosen) -> None:
    other = choose(mined, draws=4, seed=0, match="variance")
    for name in ("dino_vit_fashion", "mae_fashion"):
        by_mean, by_variance = chosen[name], other[name]
        mean, variance = by_mean.mean, by_mean.variance
        assert distance(by_mean, MATCHED, mean) < distance(by_variance, MATCHED, mean), name
        assert distance(by_variance, MATCHED, variance) < distance(by_mean, MATCHED, variance), name
    with pytest.raises(RosettaError, match="match=size"):
        choose(mined, 1, 0, "size")


def test_each_matched_unit_is_one_of_the_three_nearest_that_are_left() -> None:
    mean = torch.randn(51, generator=torch.Generator().manual_seed(1))
    free = torch.ones(51, dtype=torch.bool)
    units = torch.tensor([20])
    free[units] = False
    nearest = [n for n in (mean[11:] - mean[20]).abs().argsort().add(11).tolist() if n != 20][:3]
    source = torch.Generator().manual_seed(0)
    drawn = [draw_matched(INDEX, units, free, mean, source).tolist() for _ in range(60)]
    assert sorted({unit for draw in drawn for unit in draw}) == sorted(nearest)


def test_a_layer_with_few_others_gives_what_it_has() -> None:
    units, free = torch.tensor([0, 1, 2, 3, 15]), torch.ones(51, dtype=torch.bool)
    free[units] = free[5] = False  # 5 never varies
    source = torch.Generator().manual_seed(0)
    for drawn in (
        draw_random(INDEX, units, free, source),
        draw_matched(INDEX, units, free, torch.zeros(51), source),
    ):
        low, high = drawn[drawn < 6].tolist(), drawn[drawn >= 11].tolist()
        assert low == [4] and len(high) == 1 and high != [15]


def test_too_few_others_are_told(mined, caplog: pytest.LogCaptureFixture) -> None:
    dictionary = mined.dictionary
    layer = next(layer for layer in dictionary.reference.layers if layer.channels == 16)
    every = [replace(dictionary.neurons[0], unit=Unit(layer.name, unit)) for unit in range(12)]
    full = replace(mined, dictionary=replace(dictionary, neurons=every))
    with caplog.at_level(logging.WARNING, "rosetta_lab"):
        found = choose(full, draws=1, seed=0)[dictionary.reference.name]
    assert "stylegan2_fashion: some layers have fewer" in caplog.text
    assert "draws have 4, not 12" in caplog.text
    assert [len(found.arms[arm][0]) for arm in (ROSETTA, MATCHED, RANDOM)] == [12, 4, 4]


def test_a_seed_draws_the_same_again(mined, chosen) -> None:
    again, other = choose(mined, 4, 0), choose(mined, 4, 1)
    for name, own in chosen.items():
        for arm in (MATCHED, RANDOM):
            drawn = [torch.stack(some[name].arms[arm]) for some in (chosen, again, other)]
            assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
        assert own.arms[ROSETTA][0].equal(other[name].arms[ROSETTA][0])


def test_standing_is_the_z_score_within_layers() -> None:
    values = torch.randn(51, generator=torch.Generator().manual_seed(2)).double()
    values[6:11] = 3.0  # no spread
    scores = np.concatenate([stats.zscore(values[:6].numpy()), stats.zscore(values[11:].numpy())])
    arms = {"some": [torch.tensor([1, 20]), torch.tensor([2, 50])]}
    own = Chosen(INDEX, values, values, arms)
    assert own.standing("some", values) == pytest.approx(scores[[1, 15, 2, 45]].mean())
    assert Chosen(INDEX, values, values, {"x": [torch.tensor([7])]}).standing("x", values) == 0.0


def test_means_are_those_of_the_statistics(mined, chosen) -> None:
    own = chosen["mae_fashion"]
    units = own.arms[ROSETTA][0]
    values = own.means(units)
    statistics = load_statistics(mined.folder, "mae_fashion")
    assert sum(len(channels) for channels, _ in values.values()) == len(units)
    for layer, (channels, means) in values.items():
        assert torch.equal(means, statistics[layer][0][channels])
