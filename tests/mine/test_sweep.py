"""What a sweep of mining runs came to: a table, a page, and what its runs have in common."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from page_fixtures import HOSTILE, scenes, synthetic
from selenium import webdriver
from static_pages import check_links, check_page

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.sweep import CollectSweep

SIZES = {"5": 12, "1": 6, "10": 9}


def at_end(folder: Path) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}})


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep & #1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for number, (k, neurons) in enumerate(SIZES.items()):
        found, examples = synthetic(*scenes(), neurons=neurons)
        found.summary["null"] = {
            "max_fdr": 0.05, "candidates": neurons + 1, "shuffled_rosetta_neurons": 4.5,
            "shuffled_rosetta_neurons_accepted": 0.5,
        }  # fmt: skip
        run = folder / str(number)
        found.save(run)
        found.summary.pop("null")  # of which the page would show more than there is
        write_page(found, examples, run)
        (run / ".hydra").mkdir()
        words = [f"k={k}", "num_images=1600", f"hydra.run.dir={HOSTILE}"]
        OmegaConf.save(OmegaConf.create(words), run / ".hydra" / "overrides.yaml")
    torch.set_num_threads(threads)
    CollectSweep().on_multirun_end(at_end(folder))
    return folder


def test_the_table_has_a_row_for_every_run(swept: Path) -> None:
    with (swept / "sweep.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["run"] for row in rows] == ["k=5", "k=1", "k=10"]  # what differs, in order
    for place, row in enumerate(rows):
        found = RosettaDictionary.load(swept / str(place))
        assert float(row["Rosetta neurons"]) == len(found.neurons) == list(SIZES.values())[place]
        assert float(row["concepts"]) == len(found.concepts)
        assert float(row["by the paper's rule"]) == len(found.neurons) + 1
        assert float(row["among shuffled images"]) == 4.5 and row["halves agree"] == ""


def test_the_page_shows_concepts_and_counts(driver: webdriver.Chrome, swept: Path) -> None:
    concepts = sum(len(RosettaDictionary.load(swept / str(n)).concepts) for n in range(3))
    check_page(driver, swept / "index.html", swept, concepts)
    check_links(driver)
    text = driver.execute_script("return document.body.innerText")
    assert "k=10" in text and "num_images" not in text
    runs = [RosettaDictionary.load(swept / str(n)) for n in range(3)]
    units = [{neuron.unit for neuron in run.neurons} for run in runs]
    shared = driver.execute_script(
        "return [...document.querySelectorAll('.cell + text')].map((e) => e.textContent)"
    )
    expected = [str(len(one & two) or "·") for one in units for two in units]
    assert shared == expected
    lines = driver.execute_script(
        "return [...document.querySelectorAll('polyline.growth')].map((e) => e.points.length)"
    )
    assert lines == [3, 3]


def test_one_run_is_no_sweep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    CollectSweep().on_multirun_end(at_end(tmp_path))
    assert "Nothing to compare" in caplog.text and not list(tmp_path.iterdir())
