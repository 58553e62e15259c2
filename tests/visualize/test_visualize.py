"""``python -m rosetta_lab.visualize``: where units fire, what makes them fire, and the pages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from commands import Done, call
from omegaconf import OmegaConf
from page_fixtures import HOSTILE, HOSTILE_MODEL, scenes, synthetic
from PIL import Image
from safetensors.torch import load_file
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.data.latents import Latents
from rosetta_lab.dictionary.mined import EMBEDDED, Mined, load_mined
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.sources import from_seeds
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.mine.page.concepts import concepts, link_atlas
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.colormap import colourise
from rosetta_lab.pages.overlays import CELL, OPACITY
from rosetta_lab.pages.profile import bars
from rosetta_lab.visualize.page.atlas import write_index, write_view
from rosetta_lab.visualize.page.sheets import join, scales, sheet
from rosetta_lab.visualize.view import (
    Approach,
    Seen,
    Subject,
    View,
    approach,
    by_class,
    choose,
    firing,
    look,
    rows,
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
    (home / "dictionary.json").write_text(json.dumps(record))
    (home / "index.html").write_text('<h3><a href="#concept-1">Concept 1</a> <small></small></h3>')
    done = run(
        f"dictionary={home}", "concept=all", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
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
    statistics = load_statistics(mined.folder, known.generator.name)
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
    card, neuron = known.generator, known.neurons[0]
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
    seen = [look(c, ["x"] * len(c), known, {}, [0]) for c in (code(1, 2), target, starts)]
    mean = float(
        load_statistics(mined.folder, card.name)[neuron.unit.layer][0][neuron.unit.channel]
    )
    before, asked, after = (s.maps[card.name, neuron.unit].flatten(1).double() - mean for s in seen)
    for place, maps in enumerate((before, after)):
        cosine = torch.cosine_similarity(maps, asked, dim=1)
        assert torch.allclose(found.agreement[:, place].double(), cosine, atol=1e-4)
    assert not torch.allclose(first, found.latent)


# Sheets and bars


def seen(dictionary: RosettaDictionary, images: torch.Tensor, maps: dict, some: list[int],
         neurons: tuple[int, ...]) -> Seen:  # fmt: skip
    return Seen(
        [f"{number} {HOSTILE}" for number in some],
        images[some],
        {key: maps[key][some] for key in rows(dictionary, neurons)},
    )


def test_sheet_lays_maps_over_the_images_on_one_scale() -> None:
    key = ("model", Unit("layer", 0))
    grey = torch.full((2, 3, 16, 16), 0.5)
    one = Seen(["a", "b"], grey, {key: torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0)])})
    other = Seen(["c"], grey[:1], {key: torch.full((1, 2, 2), -1.0)})
    scale = scales([one, other])
    assert scale == {key: (-1.0, 3.0)}
    pixels = sheet(join(other, one), scale, [torch.zeros(3, 3, 16, 16)]).pixels
    assert pixels.shape == (3, 3 * CELL, 3 * CELL)
    middle = pixels[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
    assert torch.allclose(middle[:, 0], torch.zeros(3, 3))
    assert torch.allclose(middle[:, 1], torch.full((3, 3), 0.5), atol=1e-3)
    colours = colourise(torch.tensor([[0.0, 0.25, 1.0]]))[:, 0]
    assert torch.allclose(middle[:, 2], OPACITY * colours + (1 - OPACITY) * 0.5, atol=0.01)


def test_rows_of_neurons_that_share_a_match_are_shown_once() -> None:
    dictionary, _ = synthetic(*scenes())
    one, two = dictionary.neurons[:2]
    two.matches["resnet"][0] = one.matches["resnet"][0]
    found = rows(dictionary, [0, 1])
    assert len(found) == len(set(found)) == 2 * (1 + len(dictionary.discriminative)) - 1
    assert found[0] == (dictionary.generator.name, one.unit)


def test_bars_are_as_long_as_their_values() -> None:
    drawing = ElementTree.fromstring(bars([("<a>", 2.0), ("b", -1.0), ("c", 0.5)], "x & y"))
    drawn = drawing.findall(".//rect")
    width = [float(bar.get("width")) for bar in drawn]
    assert width[1] == pytest.approx(width[0] / 2, abs=0.11)
    assert width[2] == pytest.approx(width[0] / 4, abs=0.11)
    left = [float(bar.get("x")) for bar in drawn]
    assert left[0] == left[2] == pytest.approx(left[1] + width[1], abs=0.11)


# Pages


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RosettaDictionary]:
    """Pages of two concepts, with an index."""
    dictionary, examples = synthetic(*scenes())
    dictionary.config["gen"] = {"class_names": [HOSTILE, "bag"]}
    folder = tmp_path_factory.mktemp("atlas & #1")
    subjects = choose(dictionary, "all", None)[1:3]
    for subject in subjects:
        parts = [
            seen(dictionary, examples.images, examples.maps, some, subject.neurons)
            for some in ([0], [1, 2, 3], [4, 5, 6, 7], [8, 9, 1, 2])
        ]
        found = Approach(
            examples.images[[4, 5, 6]],
            torch.zeros(3, 4),
            {"activation": torch.rand(3, 10), "total": torch.rand(3, 10)},
            torch.tensor([[0.1, 0.8]] * 3),
        )
        names = ["seed_0", "seed_1", "seed_2"]
        view = View(subject, parts[0], names, found, *parts[1:], {0: 2.0, 1: -1.0, 7: 0.5})
        cfg = OmegaConf.create({"images": 400, "dictionary": HOSTILE})
        assert write_view(folder, view, cfg, dictionary, subjects).name == f"{subject.name}.html"
    write_index(folder, subjects, dictionary, 4)
    return folder, dictionary


def test_a_concepts_page_loads_whole_and_reads_well(
    driver: webdriver.Chrome,
    atlas: tuple[Path, RosettaDictionary],
) -> None:
    folder, dictionary = atlas
    units = len(rows(dictionary, dictionary.concepts[1].neurons))
    check_page(driver, folder / "concept_1.html", folder, images=4 + 3 * units)
    check_links(driver)
    text = driver.execute_script("return document.body.innerText")
    assert HOSTILE_MODEL in text and "0.80" in text and "class 7" in driver.page_source
    assert driver.execute_script("return document.scripts.length") == 2


def test_the_index_leads_to_every_concept(
    driver: webdriver.Chrome,
    atlas: tuple[Path, RosettaDictionary],
) -> None:
    folder, _ = atlas
    check_page(driver, folder / "index.html", folder, images=4)
    check_links(driver)
    links = driver.execute_script("return [...document.links].map((link) => link.textContent)")
    assert links == ["Concept 1", "Concept 2"]


def test_the_dictionarys_page_gets_one_link_for_each_concept() -> None:
    dictionary, examples = synthetic(*scenes())
    captions = [examples.captions[:6]] * len(dictionary.neurons)
    page = concepts(dictionary, captions, 6, 10)
    numbers = [concept.id for concept in dictionary.concepts]
    linked = link_atlas(page, numbers)
    for number in numbers:
        assert linked.count(f'href="atlas/concept_{number}.html"') == 1
    assert link_atlas(linked, numbers) == linked
    assert link_atlas(page, []) == page
