"""Bridges between two generators, and what they carry."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from commands import call
from selenium import webdriver
from static_pages import check_page

from rosetta_lab.bridge.joined import build_bridge, random_partners
from rosetta_lab.bridge.kept import OTHER, START, figures_of, keeping, table
from rosetta_lab.bridge.transfer import ARMS, BRIDGE, DECOYS, RANDOM, PairedUnits, Transferred
from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.dictionary.mined import SHIPPED, load_mined
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.models.units import Layer, UnitIndex

QUICK = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "hydra.run.dir=run")


def test_the_embedded_generators_are_joined() -> None:
    first, second = (RosettaDictionary.load(folder) for folder in SHIPPED.values())
    bridge = build_bridge(first, second)
    accepted = bridge.accepted
    assert 1000 < len(accepted.pairs) < len(bridge.joins.pairs)
    assert bool((bridge.joins.strength.diff() <= 0).all())  # strongest first
    assert bool((bridge.q.diff() >= 0).all())
    for pair, units in zip(accepted.pairs[:20].tolist(), accepted.units.tolist(), strict=False):
        for name, unit in zip(bridge.models, units, strict=True):
            for dictionary, own in zip((first, second), pair, strict=True):
                if unit >= 0:
                    assert [own, unit] in dictionary.buddies[name][:, :2].tolist()
    torch.testing.assert_close(bridge.pairs(True, 7), accepted.pairs[:7].flip(1))
    # The other way round, the same joins.
    turned = build_bridge(second, first).accepted
    assert set(map(tuple, turned.pairs.flip(1).tolist())) == set(
        map(tuple, accepted.pairs.tolist())
    )


def test_decoys_in_the_place_of_matches_join_nothing() -> None:
    """Where one side's matches are those of shuffled images, no join means anything."""
    first, second = (RosettaDictionary.load(folder) for folder in SHIPPED.values())
    for name, known in first.evidence.items():
        half = len(known["decoys"]) // 2  # matches and decoys by chance, of one kind
        first.buddies[name] = torch.nn.functional.pad(known["decoys"][:half], (0, 1))
        known["r_centred"] = known["decoys_centred"][:half]
        known["decoys"], known["decoys_centred"] = (
            known[key][half : 2 * half] for key in ("decoys", "decoys_centred")
        )
    assert len(build_bridge(first, second).accepted.pairs) <= 5


def test_dictionaries_that_know_no_decoys() -> None:
    first, second = (RosettaDictionary.load(folder) for folder in SHIPPED.values())
    del second.evidence["mae_fashion"]["decoys_centred"]
    with pytest.raises(RosettaError, match=r"decoys of mae_fashion are.*\n.*null=shuffled"):
        build_bridge(first, second)


def test_random_partners_are_of_the_same_layers() -> None:
    index = UnitIndex([Layer("a", 4, 2, 2), Layer("b", 40, 2, 2)])
    pairs = torch.tensor([[i, i % 44] for i in range(400)])
    drawn = random_partners(pairs, index)
    assert torch.equal(drawn[:, 0], pairs[:, 0])
    assert torch.equal(drawn[:, 1] < 4, pairs[:, 1] < 4)
    assert len(drawn[drawn[:, 1] >= 4, 1].unique()) == 40
    assert float((drawn[:, 1] == pairs[:, 1]).double().mean()) < 0.2


def test_a_generator_bridged_to_itself_agrees_with_itself() -> None:
    mined = load_mined("embedded")
    units = torch.tensor([3, 200, 500, 600])
    paired = PairedUnits(mined, mined, torch.stack([units, units], dim=1))
    sources = from_seeds(mined.generator, [1, 2], None, "w", **mined.prior(1.0))
    agreement = paired.agreement(paired.targets(sources, 1.0))
    code = LatentCode(mined.generator, "w", sources.latent, sources.c)
    with torch.no_grad():
        same = agreement(code.maps(agreement.layers))
        code.value.copy_(sources.latent.roll(1, dims=0))
        other = agreement(code.maps(agreement.layers))
    torch.testing.assert_close(same, torch.ones(2), atol=1e-4, rtol=0)
    assert bool((other < 0.9).all())


@pytest.fixture(scope="module")
def scenes(fashion_mnist: Path) -> torch.Tensor:
    return FashionScenes("test", root=fashion_mnist).scenes(range(40)).image


def test_what_is_kept_is_read_from_the_pictures(scenes: torch.Tensor) -> None:
    same = figures_of(scenes, scenes, None)
    assert all(float(values.nan_to_num().abs().max()) == 0.0 for values in same.values())
    moved = figures_of(scenes, scenes.roll(3, dims=3), None)  # those that stay within the picture
    assert float(moved["centre"].nanmedian()) == pytest.approx(3 / 64, abs=1e-3)
    turned = figures_of(scenes, scenes.roll(1, dims=1), None)  # red for green and so on
    assert float(turned["hue"].nanmedian()) == pytest.approx(120.0, abs=2.0)


def test_arms_are_compared_image_by_image(scenes: torch.Tensor) -> None:
    results = {BRIDGE: scenes.roll(2, dims=3), RANDOM: scenes.roll(1, 0), DECOYS: scenes.roll(2, 0)}
    pairs = {BRIDGE: 9, RANDOM: 9, DECOYS: 4}
    ids = [str(place) for place in range(len(scenes))]
    done = Transferred("g", "h", ids, scenes, scenes[:1], results, pairs)
    rows = {(row.arm, row.figure): row for row in keeping(done, None, 500, 0.95)}
    assert {arm for arm, _ in rows} == {*ARMS, START, OTHER}
    for arm in (BRIDGE, RANDOM, DECOYS):
        values = figures_of(scenes, results[arm], None)["centre"]
        value = rows[arm, "centre"].value
        expected = bootstrap_means(values[values.isfinite()][:, None], 500)
        assert (value.mean, value.low) == pytest.approx((float(expected.mean), float(expected.low)))
        error = 1.96 * float(values[values.isfinite()].std()) / math.sqrt(value.images)
        assert value.high - value.low == pytest.approx(2 * error, rel=0.25, abs=0.003)
    beyond = rows[RANDOM, "centre"].beyond
    assert beyond.mean == pytest.approx(
        rows[RANDOM, "centre"].value.mean - rows[BRIDGE, "centre"].value.mean, abs=0.01
    )
    assert rows[BRIDGE, "hue"].beyond is None and rows[DECOYS, "scale"].pairs == 4
    heads, *lines = table(list(rows.values()))
    assert len(lines) == 5 and all(len(line) == len(heads) for line in lines)


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("bridge")
    how = ("transfer=2", "steps=1", "shown=3", "pictures=1", "resamples=50", "pairs=40")
    done = call("bridge", *how, *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run", done.stdout


@pytest.mark.slow
def test_images_are_carried_both_ways(run: tuple[Path, str]) -> None:
    folder, said = run
    with (folder / "joins.csv").open(newline="") as stream:
        joins = list(csv.DictReader(stream))
    record = json.loads((folder / "results.json").read_text())
    assert len(joins) == record["joins"]["joins"]
    accepted = [row for row in joins if float(row["q"]) <= 0.05]
    assert len(accepted) == record["joins"]["accepted"]
    assert {row["source"] for row in record["kept"]} == {"stylegan2_fashion", "biggan_fashion"}
    assert {row["figure"] for row in record["kept"]} == {"class", "centre", "scale", "hue"}
    assert {row["pairs"] for row in record["kept"]} == {40, None}
    # What overlap says, word by word.
    alone = call("overlap", "dictionaries=[embedded,embedded_biggan]", cwd=folder)
    assert alone.returncode == 0 and alone.stdout.strip() in said
    assert len(record["overlaps"]) == 4 * 5 and "Look at it" in said


@pytest.mark.slow
def test_its_page(run: tuple[Path, str], driver: webdriver.Chrome) -> None:
    folder, _ = run
    check_page(driver, folder / "index.html", folder, 2 * 4 + 3 * 2)


@pytest.mark.slow
def test_nothing_is_carried_where_that_is_asked_for(tmp_path: Path) -> None:
    how = ("transfer=0", "shown=0", "max_fdr=0.0")
    done = call("bridge", *how, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0 of 3,294 joins" in done.stdout and "same class" not in done.stdout
    assert json.loads((tmp_path / "run" / "results.json").read_text())["kept"] == []
