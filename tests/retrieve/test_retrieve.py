"""Images as vectors of Rosetta activations: against a model's own maps; the command; its page."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from commands import Done, call
from page_fixtures import HOSTILE_MODEL
from sample_pages import retrieval_page
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.data.images import Target
from rosetta_lab.dictionary.mined import load_mined_models
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.retrieve.known import Known
from rosetta_lab.retrieve.results import rows_of
from rosetta_lab.retrieve.vectors import (
    EVERY,
    PIXELS,
    RANDOM,
    ROSETTA,
    Vectors,
    image_vectors,
    random_parts,
    rosetta_parts,
)

STORED = Path(__file__).parents[1] / "stored"
QUICK = [
    "num_images=30", "resamples=50", "shown=2", "draws=2", "batch_size=16",
    "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
]  # fmt: skip


def retrieve(folder: Path, *words: str) -> Done:
    shutil.copytree(STORED / "mined", folder / "mined", dirs_exist_ok=True)
    return call("retrieve", "dictionary=mined", *QUICK, *words, cwd=folder)


def test_vectors_are_means_of_the_neurons_maps(fashion_mnist: Path) -> None:
    """Of one model, by its own maps and the run's statistics."""
    mined = load_mined_models(STORED / "mined")
    name, neurons = "resnet_fashion", mined.dictionary.neurons
    model = mined.models([name])[name]
    images = torch.stack([FashionTargets(64, 1)[i].image for i in range(6)])
    found = image_vectors(mined, {name: model}, images.split(4), 4, 2, 0)
    statistics = load_statistics(mined.folder, name)
    layouts = []
    for neuron in neurons:
        units = []
        for match in neuron.matches[name]:
            maps = model.maps(images, [match.layer])[match.layer][:, match.channel]
            mean, variance = (kind[match.channel] for kind in statistics[match.layer])
            units.append(((maps - mean) / variance.sqrt()).float())
        means = torch.stack([unit.mean(dim=(1, 2)) for unit in units]).mean(dim=0)
        place = neurons.index(neuron)
        assert torch.allclose(found.whole[ROSETTA][0][:, place], means, atol=1e-4)
        quarters = []
        for unit in units:
            side = unit.shape[1]
            if side >= 4:  # cells of whole pixels
                quarters.append(unit.unflatten(1, (4, side // 4)).unflatten(3, (4, side // 4)))
        if len(quarters) == len(units):
            layouts.append(place)
            cells = torch.stack([x.mean(dim=(2, 4)) for x in quarters]).mean(dim=0)
            own = found.layout[ROSETTA][0].unflatten(1, (len(neurons), 4, 4))[:, place]
            assert torch.allclose(own, cells, atol=1e-4)
    assert layouts
    assert found.whole[EVERY][0].shape == (6, len(mined.dictionary.discriminative[name].units))
    assert torch.allclose(found.whole[f"output of {name}"][0], model(images), atol=1e-4)
    assert torch.allclose(found.whole[PIXELS][0], images.mean(dim=(2, 3)), atol=1e-5)
    first, second = found.whole[RANDOM]
    assert first.shape == second.shape == found.whole[ROSETTA][0].shape
    assert not torch.allclose(first, second)


def test_random_units_are_of_the_same_layers() -> None:
    mined = load_mined_models(STORED / "mined")
    parts, cards = rosetta_parts(mined), mined.dictionary.discriminative
    drawn = random_parts(parts, cards, 0)
    assert drawn == random_parts(parts, cards, 0) != random_parts(parts, cards, 1)
    assert drawn != parts
    index = cards["resnet_fashion"].units
    for one, other in zip(parts, drawn, strict=True):
        layers = [[index[u].layer for u in part["resnet_fashion"]] for part in (one, other)]
        assert layers[0] == layers[1]


def test_what_images_are_alike_in() -> None:
    known = Known()
    truths = [(0.5, 0.5, 0.6, 355.0), (0.55, 0.45, 0.62, 20.0), (0.5, 0.62, 0.7, 180.0)]
    for number, truth in enumerate(truths):
        names = dict(zip(("centre_x", "centre_y", "scale", "hue"), truth, strict=True))
        known.add(Target(str(number), torch.zeros(3, 2, 2), number // 2, names))
    alike = {name: right(torch.tensor([0]))[0].tolist() for name, right in known.alike().items()}
    assert alike == {
        "class": [True, True, False],
        "place": [True, True, False],
        "size": [True, True, False],
        "hue": [True, True, False],  # around the circle
    }
    known.add(Target("3", torch.zeros(3, 2, 2)))
    assert known.alike() == {}


def test_planted_vectors_are_as_precise_as_they_can_be() -> None:
    """Vectors that tell the class, and some that tell nothing."""
    source = torch.Generator().manual_seed(0)
    label = torch.arange(200) % 4
    told = torch.eye(4)[label] + 0.01 * torch.randn(200, 4, generator=source)
    nothing = [torch.randn(200, 4, generator=source) for _ in range(3)]
    vectors = Vectors({ROSETTA: [told], RANDOM: nothing}, {})
    near = {
        "image": {
            name: [torch.cdist(x, x).fill_diagonal_(torch.inf).argsort(1)[:, :10] for x in draws]
            for name, draws in vectors.whole.items()
        }
    }
    rows = rows_of(vectors, near, {"class": lambda q: label[q, None] == label}, 200, 0.95, 0)
    found = {row.vectors: row for row in rows}
    assert found[ROSETTA].mean == 1.0
    assert found["any other image"].mean == pytest.approx(49 / 199)
    assert found[RANDOM].low < 49 / 199 < found[RANDOM].high
    assert len(found[RANDOM].draws) == 3
    assert found[RANDOM].mean == pytest.approx(sum(found[RANDOM].draws) / 3)


def test_the_command(tmp_path: Path, driver: webdriver.Chrome, fashion_mnist: Path) -> None:
    done = retrieve(tmp_path, "hydra.run.dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run" / "precision.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["alike"] for row in rows} == {"class", "place", "size", "hue"}
    assert {row["vectors"] for row in rows if row["kind"] == "layout"} == {
        ROSETTA, RANDOM, PIXELS, "any other image",
    }  # fmt: skip
    assert all(0.0 <= float(row["low"]) <= float(row["mean"]) <= 1.0 for row in rows)
    page = tmp_path / "run" / "index.html"
    check_page(driver, page, tmp_path / "run", 2 * 5)  # a row for each kind of vectors
    check_links(driver)
    assert "ROSETTA NEURONS" in driver.find_element("css selector", "main").text.upper()


def test_images_of_which_nothing_is_known(tmp_path: Path) -> None:
    done = retrieve(tmp_path, f"images={STORED / 'photos'}", "nearest=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is known of these images" in done.stdout
    assert "Nothing is known" in (tmp_path / "run" / "index.html").read_text()


def test_too_few_images(tmp_path: Path) -> None:
    done = retrieve(tmp_path, f"images={STORED / 'photos'}", "nearest=2", "hydra.run.dir=run")
    assert done.returncode == 1
    assert "nearest=2: there are only 2 images.\nUse more" in done.stdout


def test_names_from_outside_are_text(tmp_path: Path, driver: webdriver.Chrome) -> None:
    page = retrieval_page(tmp_path)
    check_page(driver, page, tmp_path, 2 * 4)
    assert HOSTILE_MODEL in driver.find_element("css selector", "main").text
