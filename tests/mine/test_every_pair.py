"""``reference=all`` against tables and cliques by brute force."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest
import torch
from given import command, photos, run
from reference import brute_force_buddies, pooled_correlation
from safetensors.torch import load_file
from toy import ToyModel

from rosetta_lab.data.images import ImageFolder
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine.pairs import ring

MODELS = {"a": ToyModel(), "b": ToyModel(5, seed=2), "c": ToyModel(7, seed=3)}
Node = tuple[str, int]


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    photos(folder / "photos", 120)
    return run(folder, "run", f"data={folder / 'photos'}", "reference=all", "max_fdr=1")


def buddies(one: str, other: str, folder: Path) -> set[tuple[int, int]]:
    """Of two models that may be the same, K=2, from activations that are really upsampled."""
    images = torch.stack([target.image for target in ImageFolder(folder, 12)])
    with torch.no_grad():
        maps = {
            name: list(MODELS[name].maps(images, ["copy", "mix"]).values()) for name in (one, other)
        }
    table = pooled_correlation(maps[one], maps[other])
    dead = {
        name: [not x.std() > 1e-12 for m in maps[name] for x in m.transpose(0, 1).flatten(1)]
        for name in maps
    }
    table[dead[one]] = -torch.inf
    table[:, dead[other]] = -torch.inf
    if one == other:
        table[range(len(table)), range(len(table))] = -torch.inf
    found = brute_force_buddies(table, 2, 2)
    return {(a, b) for a, b in found if table[a, b] > -torch.inf}


def graph(folder: Path) -> networkx.Graph:
    found = networkx.Graph()
    for one, other in itertools.combinations_with_replacement(MODELS, 2):
        for a, b in buddies(one, other, folder):
            found.add_edge((one, a), (other, b))
    return found


def spans_all(clique: frozenset[Node]) -> bool:
    return {name for name, _ in clique} == set(MODELS)


def test_every_pair_is_matched_as_by_brute_force(mined: Path) -> None:
    stored = load_file(mined / "pairs.safetensors")
    for one, other in itertools.combinations(MODELS, 2):
        pairs = set(map(tuple, stored[f"{one}/{other}/pairs"].tolist()))
        assert pairs == buddies(one, other, mined.parent / "photos")
        assert stored[f"{one}/{other}/accepted"].all()  # max_fdr=1


def test_concepts_are_maximal_cliques_of_all_models(mined: Path) -> None:
    of = graph(mined.parent / "photos")
    every = {frozenset(clique) for clique in networkx.find_cliques(of)}
    whole = [clique for clique in every if spans_all(clique)]
    assert len(whole) > 2  # or nothing would be shown
    dictionary = RosettaDictionary.load(mined)
    record = json.loads((mined / "dictionary.json").read_text())["summary"]
    assert record["cliques"]["3"] == len(whole)
    assert record["cliques"]["2"] == sum(len({n for n, _ in c}) == 2 for c in every)
    own = {unit for clique in whole for name, unit in clique if name == "a"}
    number = dictionary.reference.units.number
    assert {number(neuron.unit) for neuron in dictionary.neurons} == own
    assert len(dictionary.neurons) == len(own)
    for concept in dictionary.concepts:
        neurons = [dictionary.neurons[n] for n in concept.neurons]
        clique = set()
        for neuron in neurons:
            clique |= {("a", number(neuron.unit))}
            for name, matches in neuron.matches.items():
                units = dictionary.discriminative[name].units
                clique |= {(name, units.number(match.unit)) for match in matches}
        assert any(clique <= other for other in whole)
        # Every one of its neurons has no stronger clique.
        for neuron in neurons:
            unit = ("a", number(neuron.unit))
            best = max(score(unit, c, mined) for c in whole if unit in c)
            assert neuron.score == pytest.approx(best, abs=2e-6)


def score(unit: Node, clique: frozenset[Node], run: Path) -> float:
    """Mean over the other models of a unit's best r with their units in a clique."""
    tables = run / "correlation"
    rows = {  # in a ring of three each is the reference of the next
        "b": load_file(tables / "a" / "b.safetensors")["r"][unit[1]],
        "c": load_file(tables / "c" / "a.safetensors")["r"][:, unit[1]],
    }
    best = [max(float(rows[name][u]) for n, u in clique if n == name) for name in rows]
    return sum(best) / len(best)


def cells(run: Path) -> Iterator[frozenset[tuple[str, str]]]:
    with (run / "cliques.csv").open() as stream:
        for row in csv.DictReader(stream):
            yield frozenset((n, unit) for n in MODELS for unit in row[n].split())


def test_the_list_has_every_clique_of_three_models(mined: Path) -> None:
    of = graph(mined.parent / "photos")
    index = RosettaDictionary.load(mined)
    units = {"a": index.reference.units} | {n: c.units for n, c in index.discriminative.items()}
    expected = {
        frozenset((n, "/".join(map(str, units[n][u]))) for n, u in clique)
        for clique in map(frozenset, networkx.find_cliques(of))
        if spans_all(clique)
    }
    assert set(cells(mined)) == expected


def test_the_page_tells_of_cliques(mined: Path) -> None:
    counts = json.loads((mined / "dictionary.json").read_text())["summary"]["cliques"]
    page = (mined / "index.html").read_text()
    assert f'<th scope="row">3</th><td data-head="Cliques">{counts["3"]}</td>' in page
    assert "every model was the reference in turn" in page


@pytest.mark.parametrize("count", range(2, 9))
def test_in_a_ring_every_pair_meets(count: int) -> None:
    names = [str(number) for number in range(count)]
    met = {frozenset((name, other)) for i, name in enumerate(names) for other in ring(names, i)}
    assert met == {frozenset(pair) for pair in itertools.combinations(names, 2)}


def test_shuffled_images_have_no_cliques(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 120)
    done = command(tmp_path, f"data={folder}", "reference=all", "control=shuffled", "k=1")
    assert done.returncode == 0, done.stderr
    assert "0 Rosetta neurons in 0 concepts" in done.stdout


@pytest.mark.slow
def test_processes_find_the_same_cliques(mined: Path, tmp_path: Path) -> None:
    share = ["trainer.devices=2", "trainer.strategy=ddp", "batch_size=4"]
    where = f"data={mined.parent / 'photos'}"
    two = run(tmp_path, "two", where, "reference=all", "max_fdr=1", *share, within=False)
    assert (two / "cliques.csv").read_text() == (mined / "cliques.csv").read_text()
