"""Models of one unit, and generators whose images are not RGB or not square."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cases import first
from commands import Done, call
from odd_models import IMAGES, OneUnitGenerator, OneUnitModel, Other
from safetensors.torch import load_file
from toy import ToyGenerator

from rosetta_lab.data.latents import Latents
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import BatchMeanCorrelation, CorrelationTable
from rosetta_lab.metrics.statistics import UnitStatistics
from rosetta_lab.models.observer import GeneratedImages, Observer
from rosetta_lab.models.units import Layer

OTHERS = ["resnet_fashion", "dino_resnet_fashion", "dino_vit_fashion", "mae_fashion"]


def mine(folder: Path, *arguments: str) -> Done:
    return call(
        "mine",
        *["gen=stylegan2_fashion", "gen.name=toy", "~gen.network", "gen.weights=random"],
        *["k=1", "num_images=64", "batch_size=16", "trainer.accelerator=cpu", "save_tables=true"],
        *[f"~disc.{name}" for name in (*OTHERS, "clip_fashion")],
        *["hydra.run.dir=run", *arguments],
        cwd=folder,
        ROSETTA_CACHE=str(folder / "cache"),
    )


@pytest.mark.parametrize("correlation", first(2, ["pooled", "batch_mean"]))
@pytest.mark.parametrize("both", [True, False])
def test_models_of_one_unit_are_mined(both: bool, correlation: str, tmp_path: Path) -> None:
    generator = "odd_models.OneUnitGenerator" if both else "toy.ToyGenerator"
    done = mine(
        tmp_path,
        f"+gen.network={{_target_: {generator}}}",
        f"gen.layers=[{'single' if both else 'fold'}]",
        "+disc.one={_target_: odd_models.OneUnitModel, weights: random}",
        f"correlation={correlation}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = 1 if both else 4
    assert load_file(tmp_path / "run" / "correlation" / "one.safetensors")["r"].shape == (rows, 1)
    found = json.loads((tmp_path / "run" / "dictionary.json").read_text())
    assert found["discriminative"]["one"]["layers"][0]["channels"] == 1
    statistics = load_file(tmp_path / "run" / "statistics.safetensors")
    assert statistics["one/mix/mean"].shape == (1,)
    assert (tmp_path / "run" / "index.html").is_file()


def test_sums_of_one_unit_keep_their_axes() -> None:
    """And are those of the definition."""
    watch = Observer(GeneratedImages(OneUnitGenerator(), ["single"], "toy"), {"a": OneUnitModel()})
    batch = Latents(20, 0, 12).batch(list(range(20)))
    shapes = watch.shapes(watch(batch))
    groups = {name: UnitGroups(own, torch.zeros(1)) for name, own in shapes.items()}
    seen = {
        name: ActivationBatch(groups[name], maps, groups.values())
        for name, maps in watch(batch).maps.items()
    }
    for kind in (CorrelationTable, BatchMeanCorrelation):
        table = kind(groups["toy"], groups["a"])
        table.update(seen["toy"], seen["a"])
        for _ in range(2):
            assert table.compute().shape == (1, 1)
    statistics = UnitStatistics(groups["a"])
    statistics.update(seen["a"])
    values = statistics.compute()
    maps = watch(batch).maps["a"]["mix"].double()
    assert values["mean"].shape == (1,)
    torch.testing.assert_close(values["mean"], maps.mean()[None], atol=1e-6, rtol=0)
    assert shapes["a"] == [Layer("mix", 1, 5, 5)]


def test_grey_images_work_throughout(tmp_path: Path) -> None:
    done = mine(
        tmp_path,
        "+gen.network={_target_: odd_models.Other, kind: grey}",
        "gen.layers=[fold, late]",
        "+disc.a={_target_: toy.ToyModel, weights: random}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "index.html").is_file()
    generator = Other("grey").eval()
    batch = Latents(3, 0, 12).batch([0, 1, 2])
    code = LatentCode(generator, "z", batch.z, None, 1.0)
    images, maps = code.images_and_maps(["late"])
    expected = IMAGES["grey"](ToyGenerator()(batch.z)).expand(-1, 3, -1, -1)
    assert torch.equal(images, expected) and torch.equal(code.images(), expected)
    assert torch.equal(GeneratedImages(generator, ["late"])(batch).images, expected)
    assert maps["late"].shape == (3, 6, 8, 8)


@pytest.mark.parametrize("kind", first(3, ["rgba", "high", "low", "small", "flat"]))
def test_other_images_are_refused_before_the_pass(kind: str, tmp_path: Path) -> None:
    done = mine(
        tmp_path,
        f"+gen.network={{_target_: odd_models.Other, kind: {kind}}}",
        "gen.layers=[fold, late]",
        "+disc.a={_target_: toy.ToyModel, weights: random}",
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Other makes images (" in done.stdout and "(N, 3, 8, 8)" in done.stdout
    assert "images=" not in done.stdout + done.stderr  # no batch was seen
    with pytest.raises(RosettaError, match="makes images"):
        LatentCode(Other(kind), "z", torch.randn(2, 12), None, 1.0).images()


@pytest.mark.parametrize("layer", ["early", "late.0:input"])
def test_layers_of_generators_that_are_no_maps(layer: str) -> None:
    generator = ToyGenerator()
    batch = Latents(2, 0, 12).batch([0, 1])
    if layer == "early":
        with pytest.raises(RosettaError, match=r"^Layer early puts out \(2, 64\).*\n"):
            GeneratedImages(generator, [layer])(batch)
    else:
        assert GeneratedImages(generator, [layer])(batch).maps["generator"][layer].dim() == 4
