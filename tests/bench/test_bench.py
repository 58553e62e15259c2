"""The benchmarks: what they compare agrees, and their figures are what they say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
import torch
from commands import call

from rosetta_lab.bench import inversion, networks
from rosetta_lab.bench.__main__ import INVERSION_DEFAULTS, inversion_defaults
from rosetta_lab.bench.mining import measured, run
from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.dictionary.pairs import matched_pairs
from rosetta_lab.files import PACKAGE, asset_root
from rosetta_lab.models.load import apply_overrides
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory
from rosetta_lab.models.perceptual import Perceptual


def test_both_tables_agree_on_a_small_pair() -> None:
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = hydra.compose(
            "bench_mining",
            ["weights=random", "num_images=3", "reference_images=2", "batch_size=2"],
        )
    result = run(cfg)
    assert result.largest_difference < 1e-4
    assert min(result.forward, result.ours, result.straightforward) > 0
    assert "times as fast as the straightforward" in result.report()


def test_ways_to_run_networks_and_what_they_change() -> None:
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        options = ["weights=random", "num_images=3", "batch_size=2", "device=cpu", "compile=true"]
        cfg = hydra.compose("bench_mining", options)
    broken = networks.Way(lambda observer: observer.no_such_thing)
    told = networks.run(cfg, networks.WAYS | {"torch.compile": broken}).splitlines()
    rows = {line[:22].strip(): line[22:].split() for line in told[2:]}
    assert float(rows["float32"][2]) == 0 and rows["float32"][1] == "1.00"
    assert 0 < float(rows["channels-last"][2]) < 1e-2  # units that hardly vary magnify rounding
    assert float(rows["channels-last"][3]) < 1e-4 < float(rows["bfloat16 (autocast)"][3]) < 0.1
    assert "no_such_thing" in " ".join(rows["torch.compile"])


LARGE = "stylegan_xl", "vit_base"
ROWS = sorted(path.stem for path in (asset_root() / "conf/row").iterdir())


@pytest.mark.parametrize(
    "row", [pytest.param(x, marks=pytest.mark.slow if x in LARGE else ()) for x in ROWS]
)
def test_every_row_is_a_run_without_weights(row: str) -> None:
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = apply_overrides(hydra.compose("bench_mining", [f"row={row}"]))
    observer = observer_without_memory(cfg)
    layers = {name: len(x) for name, x in shapes_without_memory(cfg, observer).items()}
    assert row == "embedded" or all(model.weights == "random" for model in cfg.disc.values())
    assert layers.get("resnet50") == {"resnet50": 4, "resnet50_blocks": 16, "stylegan_xl": 4}.get(
        row
    )


def test_products_are_counted_and_timed() -> None:
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        options = ["num_images=3", "reference_images=0", "batch_size=2", "device=cpu"]
        cfg = hydra.compose("bench_mining", ["weights=random", *options, "products=split"])
    result = run(cfg)
    assert result.straightforward is result.largest_difference is None
    own, other = {4: 128, 8: 256, 16: 128, 32: 64, 64: 32}, {16: 32, 8: 64, 4: 128, 2: 192}
    flops = sum(2 * min(a, b) ** 2 * own[a] * other[b] for a in own for b in other)
    report = result.report()
    assert "straightforward" not in report and "of a large torch.mm" in report
    assert result.flops == flops
    assert 0.0 < result.products < result.ours and result.mm_rate > 1e8


def test_peak_memory_is_that_of_the_block() -> None:
    seconds: dict[str, float] = {}
    peak: dict[str, float] = {}
    with measured("large", 1, seconds, peak):
        torch.ones(2**26)  # 256 MB
    with measured("small", 1, seconds, peak):
        torch.ones(2**10)
    assert peak["large"] > peak["small"] + 200


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    for name in ("bag_orange.png", "coat_red.png"):
        shutil.copy(PACKAGE / "data/samples" / name, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_inversion_from_the_command_line(two_images: Path) -> None:
    """Every part has its line, shares add up, the ratio is there, too few images are admitted."""
    options = [f"images={two_images}", "batch_size=3", "steps=2", "trainer.accelerator=cpu"]
    done = call("bench", "inversion", *options, cwd=two_images)
    assert done.returncode == 0, done.stderr
    first, _, *rows, last = done.stdout.strip().splitlines()
    pairs = sum(
        map(len, matched_pairs(load_mined("embedded").dictionary, "all", "accepted").values())
    )
    assert first.startswith("2 images (of 3 asked for: there are no more), ")
    assert first.endswith(f", {pairs:,} matched pairs, 1 threads")
    cost, share = ({row[:28].strip(): row.split()[n] for row in rows} for n in (-2, -1))
    parts = ["generator and the rest", "perceptual", "activation"]
    assert list(cost) == [*parts, "whole step"]
    assert min(float(cost[part]) for part in parts) >= 0.0
    assert sum(float(share[part].rstrip("%")) for part in parts) == pytest.approx(100.0, abs=0.2)
    found = re.fullmatch(r"One image .* ([\d.]+) ms/.*; a batch is ([\d.]+) times as fast\.", last)
    assert found is not None
    alone, ratio = map(float, found.groups())
    assert ratio == pytest.approx(alone / float(cost["whole step"]), rel=0.02)


@pytest.mark.slow
def test_inversion_without_matches_has_a_perceptual_part_all_the_same(
    two_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that a step moves by one, and every look of the perceptual network by another."""
    looks: list[int] = []
    distance = Perceptual.distance
    monkeypatch.setattr(
        Perceptual, "distance", lambda *arguments: looks.append(1) or distance(*arguments)
    )

    def timed(step: Callable[[], object], device: str) -> float:
        before = len(looks)
        step()
        return 1.0 + len(looks) - before

    monkeypatch.setattr(inversion, "timed", timed)
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = hydra.compose(
            "invert",
            [f"images={two_images}", "matches=none", "alpha=0", "steps=2", "batch_size=2"],
        )
    result = inversion.run(cfg)
    assert (result.images, result.pairs) == (2, 0)
    assert result.parts == {"generator and the rest": 1.0, "perceptual": 1.0}
    assert (result.batch, result.single) == (2.0, 3.0)  # one timing of both images, a look each
    assert result.report().startswith("2 images, 0 matched pairs")


@pytest.mark.parametrize(
    ("given", "left_out"),
    [([], []), (["steps=3"], ["steps"]), (["data=samples"], ["data", "data.per_class"])],
)
def test_defaults_give_way_to_what_is_given(given: list[str], left_out: list[str]) -> None:
    kept = [default.split("=")[0] for default in inversion_defaults(given)]
    every = [default.split("=")[0] for default in INVERSION_DEFAULTS]
    assert kept == [key for key in every if key not in left_out]
