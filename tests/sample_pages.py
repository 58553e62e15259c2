"""A page of every kind, of things that never ran and whose names mean harm."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from inversion_fixtures import HOSTILE_ID, config, write_results, write_run
from omegaconf import OmegaConf
from page_fixtures import HOSTILE, HOSTILE_MODEL, cards, scenes, synthetic

from rosetta_lab.ablate.losses import SCALE
from rosetta_lab.ablate.page import write_ablation
from rosetta_lab.ablate.results import rows_of
from rosetta_lab.ablate.tables import write_tables
from rosetta_lab.ablate.units import ARMS, MATCHED, RANDOM, ROSETTA, Chosen
from rosetta_lab.api.images import Pictures
from rosetta_lab.compare.report import compare_runs
from rosetta_lab.data.grouping import Grouping
from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.diff.coverage import Coverage
from rosetta_lab.diff.page import write_difference
from rosetta_lab.diff.run import Difference, Telling
from rosetta_lab.edit.arms import EditArm, EditRun
from rosetta_lab.edit.edits import Shift
from rosetta_lab.edit.page.index import write_edits
from rosetta_lab.functional.alignment import Alignment
from rosetta_lab.functional.matching import Neighbours
from rosetta_lab.invert.page.index import write_inversions
from rosetta_lab.invert.sources import Sources
from rosetta_lab.mine.page.examples import Examples
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.pairs import EveryPair
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.units import Layer, UnitIndex
from rosetta_lab.retrieve.page import write_retrieval
from rosetta_lab.retrieve.results import Row
from rosetta_lab.retrieve.vectors import RANDOM as DRAWN
from rosetta_lab.retrieve.vectors import ROSETTA as RETRIEVED
from rosetta_lab.visualize.page.atlas import write_index, write_view
from rosetta_lab.visualize.view import Approach, Seen, Subject, View, choose, rows

HOSTILE_CLASS = "{{ 7 * 7 }}</option></style><svg onload=alert(3)>"
HOSTILE_VALUE = """' onfocus='alert(4)' "<iframe src=javascript:alert(5)>"""
IDS = [HOSTILE_ID, "seed_1"]


def hostile_dictionary() -> tuple[RosettaDictionary, Examples]:
    """Layers, models, captions, classes and values of the configuration are hostile."""
    made, examples = synthetic(*scenes())
    made.config["gen"]["class_names"] = [HOSTILE_CLASS, "bag", "coat"]
    made.config[HOSTILE_VALUE] = [HOSTILE_VALUE]
    made.created = made.rosetta_lab = HOSTILE_VALUE
    return made, examples


def dictionary_page(folder: Path) -> Path:
    """The dictionary itself."""
    return write_page(*hostile_dictionary(), folder)


def inversions_page(folder: Path) -> Path:
    """Two images, and one without a result."""
    figures = {"psnr": 20.0, HOSTILE_VALUE: 1.0}
    results = write_results(folder, IDS, lambda place: figures)
    cfg = config(space=HOSTILE_VALUE, matches=[HOSTILE_MODEL], note=HOSTILE)
    known, missing = hostile_dictionary()[0], {HOSTILE_CLASS: HOSTILE_VALUE}
    return write_inversions(folder, results, list(results.records(IDS)), cfg, known, missing)


def comparison_page(folder: Path) -> Path:
    """Four runs, whose names are what their command lines chose."""

    def quoted(value: str) -> str:
        return "'" + value.replace("'", "\\'") + "'"

    for number in range(4):
        matches, start = ("none", HOSTILE)[number // 2], ("mean", HOSTILE_MODEL)[number % 2]
        words = [f"matches={quoted(matches)}", f"start={quoted(start)}"]

        def figures(place: int, up: int = number) -> dict[str, float]:
            return {"psnr": 20.0 + place * up, HOSTILE_VALUE: 0.1 * place}

        run = folder / "runs" / str(number)
        write_run(run, [*IDS, "coat"], figures, words, matches=matches, start=start)
    compare_runs(folder, [folder / "runs"], reference={HOSTILE_CLASS: {"psnr": 9.0}}, resamples=20)
    return folder / "index.html"


def edit_run() -> EditRun:
    """Two images, three ways to edit, two units with maps of different sizes."""
    random = torch.Generator().manual_seed(0)

    def noise(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=random)

    before, pictures = noise(2, 3, 16, 16), noise(2, 3, 16, 16)
    run = EditRun(Shift(), Sources(IDS, noise(2, 4), None, pictures), before, before)
    for name in ("rosetta", "random units", "activations"):
        searched = name != "activations"
        run.arms[name] = EditArm(
            noise(2, 3, 16, 16),
            noise(2, 4) if searched else None,
            {"activation": noise(2, 20), "total": noise(2, 20)} if searched else {},
            [noise(2, 3, 16, 16) for _ in range(4)] if searched else [],
            [{"moved_share": 0.75, "hue_change": float("nan")}, {"moved_share": 0.25}],
        )
    for size in (4, 16):
        maps = [noise(2, size, size) for _ in range(3)]
        run.maps.append((f"{HOSTILE} · {size}", maps[0], maps[1], maps[2]))
    return run


def edit_page(folder: Path) -> Path:
    """The edit of :func:`edit_run`."""
    run = edit_run()
    run.save(folder)
    generator, models = cards(1, "embedded", 0)
    known = RosettaDictionary(generator, models, [], [], seed=0, num_images=8, k=1)
    cfg = {
        "edit": {"zoom": {"factor": 1.5}, "copy_paste": {"dx": 0.25}},
        "steps": 20,
        "origin": "generator",
        "concepts": [0, 3],
        "neurons": None,
        "layers": [HOSTILE],
        "dictionary": HOSTILE_VALUE,
    }
    return write_edits(folder, run, OmegaConf.create(cfg), known)


def atlas_pages(folder: Path) -> tuple[RosettaDictionary, list[Subject]]:
    """Pages of two concepts, and their index."""
    known, examples = hostile_dictionary()
    known.config["gen"]["class_names"] = [HOSTILE_CLASS, "bag"]
    subjects = choose(known, "all", None)[1:3]
    for subject in subjects:
        target, found, most, least = (
            Seen(
                [f"{number} {HOSTILE}" for number in some],
                examples.images[some],
                {key: examples.maps[key][some] for key in rows(known, subject.neurons)},
            )
            for some in ([0], [1, 2, 3], [4, 5, 6, 7], [8, 9, 1, 2])
        )
        curves = {"activation": torch.rand(3, 10), "total": torch.rand(3, 10)}
        way = Approach(
            examples.images[[4, 5, 6]],
            torch.zeros(3, 4),
            None,
            curves,
            torch.tensor([[0.1, 0.8]] * 3),
        )
        profile = {0: 2.0, 1: -1.0, 7: 0.5}
        view = View(subject, target, list("abc"), way, found, most, least, profile)
        cfg = OmegaConf.create({"images": 400, "dictionary": HOSTILE_VALUE})
        assert write_view(folder, view, cfg, known, subjects).name == f"{subject.name}.html"
    assert write_index(folder, subjects, known, 4) == folder / "index.html"
    return known, subjects


def concept_page(folder: Path) -> Path:
    """A concept of an atlas."""
    atlas_pages(folder)
    return folder / "concept_1.html"


def atlas_index(folder: Path) -> Path:
    """The index of an atlas."""
    atlas_pages(folder)
    return folder / "index.html"


def ablation_page(folder: Path) -> Path:
    """Two models and two images, of units and figures that nobody measured."""
    index = UnitIndex([Layer(HOSTILE, 4, 8, 8)])
    arms = {arm: [torch.tensor([unit])] * 2 for unit, arm in enumerate(ARMS)}
    chosen = Chosen(index, torch.arange(4.0), torch.ones(4), {**arms, ROSETTA: arms[ROSETTA][:1]})
    noise = torch.rand(2, 20, generator=torch.Generator().manual_seed(0))
    lost = {ROSETTA: noise[:1], MATCHED: noise, RANDOM: -noise}
    generator, models = cards(1, "embedded", 0)
    rows = rows_of(HOSTILE_MODEL, chosen, {"accuracy": {**lost, SCALE: noise[:1]}}, 20)
    unseen = {arm: values * math.nan for arm, values in lost.items()}  # no image shows it
    figures = {HOSTILE_CLASS: lost, "hue": lost, "garment": unseen}
    rows += rows_of(generator.name, chosen, figures, 20)
    write_tables(folder, rows, {HOSTILE_MODEL: chosen})
    pictures = {arm: torch.rand(2, 3, 16, 16) for arm in ("intact", *ARMS)}
    cfg = {
        "draws": 2,
        "match": "mean",
        "level": 0.9,
        "resamples": 20,
        "latents": 20,
        "dictionary": HOSTILE_VALUE,
    }
    known = RosettaDictionary(generator, models, [], [], seed=0, num_images=8, k=1)
    return write_ablation(
        folder, rows, {HOSTILE_MODEL: chosen}, pictures, OmegaConf.create(cfg), known
    )


def difference_page(folder: Path) -> Path:
    """Two models of one layer and two units each, whose names and factors mean harm."""
    names = [HOSTILE_MODEL, HOSTILE_CLASS]
    index = {name: UnitIndex([Layer(HOSTILE, 2, 4, 4)]) for name in names}
    nobody, all_of = torch.zeros(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool)
    own = Neighbours(torch.tensor([[1], [0]]), torch.tensor([[1], [0]]), torch.zeros(2, 1), {})
    result = MiningResult({}, own, {})
    pairs = [(names[0], names[1]), (names[1], names[0])]
    values = (torch.tensor([math.nan, 0.5]), torch.tensor([1, 0]), torch.tensor([0.1, 0.2]))
    coverage = {
        (a, b): Coverage(a, b, all_of, nobody, *values, torch.tensor([1.0, 0.3]), 0.0)
        for a, b in pairs
    }
    aligned = {HOSTILE_VALUE: {(names[0], names[1]): Alignment(0.5, 0.1, 0.2, 0.01, 0.4)}}
    told = {HOSTILE_CLASS: {name: torch.tensor([0.1, 0.2]) for name in names}}
    telling = {HOSTILE_CLASS: dict.fromkeys(pairs, Telling(0.1, math.nan, 0.5, 0.5, 0.01))}
    every = EveryPair(dict.fromkeys(names, result), Grouping(8, 1), index, OmegaConf.create())
    found = Difference(index, every, coverage, aligned, told, telling, 8)
    noise = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = {(name, unit): noise[:, unit] for name in names for unit in (0, 1)}
    cfg = {"k": 1, "max_fdr": 0.05, "shown": 4, "permutations": 9, "neighbours": 2}
    return write_difference(
        folder, found, noise, maps, OmegaConf.create({**cfg, HOSTILE_VALUE: HOSTILE_VALUE})
    )


def retrieval_page(folder: Path) -> Path:
    """Eight images whose names, and what they are found by, mean harm."""
    noise = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    near = [torch.tensor([[n for n in range(8) if n != i] for i in range(8)])]
    ways = {
        "image": {RETRIEVED: near, f"output of {HOSTILE_MODEL}": near},
        "layout": {RETRIEVED: near, DRAWN: near},
    }
    rows = [
        Row(kind, name, 3, HOSTILE_CLASS, 0.5, 0.4, 0.6)
        for kind, of_kind in ways.items()
        for name in of_kind
    ]
    pictures = Pictures(noise)
    pictures.ids = [f"{number} {HOSTILE_VALUE}" for number in range(8)]
    cfg = {"seed": 0, "shown": 2, "nearest": 7, "cells": 2, "level": 0.9, "resamples": 20}
    cfg |= {"draws": 1, "note": HOSTILE_VALUE}
    inputs = GivenImages(pictures, 8)
    return write_retrieval(folder, inputs, ways, rows, 3, OmegaConf.create(cfg))


PAGES: list[Callable[[Path], Path]] = [
    dictionary_page, inversions_page, comparison_page, edit_page, concept_page, atlas_index,
    ablation_page, difference_page, retrieval_page,
]  # fmt: skip
