"""Names of concepts: words, what meaningless words do, whether names are right, the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from commands import call
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from selenium import webdriver
from static_pages import check_page

from rosetta_lab.data.fashion.captions import COLOURS, GARMENTS, facts
from rosetta_lab.data.fashion.scenes import FashionScenes
from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.names import load_names
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.invert.problem import TargetBatches
from rosetta_lab.models.text import TextImageModel
from rosetta_lab.name.heat import Shown, channels_of, halves, strongest, weighted
from rosetta_lab.name.known import checks, known_facts
from rosetta_lab.name.naming import Namer, names_of
from rosetta_lab.name.words import load_vocabulary, nonsense
from rosetta_lab.run import app  # noqa: F401  what the configs refer to

QUICK = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "hydra.run.dir=run")


@pytest.fixture(scope="module")
def text() -> TextImageModel:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        found: TextImageModel = instantiate(compose("name").text)
    return found


@pytest.fixture(scope="module")
def planted(fashion_mnist: Path) -> Shown:
    """400 scenes; the first concept fires on red garments, the second on trousers, the third on
    what it likes, all of them over the whole picture."""
    batches = TargetBatches(FashionTargets(64, 40, root=fashion_mnist), 60)
    seen = [batches[place] for place in range(len(batches))]
    known = known_facts(seen)
    source = torch.Generator().manual_seed(0)
    fires = torch.stack(
        [
            torch.tensor([one.colour == "red" for one in known]).float(),
            torch.tensor([one.garment == "pair of trousers" for one in known]).float(),
            torch.rand(len(known), generator=source),
        ],
        dim=1,
    )
    return Shown(
        torch.cat([b.images for b in seen]), fires[..., None, None].expand(-1, -1, 4, 4), seen
    )


def test_words_of_scenes_are_those_that_are_true_of_them(
    text: TextImageModel, fashion_mnist: Path
) -> None:
    vocabulary = load_vocabulary("fashion", text)
    assert len(vocabulary.words) == len(set(vocabulary.words)) == 10 + 8 + 3 + 9
    scenes = FashionScenes("test", root=fashion_mnist).scenes(range(200))
    near = text.of_images(scenes.image) @ text.of_words(vocabulary.captions).t()
    for kind, known, least in (("colour", COLOURS, 0.9), ("garment", GARMENTS, 0.7)):
        places = vocabulary.of_kind(kind)
        assert [vocabulary.words[place] for place in places] == list(known)
        guesses = [known[i] for i in near[:, places].argmax(dim=1).tolist()]
        right = [g == getattr(f, kind) for g, f in zip(guesses, facts(scenes), strict=True)]
        assert sum(right) / len(right) > least


def test_meaningless_words_are_as_long_and_leave_nothing_behind(text: TextImageModel) -> None:
    before = text.of_words([["something red"], ["a bag"]])
    read = [["something red"], ["a small pink ankle boot"], ["a bag"]]
    lists = nonsense(text, read, 3, seed=0)
    assert lists.shape == (3, 3, 64)
    torch.testing.assert_close(lists.norm(dim=2), torch.ones(3, 3))
    assert torch.equal(lists, nonsense(text, read, 3, seed=0))
    assert float((lists[0] * lists[1]).sum(dim=1).max()) < 0.99  # others each time
    assert torch.equal(text.of_words([["something red"], ["a bag"]]), before)


def test_planted_concepts_get_their_names(text: TextImageModel, planted: Shown) -> None:
    vocabulary = load_vocabulary("fashion", text)
    namer = Namer(planted, text, vocabulary, nonsense(text, vocabulary.captions, 99, 0))
    own, others = halves(len(planted.images))
    scored = {"strongest": namer.strongest(10, own), "shuffled": namer.at_random(10)}
    names = names_of(scored["strongest"].named(), vocabulary, 0.05)
    assert [name.word for name in names[:2]] == ["red", "pair of trousers"]
    assert names[1].name == "pair of trousers" and names[2].name is None
    assert names[0].score > 1.0 and names[0].chance < 0.2
    shuffled = names_of(scored["shuffled"].named(), vocabulary, 0.05)
    assert sum(name.name is not None for name in shuffled) <= 1
    checked = {
        (one.kind, one.crops): one for one in checks(planted, scored, vocabulary, others, 10, 0.05)
    }
    best = checked["any", "strongest"]
    assert best.concepts == 3 and best.right == best.named >= 1
    assert best.share > 0.9 and best.base == pytest.approx(0.1, abs=0.05)
    assert checked["colour", "strongest"].right >= 1
    assert checked["garment", "strongest"].right >= 1


def test_pictures_fade_where_there_is_no_heat() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    heat = torch.zeros(2, 8, 8)
    heat[:, 2:4, 2:4] = 5.0
    found = weighted(images, heat)
    assert torch.equal(found[..., 2:4, 2:4], images[..., 2:4, 2:4])
    mean = images.mean(dim=(2, 3))
    torch.testing.assert_close(found[..., 7, 7], 0.5 * mean + 0.5 * images[..., 7, 7])
    flat = weighted(images, torch.ones(2, 8, 8))
    assert torch.equal(flat, images)
    order = strongest(torch.arange(6.0)[:, None, None, None].expand(6, 2, 2, 2), 2, [0, 2, 4])
    assert order.tolist() == [[4, 2], [4, 2]]


def test_every_match_of_a_concept_counts_once() -> None:
    dictionary = RosettaDictionary.load(EMBEDDED)
    for name in dictionary.discriminative:
        found = channels_of(dictionary, name)
        for place, concept in enumerate(dictionary.concepts):
            units = {dictionary.neurons[n].matches[name][0].unit for n in concept.neurons}
            own = {(layer, c) for layer, all_ in found.items() for c in all_[place]}
            assert own == set(map(tuple, units))


def test_vocabularies_that_cannot_be_read(text: TextImageModel, tmp_path: Path) -> None:
    with pytest.raises(RosettaError, match=r"no such file.\n.*one word or phrase a line"):
        load_vocabulary(str(tmp_path / "words.txt"), text)
    path = tmp_path / "words.txt"
    path.write_text("red\n\nred\n")
    with pytest.raises(RosettaError, match="1 words, expected 2 to"):
        load_vocabulary(str(path), text)
    path.write_text("red\nvelvet\n")
    words = load_vocabulary(str(path), text)
    assert words.words == ["red", "velvet"] and words.captions[0][1] == "a red"
    with pytest.raises(RosettaError, match=r"velvet' cannot be read.*\nUse words"):
        text.of_words(words.captions)


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, fashion_mnist: Path) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("name")
    done = call("name", "data.per_class=3", "crops=4", "lists=19", *QUICK, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run", done.stdout


def test_the_embedded_dictionary_is_named(run: tuple[Path, str]) -> None:
    folder, said = run
    dictionary = RosettaDictionary.load(EMBEDDED)
    names = load_names(folder, dictionary)
    assert set(names) == set(range(len(dictionary.concepts)))
    assert not (EMBEDDED / "names.json").exists()  # what comes along stays as it is
    with (folder / "names.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["word"] for row in rows] == [name.word for name in names.values()]
    record = json.loads((folder / "results.json").read_text())
    kinds = {(one["kind"], one["crops"]) for one in record["checked"]}
    assert len(kinds) == 2 * 5 and "concepts have a name" in said
    for name in names.values():
        assert (name.name is None) == (name.chance > 0.05)


def test_its_page_searches_by_name(run: tuple[Path, str], driver: webdriver.Chrome) -> None:
    folder, _ = run
    concepts = json.loads((folder / "names.json").read_text())["concepts"]
    check_page(driver, folder / "index.html", folder, len(concepts))
    word = concepts[0]["word"]
    box = driver.find_element("name", "q")
    box.send_keys(word)
    left = driver.execute_script(
        "return [...document.querySelectorAll('.card:not([hidden])')].map((card) => card.id)"
    )
    expected = [
        f"concept-{one['concept']}"
        for one in concepts
        if all(part in f"{one['word']} {one['runner_up']}" for part in word.split())
    ]
    assert left == expected and f"concept-{concepts[0]['concept']}" in left
    box.send_keys(" nosuchword")
    assert driver.find_element("id", "status").text.startswith("0 of ")


@pytest.mark.slow
def test_words_and_images_of_ones_own(tmp_path: Path) -> None:
    photos = Path(__file__).parents[1] / "stored" / "photos"
    (tmp_path / "words.txt").write_text("red\nbag\nshirt\n")
    how = (f"images={photos}", "vocabulary=words.txt", "crops=1", "lists=3", "logger=[]")
    done = call("name", *how, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["checked"] == []
