"""``python -m rosetta_lab.visualize``: where units fire, what makes them fire, and the pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import Done, call
from PIL import Image
from safetensors.torch import load_file

from rosetta_lab.data.latents import Latents
from rosetta_lab.dictionary.mined import EMBEDDED, Mined, load_mined
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.models.recording import record
from rosetta_lab.pages.overlays import CELL
from rosetta_lab.visualize.view import (
    Subject,
    approach,
    by_class,
    choose,
    firing,
    see,
)

TINY = [
    "steps=2", "images=12", "shown=3", "seeds=[0,1]", "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
]  # fmt: skip


def run(*arguments: str, cwd: Path) -> Done:
    return call("visualize", *TINY, *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def mined() -> Mined:
    return load_mined("embedded")


# The command


def test_one_neuron(mined: Mined, tmp_path: Path) -> None:
    done = run("neuron=12", "origin=models", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "index.html").is_file()
    pictures = tmp_path / "run" / "neuron_12"
    units = 1 + len(mined.dictionary.discriminative)
    assert load_file(pictures / "latent.safetensors")["latent"].shape == (2, 64)
    with Image.open(pictures / "starts.webp") as image:
        assert image.size == (3 * CELL, (2 + units) * CELL)  # target and starts
    with Image.open(pictures / "most.webp") as image:
        assert image.size == (3 * CELL, (1 + units) * CELL)


def test_atlas_is_linked_from_the_dictionarys_page(tmp_path: Path) -> None:
    home = tmp_path / "mined"
    shutil.copytree(EMBEDDED, home)
    record = json.loads((home / "dictionary.json").read_text())
    record["concepts"] = record["concepts"][:2]
    record["neurons"] = [n for n in record["neurons"] if n["concept"] in (0, 1)]
    for concept in record["concepts"]:
        own = [i for i, n in enumerate(record["neurons"]) if n["concept"] == concept["id"]]
        concept |= {"neurons": own, "representative": own[0]}
    (home / "dictionary.json").write_text(json.dumps(record))
    (home / "index.html").write_text('<h3><a href="#concept-1">Concept 1</a> <small></small></h3>')
    done = run(
        f"dictionary={home}", "concept=all", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "all concepts of stylegan2_fashion" in done.stdout
    assert f"Into {home / 'atlas'}\n" in done.stdout
    assert sorted(path.name for path in (home / "atlas").iterdir()) == [
        "concept_0", "concept_0.html", "concept_1", "concept_1.html", "index.html",
    ]  # fmt: skip
    assert '<a href="atlas/concept_1.html">' in (home / "index.html").read_text()


@pytest.mark.parametrize(
    ("concept", "neuron", "message"),
    [
        (9999, None, "there is no such concept"),
        (None, 9999, "The dictionary has 0 to"),
        (None, "all", "there is no such neuron"),
        ("some", None, "or all"),
        (0, 0, "name one of them"),
    ],
)
def test_mistakes(mined: Mined, concept: object, neuron: object, message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        choose(mined.dictionary, concept, neuron)


def test_choices(mined: Mined) -> None:
    known = mined.dictionary
    assert choose(known, None, None) == [Subject("concept", 0, tuple(known.concepts[0].neurons))]
    assert choose(known, 7, None)[0].neurons == tuple(known.concepts[7].neurons)
    assert choose(known, None, 12) == [Subject("neuron", 12, (12,))]
    assert [subject.name for subject in choose(known, "all", None)] == [
        f"concept_{number}" for number in range(len(known.concepts))
    ]


# Where units fire


def test_firing_is_the_peak_of_each_units_map_in_standard_deviations(mined: Mined) -> None:
    known = mined.dictionary
    statistics = load_statistics(mined.folder, known.reference.name)
    latents = Latents(7, 3, mined.generator.z_dim, mined.generator.num_classes)
    found = firing(mined.generator, known, statistics, latents, 1.0, 3)
    assert found.shape == (7, len(known.neurons))
    layer, channel = known.neurons[4].unit
    batch = latents.batch([5])
    with torch.no_grad(), record(mined.generator, [layer]) as raw:
        mined.generator(batch.z, mined.generator.one_hot(batch.label))
    mean, var = (float(values[channel]) for values in statistics[layer])
    peak = float(raw[layer][0, channel].max())
    assert float(found[5, 4]) == pytest.approx((peak - mean) / var**0.5, rel=1e-4)


def test_mean_of_every_class() -> None:
    strength, labels = torch.tensor([1.0, 2.0, 6.0, -4.0]), torch.tensor([3, 0, 3, 3])
    assert by_class(strength, labels) == {0: 2.0, 3: 1.0}
    assert by_class(strength, None) == {}


def test_starts_approach_the_targets_maps(mined: Mined) -> None:
    generator, known = mined.generator, mined.dictionary
    card, neuron = known.reference, known.neurons[0]
    units = OwnUnits(
        generator,
        card.units,
        torch.tensor([card.units.number(neuron.unit)]),
        load_statistics(mined.folder, card.name),
        {layer.name: layer.size for layer in card.layers},
    )

    def code(*seeds: int) -> LatentCode:
        sources = from_seeds(generator, seeds)
        return LatentCode(generator, "z", sources.latent, sources.c)

    target, starts = code(8), code(1, 2)
    first = starts.value.detach().clone()
    found = approach(units, target, starts, {"activation": 1.0}, steps=12, lr=0.1)
    assert (found.agreement[:, 1] > found.agreement[:, 0]).all()
    assert torch.equal(found.latent, starts.value.detach())
    # The agreement is the cosine of the two centred maps, by hand.
    seen = [see(c, ["x"] * len(c), known, {}, [0]) for c in (code(1, 2), target, starts)]
    mean = float(
        load_statistics(mined.folder, card.name)[neuron.unit.layer][0][neuron.unit.channel]
    )
    before, asked, after = (s.maps[card.name, neuron.unit].flatten(1).double() - mean for s in seen)
    for place, maps in enumerate((before, after)):
        cosine = torch.cosine_similarity(maps, asked, dim=1)
        assert torch.allclose(found.agreement[:, place].double(), cosine, atol=1e-4)
    assert not torch.allclose(first, found.latent)
