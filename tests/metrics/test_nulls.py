"""Sums with shuffled images and by blocks, against a computation that upsamples in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import pooled_correlation
from torch import Tensor

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.functional.evidence import jackknife
from rosetta_lab.functional.matching import NOBODY
from rosetta_lab.metrics import matching
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import CorrelationTable
from rosetta_lab.metrics.matching import correlations, match, pair_sums
from rosetta_lab.metrics.statistics import UnitStatistics
from rosetta_lab.models.units import Layer

SIZES_A, SIZES_B = [(4, 4), (9, 6)], [(6, 6), (4, 4), (3, 7)]
Maps = dict[str, Tensor]


def maps_of(sizes: list[tuple[int, int]], images: int, channels: int, seed: int) -> Maps:
    """Smooth maps with a common cause and a liking for places, far from zero."""
    source = torch.Generator().manual_seed(seed)
    cause = torch.randn(images, 1, 5, 5, generator=torch.Generator().manual_seed(7))
    place = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(8))
    found = {}
    for number, size in enumerate(sizes):
        shared, liked = (F.interpolate(x, size=size, mode="bilinear") for x in (cause, place))
        weights = torch.randn(2, 1, channels, 1, 1, generator=source)
        noise = torch.randn(images, channels, *size, generator=source)
        found[f"layer{number}"] = weights[0] * shared + 2.0 * weights[1] * liked + noise + 3.0
    return found


def groups_of(maps: Maps) -> UnitGroups:
    layers = [Layer(name, *x.shape[1:]) for name, x in maps.items()]
    shift = torch.cat([x[:3].double().mean(dim=(0, 2, 3)) for x in maps.values()]).float()
    return UnitGroups(layers, shift)


class Summed:
    """The sums of two models over some images."""

    def __init__(self, a: Maps, b: Maps, grouping: Grouping, batch: int, world: int = 1) -> None:
        rows, columns = groups_of(a), groups_of(b)
        pairings, blocks = 1 + grouping.draws, grouping.blocks
        self.table = CorrelationTable(rows, columns, pairings, blocks)
        self.rows, self.columns = (UnitStatistics(g, True, blocks) for g in (rows, columns))
        for rank in range(world):
            for images in grouping.batches(batch, rank, world):
                one = ActivationBatch(rows, {n: x[images] for n, x in a.items()}, [columns], True)
                two = ActivationBatch(columns, {n: x[images] for n, x in b.items()}, [rows], True)
                one.reorder(grouping.orders(torch.tensor(images)))
                block = grouping.block(images[0])
                self.table.update(one, two, block)
                self.rows.update(one, block)
                self.columns.update(two, block)

    def correlations(self, chosen: Tensor | None = None) -> dict[str, Tensor]:
        maps = self.rows.mean_maps(chosen), self.columns.mean_maps(chosen)
        return correlations(self.table, maps, None, chosen)


def expected(a: Maps, b: Maps, order: list[int], centre: bool) -> np.ndarray:
    """r of every pair, the maps of b in another order of images, upsampled in float64."""

    def one(x: Tensor, y: Tensor) -> np.ndarray:
        size = tuple(max(m, n) for m, n in zip(x.shape[2:], y.shape[2:], strict=True))
        x, y = (F.interpolate(m.double(), size=size, mode="bilinear") for m in (x, y))
        if centre:
            x, y = x - x.mean(dim=0), y - y.mean(dim=0)
        return pooled_correlation([x[order]], [y])

    return np.block([[one(x, y) for y in b.values()] for x in a.values()])


IMAGES = 23


@pytest.fixture(scope="module")
def maps() -> tuple[Maps, Maps]:
    return maps_of(SIZES_A, IMAGES, 3, seed=0), maps_of(SIZES_B, IMAGES, 2, seed=1)


def test_every_table_is_its_definition(maps: tuple[Maps, Maps]) -> None:
    a, b = maps
    grouping = Grouping(IMAGES, draws=2, blocks=3)
    found = Summed(a, b, grouping, batch=7).correlations()
    own = list(range(IMAGES))
    orders = grouping.orders(torch.tensor(own))
    for name, order, centre in (
        ("r", own, False),
        ("centred", own, True),
        ("shuffled_1", orders[1].tolist(), False),
        ("shuffled_centred_1", orders[1].tolist(), True),
        ("shuffled_2", orders[2].tolist(), False),
        ("shuffled_centred_2", orders[2].tolist(), True),
    ):
        wanted = expected(a, b, order, centre)
        np.testing.assert_allclose(found[name].numpy(), wanted, atol=1e-5, err_msg=name)
    means = [{n: x.mean(dim=0, keepdim=True).expand_as(x) for n, x in m.items()} for m in maps]
    apart = expected(*means, own, False)  # of mean maps; r_position divides by the whole spread
    assert np.corrcoef(apart.flatten(), found["position"].flatten())[0, 1] > 0.9
    assert found["r"].sub(found["centred"]).abs().max() > 0.2


def test_blocks_are_parts_of_the_images(maps: tuple[Maps, Maps]) -> None:
    a, b = maps
    grouping = Grouping(IMAGES, draws=1, blocks=4)
    chosen = torch.tensor([True, False, True, False])
    images = [i for i in range(IMAGES) if chosen[grouping.block(i)]]
    assert 4 < len(images) < IMAGES - 4
    found = Summed(a, b, grouping, batch=5).correlations(chosen)
    part = [{n: x[images] for n, x in m.items()} for m in maps]
    order = grouping.orders(torch.tensor(range(IMAGES)))[1]
    places = [images.index(int(order[i])) for i in images]
    own = list(range(len(images)))
    for name, wanted in (
        ("r", expected(*part, own, False)),
        ("centred", expected(*part, own, True)),
        ("shuffled_centred_1", expected(*part, places, True)),
    ):
        np.testing.assert_allclose(found[name].numpy(), wanted, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 4, 32])
@pytest.mark.parametrize("stride", [1, 3], ids=["any class", "of the same class"])
def test_neither_batches_nor_processes_matter(
    maps: tuple[Maps, Maps], batch: int, world: int, stride: int
) -> None:
    grouping = Grouping(IMAGES, 1, stride, blocks=2)
    reference = Summed(*maps, grouping, batch=8).correlations()
    found = Summed(*maps, grouping, batch, world).correlations()
    for name, table in reference.items():
        torch.testing.assert_close(found[name], table, atol=1e-6, rtol=0)


def test_neighbours_carry_their_evidence(maps: tuple[Maps, Maps]) -> None:
    grouping = Grouping(IMAGES, draws=1, blocks=5)
    summed = Summed(*maps, grouping, batch=6)
    tables = summed.correlations()
    alive = (torch.ones(6, dtype=torch.bool), torch.tensor([True] * 5 + [False]))
    found = match(summed.table, summed.rows, summed.columns, alive, k=3)
    assert int(found.targets.rows.max()) < 5  # the sixth may not match
    for key, table in (("r", "r"), ("centred", "centred"), ("shuffled", "shuffled_1")):
        wanted = tables[table].gather(1, found.targets.rows)
        torch.testing.assert_close(found.targets.scores[key], wanted)
    assert found.targets.rows[:, 0].tolist() == tables["r"][:, :5].argmax(dim=1).tolist()
    (decoys,) = found.decoys
    assert decoys.rows[:, 0].tolist() == tables["shuffled_1"][:, :5].argmax(dim=1).tolist()
    by_content = match(summed.table, summed.rows, summed.columns, alive, 3, "centred")
    assert by_content.targets.rows[:, 0].tolist() == tables["centred"][:, :5].argmax(1).tolist()


@pytest.mark.parametrize("kind", ["silent in a block", "place alone"])
def test_units_that_are_like_nobody_match_nobody(maps: tuple[Maps, Maps], kind: str) -> None:
    """Ties at 0 go to the lowest numbers: these would be each other's best buddies."""
    a, b = ({name: x.clone() for name, x in own.items()} for own in maps)
    grouping = Grouping(IMAGES, draws=1, blocks=2)
    silent = [i for i in range(IMAGES) if grouping.block(i) == 0]
    for own in (a["layer0"], b["layer0"]):
        own[silent, 0] = 1.0 if kind == "silent in a block" else own[0, 0]
    block, criterion = torch.tensor([True, False]), "centred" if kind == "place alone" else "r"
    summed = Summed(a, b, grouping, batch=6)
    alive = (torch.ones(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool))
    how = (summed.table, summed.rows, summed.columns, alive, 2, criterion)
    assert summed.correlations()["centred"][0, 0] != 0.0  # of all images
    for found in (match(*how, block).targets, *match(*how, block).decoys):
        assert set(found.rows[0].tolist()) == set(found.columns[0].tolist()) == {NOBODY}
        assert 0 not in found.rows.flatten().tolist() + found.columns.flatten().tolist()
    assert 0 in match(*how).targets.columns.flatten().tolist()


def test_intervals_are_the_jackknife_of_whole_recomputations(maps: tuple[Maps, Maps]) -> None:
    grouping = Grouping(IMAGES, draws=1, blocks=5)
    summed = Summed(*maps, grouping, batch=6)
    alive = (torch.ones(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool))
    found = match(summed.table, summed.rows, summed.columns, alive, k=2).targets
    r = summed.correlations()["r"].double().gather(1, found.rows).flatten().atanh()
    without = torch.stack(
        [
            summed.correlations(torch.arange(5) != block)["r"].double().gather(1, found.rows)
            for block in range(5)
        ]
    ).flatten(1)  # (B, P)
    images = torch.tensor([sum(grouping.block(i) == b for i in range(IMAGES)) for b in range(5)])
    wanted = jackknife(r, without.atanh(), images)
    torch.testing.assert_close(
        found.scores["low"].double().flatten(), wanted.low.tanh(), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        found.scores["high"].double().flatten(), wanted.high.tanh(), atol=1e-4, rtol=0
    )
    assert (found.scores["low"] < found.scores["r"]).all()
    assert pair_sums(summed.table, found.rows).images.sum() == IMAGES


@pytest.mark.parametrize("criterion", ["r", "centred"])
@pytest.mark.parametrize("bytes_", [1, 1200, 4000])
def test_matching_in_bands_is_matching_at_once(
    maps: tuple[Maps, Maps], monkeypatch: pytest.MonkeyPatch, bytes_: int, criterion: str
) -> None:
    """All neighbours, scores, intervals and decoys, in all images and in some blocks of them."""
    summed = Summed(*maps, Grouping(IMAGES, draws=2, blocks=5), batch=6)
    alive = (torch.tensor([True] * 4 + [False, True]), torch.ones(6, dtype=torch.bool))
    for chosen in (None, torch.tensor([True, False, True, True, False])):
        how = (summed.table, summed.rows, summed.columns, alive, 3, criterion, chosen)
        monkeypatch.setattr(matching, "BAND_BYTES", 2**28)
        (whole,) = matching.bands(summed.table)
        expected = match(*how)
        monkeypatch.setattr(matching, "BAND_BYTES", bytes_)
        assert 1 < len(list(matching.bands(summed.table))) <= len(whole)
        found = match(*how)
        for one, other in zip(
            [found.targets, *found.decoys], [expected.targets, *expected.decoys], strict=True
        ):
            assert one.rows.equal(other.rows) and one.columns.equal(other.columns)
            assert one.scores.keys() == other.scores.keys()
            for name, values in one.scores.items():
                torch.testing.assert_close(values, other.scores[name], atol=1e-6, rtol=0)
