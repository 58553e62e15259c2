"""What the page says of chance: for every match, for every model, and for the whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from commands import process
from page_fixtures import examples_for, scenes
from selenium import webdriver
from static_pages import check_page

from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.summary import summary_table


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RosettaDictionary, str]:
    dictionary = RosettaDictionary.load(EMBEDDED)
    path = write_page(
        dictionary, examples_for(dictionary, *scenes()), tmp_path_factory.mktemp("page")
    )
    return path, dictionary, " ".join(path.read_text(encoding="utf-8").split())


def test_every_match_has_its_evidence(shown: tuple[Path, RosettaDictionary, str]) -> None:
    _, dictionary, text = shown
    articles = re.findall(r'<article.*?id="neuron-(\d+)"(.*?)</article>', text)
    assert len(articles) == len(dictionary.candidates) > len(dictionary.neurons)
    for number, article in articles:  # by concept
        neuron = dictionary.candidates[int(number)]
        assert f"q&nbsp;{100 * neuron.q:.2g} %" in article, number
        for matches in neuron.matches.values():
            first = matches[0]
            assert f"content {first.r_centred:.2f}, position {first.r_position:.2f}" in article
            assert f"r {first.r_low:.2f} to {first.r_high:.2f}" in article
            assert f"shuffled {first.r_shuffled:.2f}, q&nbsp;{100 * first.q:.2g} %" in article


def test_what_is_matched_by_place_stands_apart(
    shown: tuple[Path, RosettaDictionary, str],
) -> None:
    _, dictionary, text = shown
    concepts, apart = text.split('<section aria-labelledby="matched-by-place-alone">', 1)
    assert f"{len(dictionary.position_only)} units of the reference model" in apart
    first = len(dictionary.neurons)
    for number in range(len(dictionary.candidates)):
        assert (f'id="neuron-{number}"' in concepts) == (number < first)


def test_chance_stands_beside_what_is_found(shown: tuple[Path, RosettaDictionary, str]) -> None:
    _, dictionary, text = shown
    null = dictionary.summary["null"]
    assert f"among shuffled images</span></dt><dd>{null['shuffled_rosetta_neurons']:g}</dd>" in text
    row = re.search(r'<th scope="row">mae_fashion</th>(.*?)</tr>', text)
    assert row is not None
    cells = re.findall("<td[^>]*>(.*?)</td>", row[1])
    assert cells[4] == str(null["accepted_best_buddies"]["mae_fashion"])
    assert cells[5] == f"{null['shuffled_best_buddies']['mae_fashion']:.0f}"
    for name, lowest in null["thresholds"].items():
        assert f"{name} {lowest:.2f}" in text
    outlines = re.findall(r'<polyline class="chance"', text)
    assert len(outlines) == len(dictionary.discriminative) + 1  # and in the growth
    assert len(re.findall(r'<polyline class="threshold"', text)) == len(dictionary.discriminative)
    share = dictionary.summary["stability"]["neurons"]
    assert f"have {100 * share:.0f}&nbsp;% of their Rosetta neurons in common" in text
    for name, share in dictionary.summary["stability"]["best_buddies"].items():
        assert f"{100 * share:.0f}&nbsp;% ({name})" in text


def test_the_printed_table_says_from_where_on_matches_are_accepted() -> None:
    dictionary = RosettaDictionary.load(EMBEDDED)
    null = dictionary.summary["null"]
    null["thresholds"]["clip_fashion"] = None  # where none is
    rows = {line.split()[0]: line.split() for line in summary_table(dictionary).splitlines()}
    assert rows["mae_fashion"][3:7] == [
        str(dictionary.summary["best_buddies"]["mae_fashion"]),
        str(null["accepted_best_buddies"]["mae_fashion"]),
        f"{null['shuffled_best_buddies']['mae_fashion']:.0f}",
        f"{null['thresholds']['mae_fashion']:.2f}",
    ]
    assert rows["clip_fashion"][6] == "-"


def test_the_printed_table_says_what_was_held_against_chance() -> None:
    dictionary = RosettaDictionary.load(EMBEDDED)

    def told(**config: object) -> str:
        dictionary.config = dictionary.config | config
        return summary_table(dictionary)

    usual = told()
    assert "The paper's rule alone finds 33, and 45 among shuffled images" in usual
    assert "6 are left out: they fire at the same places" in usual
    assert "CONTROL" not in usual and "Too few" not in usual and "Without a null" not in usual
    assert "A CONTROL: every model saw other images" in told(control="shuffled")
    centred = told(control=None, center="position")
    assert "Matching without position alone finds 33" in centred
    assert "paper" not in centred and "same places" not in centred
    dictionary.summary["best_buddies"]["mae_fashion"] = 19  # q is at least 1 / 19
    assert "chance at 0.05, however well they agree: mae_fashion. More draws=" in told()
    dictionary.summary["best_buddies"]["mae_fashion"] = 20
    assert "Too few" not in told()
    del dictionary.summary["null"]
    assert "Without a null: how many of these chance alone would find is not known." in told()


def test_it_loads_whole(
    driver: webdriver.Chrome, shown: tuple[Path, RosettaDictionary, str]
) -> None:
    path, dictionary, _ = shown
    rows = 1 + len(dictionary.discriminative) + 1
    images = rows * len(dictionary.candidates) + len(dictionary.concepts)
    check_page(driver, path, path.parent, images)


@pytest.mark.slow
def test_a_run_on_shuffled_images_finds_nothing(tmp_path: Path) -> None:
    """Targets among images shuffled in another way than the decoys."""
    done = process("mine", "control=shuffled", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = RosettaDictionary.load(tmp_path / "run")
    real = len(RosettaDictionary.load(EMBEDDED).neurons)
    assert len(found.candidates) > 20  # the paper's rule does find some
    assert len(found.neurons) <= 0.05 * real
    assert torch.tensor([m.r for n in found.candidates for m in n.matches["mae_fashion"]]).max() < 1
