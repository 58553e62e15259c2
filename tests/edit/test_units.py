"""Whose maps an edit changes, the generator's own or what models see, and what it is held to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from commands import call
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import load_file
from small_generator import LAYERS, SIZES, generator, statistics  # noqa: F401  fixtures
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rosetta_lab.dictionary.mined import EMBEDDED, load_mined
from rosetta_lab.dictionary.pairs import reference_units
from rosetta_lab.edit.edits import Shift
from rosetta_lab.edit.figures import picture_figures
from rosetta_lab.edit.problem import Editing
from rosetta_lab.edit.setup import chosen_units, control, random
from rosetta_lab.files import PACKAGE
from rosetta_lab.functional.agreement import TargetMaps
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.invert.units import OwnUnits, SeenUnits
from rosetta_lab.models.units import Layer, Unit, UnitIndex

# The fixtures of the toy generator are imported by name.
# ruff: noqa: F811


def selection(**changes: object) -> DictConfig:
    keys = {"matches": "all", "pool": "best_buddies", "keep": True, "seed": 0, "pairs": None}
    return OmegaConf.create({**keys, **dict.fromkeys(("concepts", "neurons", "layers")), **changes})


def test_one_concept_is_edited_and_all_other_units_are_kept() -> None:
    mined = load_mined(EMBEDDED)
    everything, nothing = chosen_units(selection(), mined)
    assert nothing == {}
    edited, kept = chosen_units(selection(concepts=[7]), mined)
    number = mined.dictionary.reference.units.number
    members = mined.dictionary.concepts[7].neurons
    assert reference_units(edited).tolist() == sorted(
        number(mined.dictionary.neurons[n].unit) for n in members
    )
    assert set(reference_units(kept).tolist()) == set(reference_units(everything).tolist()) - set(
        reference_units(edited).tolist()
    )
    assert chosen_units(selection(concepts=[7], keep=0.0), mined)[1] == {}


def test_random_units_are_as_many_in_every_layer() -> None:
    mined = load_mined(EMBEDDED)
    edited, _ = chosen_units(selection(), mined)
    chosen = random(selection(), mined, edited)
    assert len(chosen.unique()) == len(chosen) == len(reference_units(edited))
    units = mined.dictionary.reference.units
    layers = [
        sorted(units[n].layer for n in some.tolist()) for some in (chosen, reference_units(edited))
    ]
    assert layers[0] == layers[1]
    assert not torch.equal(chosen, random(selection(seed=1), mined, edited))


def test_the_control_of_what_models_see_is_random_units_of_theirs() -> None:
    mined = load_mined(EMBEDDED)
    asked = selection(origin="models", matches="dino_resnet_fashion", pairs=50)
    edited, kept = chosen_units(asked, mined)
    (rows,) = edited.values()
    assert len(rows) == 50
    units, others = control(asked, mined, edited, kept, "cosine")
    assert isinstance(units, SeenUnits) and others is None
    (blocks,) = units.units.blocks.values()
    index = mined.dictionary.reference.units
    card = mined.dictionary.discriminative["dino_resnet_fashion"].units
    drawn = [
        (index.number(Unit(own, int(a))), card.number(Unit(layer, int(b))))
        for (own, layer), (mine, theirs) in blocks.items()
        for a, b in zip(mine, theirs, strict=True)
    ]
    assert sorted(a for a, _ in drawn) == sorted(rows[:, 0].tolist())
    assert len(set(drawn) & set(map(tuple, rows.tolist()))) < 10


def test_the_control_holds_what_the_edit_holds_but_its_own_units() -> None:
    mined = load_mined(EMBEDDED)
    asked = selection(origin="generator", concepts=[7])
    edited, kept = chosen_units(asked, mined)
    units, others = control(asked, mined, edited, kept, "distance")
    assert isinstance(units, OwnUnits) and isinstance(others, OwnUnits)
    index = mined.dictionary.reference.units

    def numbers(of: OwnUnits) -> set[int]:
        return {index.number(Unit(name, int(c))) for name, own in of.channels.items() for c in own}

    chosen = numbers(units)
    assert len(chosen) == len(reference_units(edited))
    assert numbers(others) == set(reference_units(kept).tolist()) - chosen


class Looking:
    """Units of a model that sees images as they are: their first channel."""

    def targets(self, images: Tensor) -> list[TargetMaps]:
        return [TargetMaps(LAYERS[1], torch.tensor([0]), images[:, :1])]

    def agreement(self, targets: list[TargetMaps]) -> SimpleNamespace:
        return SimpleNamespace(targets=targets, pairs=1)


def test_models_look_at_the_pictures_where_there_are_some(generator, statistics) -> None:
    sources = from_seeds(generator, [4, 5])
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    units = SeenUnits(Looking())  # type: ignore[arg-type]
    low = from_seeds(generator, range(90, 98))
    pose = Editing(generator, Shift(0.25), units, units, low, {"activation": 1.0})
    own = pose.code(sources).images().clamp(0.0, 1.0)
    for given, seen in ((None, own), (pictures, pictures)):
        asked = replace(sources, pictures=given)
        (before,), (after,) = pose.targets(asked)
        assert torch.equal(before.maps, seen[:, :1])
        assert torch.equal(after.maps[..., 2:], seen[:, :1, :, :-2])
        moved, held = pose(asked)[1].agreement.parts  # type: ignore[union-attr]
        assert torch.equal(moved.targets[0].maps, after.maps)
        assert torch.equal(held.targets[0].maps, before.maps)
    index = UnitIndex([Layer(name, 16, *SIZES[name]) for name in LAYERS])
    owned = OwnUnits(generator, index, torch.arange(3), statistics, SIZES)
    (one,), (other,) = (owned.targets(pose.code(sources), given) for given in (None, pictures))
    assert torch.equal(one.maps, other.maps)


def test_what_models_see_in_pictures_is_edited(tmp_path: Path) -> None:
    """The target maps are the picture's own; nothing has to be inverted before."""
    images = PACKAGE / "data" / "samples" / "coat_red.png"
    done = call(
        "edit", f"images={images}", "origin=models", "matches=dino_resnet_fashion", "pairs=40",
        "inversion.space=w", "inversion.steps=0", "frames=0", "steps=3", "reference_images=8",
        "trainer.enable_progress_bar=false", "trainer.accelerator=cpu",
        f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run" / "results" / "coat_red"
    figures = json.loads((own / "edit.json").read_text())
    assert figures["rosetta"]["agreement"] > figures["rosetta"]["agreement_before"]
    # Against the picture, not against the image that the search begins with.
    picture, before, after = (
        pil_to_tensor(Image.open(own / f"{name}.png"))[None] / 255.0
        for name in ("picture", "before", "rosetta")
    )
    for seen, same in ((picture, True), (before, False)):
        scale = picture_figures(seen, after, Shift())[0]["scale"]
        assert (abs(scale - figures["rosetta"]["scale"]) < 1e-3) == same
    # The control: what random units of the models see.
    assert figures["random units"]["agreement"] != figures["rosetta"]["agreement"]
    assert load_file(own / "latent.safetensors")["latent"].shape == (1, 128)
    page = " ".join((tmp_path / "run" / "index.html").read_text(encoding="utf-8").split())
    assert "matched units, looking at the pictures themselves" in page
