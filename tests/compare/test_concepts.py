"""Concepts of two dictionaries beside each other."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from commands import call
from PIL import Image
from selenium import webdriver
from static_pages import check_page

from rosetta_lab.compare.concepts import partners
from rosetta_lab.compare.dictionaries import compare_dictionaries
from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.schema import (
    Concept,
    Match,
    ModelCard,
    RosettaDictionary,
    RosettaNeuron,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.units import Layer, Unit

LAYERS = [Layer("low", 40, 8, 8), Layer("high", 60, 4, 4)]


def dictionary(
    *concepts: list[tuple[str, int]], models: tuple[str, ...] = ("vit", "cnn")
) -> RosettaDictionary:
    """Of concepts of one neuron each, with these units of all models alike."""
    cards = {name: ModelCard(name, {"sha256": name}, LAYERS) for name in models}
    neurons = [
        RosettaNeuron(
            Unit("conv", number),
            {name: [Match(layer, channel, 0.5) for layer, channel in units] for name in cards},
            0.5,
            number,
        )
        for number, units in enumerate(concepts)
    ]
    found = [Concept(number, [number], number, 0.5) for number in range(len(concepts))]
    reference = ModelCard("g", {"sha256": "g"}, [Layer("conv", 20, 8, 8)])
    return RosettaDictionary(reference, cards, neurons, found, seed=0, num_images=1, k=1)


LOW = [("low", channel) for channel in range(12)]
HIGH = [("high", channel) for channel in range(20)]


def test_a_planted_concept_is_found_and_others_stand_alone() -> None:
    first = dictionary(HIGH, LOW, HIGH[:3])
    second = dictionary([("low", 39)], [*LOW[:8], ("low", 30)], [("high", 59)])
    other, found, _ = partners(first, second)
    assert found == partners(first, second)[1]  # the same draws
    assert (found.concept, found.units, found.other, found.common) == (1, 24, 1, 16)
    assert found.shared and found.random < found.common / 2
    assert not other.shared and other.other is None and other.common == 0


def test_random_units_have_what_is_expected() -> None:
    """Of one concept: the mean of a hypergeometric distribution, layer by layer."""
    (found,) = partners(dictionary(LOW + HIGH), dictionary(LOW[6:] + HIGH[15:] + [("high", 50)]))
    expected = 2 * (12 * 6 / 40 + 20 * 6 / 60)
    assert found.random == pytest.approx(expected, abs=0.5)
    assert found.common == 2 * (6 + 5) and found.bound > expected


def test_chance_is_seldom_taken_for_more() -> None:
    """Where units are drawn at random, about one concept of twenty passes."""
    draw = random.Random(0)

    def units() -> list[tuple[str, int]]:
        return [("low", c) for c in draw.sample(range(40), 10)] + [
            ("high", c) for c in draw.sample(range(60), 15)
        ]

    first, second = (dictionary(*(units() for _ in range(60)), models=("vit",)) for _ in "ab")
    assert sum(one.shared for one in partners(first, second)) <= 8


def test_without_concepts() -> None:
    assert partners(dictionary(), dictionary(LOW)) == []
    (alone,) = partners(dictionary(LOW), dictionary())
    assert alone.other is None and not alone.shared


def test_the_page_in_a_browser(driver: webdriver.Chrome, tmp_path: Path) -> None:
    for name, found in {"one": dictionary(HIGH, LOW), "two": dictionary(LOW[:9])}.items():
        (tmp_path / name / "page").mkdir(parents=True)
        found.save(tmp_path / name)
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / "page" / f"neuron-{number}.webp")
    page = compare_dictionaries(tmp_path / "both", [str(tmp_path / n) for n in ("one", "two")])
    check_page(driver, page, tmp_path, images=2 + 1)  # one in both, one alone


@pytest.mark.slow
def test_the_page(tmp_path: Path) -> None:
    run = Path(shutil.copytree(EMBEDDED, tmp_path / "run"))
    (run / "page").mkdir()
    for number in range(40):
        Image.new("RGB", (8, 8)).save(run / "page" / f"neuron-{number}.webp")
    done = call("compare", "dictionaries=[run,run]", "hydra.run.dir=both", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "both" / "index.html").read_text()
    concepts = len(RosettaDictionary.load(run).concepts)
    assert len(re.findall(r"<h3>Concept \d+ of A, concept \d+ of B</h3>", page)) == concepts
    pictures = set(re.findall(r'src="([^"]+)"', page))
    assert len(pictures) == 2 * concepts > 0
    assert all((tmp_path / "both" / picture).is_file() for picture in pictures)
    assert "random" in page and "Content-Security-Policy" in page
    one = call("compare", "dictionaries=[run]", "hydra.run.dir=one", cwd=tmp_path)
    assert one.returncode == 1 and "expected two run folders" in one.stderr + one.stdout


def test_other_models_are_not_compared() -> None:
    first, other, none = dictionary(LOW), dictionary(LOW), dictionary(LOW)
    other.discriminative["vit"].weights["sha256"] = "another"
    none.discriminative = {"mae": none.discriminative["vit"]}
    with pytest.raises(RosettaError, match=r"vit: .* different layers or weights"):
        partners(first, other)
    with pytest.raises(RosettaError, match="no discriminative model in common"):
        partners(first, none)
