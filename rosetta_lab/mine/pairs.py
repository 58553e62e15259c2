"""Every pair of models: ``reference=all``. Each model is the reference of some of the others.

Two units of different models are joined where they are best buddies that pass the null, two of one
model where they are best buddies within it. A *clique* is a set of units that are all joined with
each other, and to which no other unit could be added: every unit of it agrees with every other one,
not just with a reference's. A concept is a clique with one unit or more of every model.

Cliques overlap. A dictionary has a neuron for every unit of its first model that is in one: of the
cliques that it is in, the strongest, by the mean r of the unit's own pairs in it, is its concept.
``cliques.csv`` lists all that hold units of three models or more, ``pairs.safetensors`` the best
buddies of every pair.

What it costs: a unit has at most K joints per model, so that whether it is in a clique is seen from
at most K^(models - 1) tuples of units; the list ends with an error after a million steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import lightning as L
import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.data.inputs import Inputs
from rosetta_lab.dictionary.build import Clique
from rosetta_lab.dictionary.evidence import Found, Judged, judge, mean_of_best
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import save_tensors, write_csv
from rosetta_lab.functional.cliques import Graph, maximal_cliques, spans
from rosetta_lab.functional.evidence import q_values
from rosetta_lab.functional.matching import BestBuddies, best_buddies
from rosetta_lab.metrics.matching import Matching
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.passes import mine
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.mine.sums import groups_of
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer, UnitIndex
from rosetta_lab.run.configs import plain

Pair = tuple[str, str]


@dataclass
class EveryPair:
    """What every pair of models matches, and the units that a model matches in itself.

    Attributes:
        results: by the model that was the reference, of some of the others.
        grouping: of the images, the same for all.
        units: of every model, in order; the first one's are a dictionary's.
        cfg: of the run.
    """

    results: dict[str, MiningResult]
    grouping: Grouping
    units: dict[str, UnitIndex]
    cfg: DictConfig

    @property
    def first(self) -> MiningResult:
        """Of the first model as the reference, with every model's statistics."""
        first, *others = self.results.values()
        statistics = {k: v for one in (first, *others) for k, v in one.statistics.items()}
        return replace(first, statistics=statistics)

    def pairs(self, part: str | None = None) -> dict[Pair, Judged]:
        """The judged best buddies of every pair, the earlier model's units first."""
        names, cfg = list(self.units), self.cfg
        found: dict[Pair, Judged] = {}
        for reference, result in self.results.items():
            matchings: Mapping[str, Matching] = result.parts[part] if part else result.matchings
            for name, matching in matchings.items():
                judged = judge(matching, cfg.k_disc, cfg.k_gen, cfg.max_fdr)
                if names.index(reference) < names.index(name):
                    found.setdefault((reference, name), judged)
                else:
                    found.setdefault((name, reference), transposed(judged))
        return {pair: found[pair] for pair in combinations(names, 2)}

    def numbers(self) -> dict[str, range]:
        """Nodes of a graph of all models' units, by model."""
        start, found = 0, {}
        for name, index in self.units.items():
            found[name] = range(start, start + len(index))
            start += len(index)
        return found

    def graph(self, buddies: Mapping[Pair, BestBuddies], own: bool = False) -> Graph:
        """Units that are joined, numbered on from model to model.

        Args:
            buddies: of every pair of models.
            own: join units of one model, too.
        """
        graph: dict[int, set[int]] = {n: set() for span in self.numbers().values() for n in span}
        first = {name: span.start for name, span in self.numbers().items()}
        joints = [(first[a], first[b], found.pairs) for (a, b), found in buddies.items()]
        if own:
            k = self.cfg.k_gen
            within = {name: best_buddies(one.own, k, k) for name, one in self.results.items()}
            joints += [(first[name], first[name], found.pairs) for name, found in within.items()]
        for a, b, pairs in joints:
            for one, other in pairs.tolist():
                graph[a + one].add(b + other)
                graph[b + other].add(a + one)
        return graph

    def found(self, part: str | None = None) -> Found:
        """The first model's units that are in a clique with a unit of every model.

        Within a model any units may be joined or not: where there is such a clique, one with a
        single unit of every model is in it.
        """
        pairs, (first, *others) = self.pairs(part), self.units
        numbers = self.numbers()
        rest = [set(numbers[name]) for name in others]

        def spanned(of: Callable[[Judged], BestBuddies]) -> list[int]:
            graph = self.graph({pair: of(judged) for pair, judged in pairs.items()})
            return [unit for unit in numbers[first] if graph[unit] and spans(graph, unit, rest)]

        own = {name: pairs[first, name] for name in others}
        draws = range(min(len(judged.decoys) for judged in pairs.values()))
        candidates = spanned(lambda judged: judged.buddies)
        decoys = [spanned(lambda judged, d=d: judged.decoys[d]) for d in draws]  # type: ignore[misc]
        passing = [
            spanned(lambda judged, d=d: judged.passing(judged.decoys[d]))  # type: ignore[misc]
            for d in draws
        ]
        q: dict[int, float] = {}
        if draws and candidates:
            scores = mean_of_best([judged.buddies for judged in own.values()], candidates)
            chance = [
                mean_of_best([judged.decoys[d] for judged in own.values()], units)
                for d, units in zip(draws, decoys, strict=True)
            ]
            q = dict(zip(candidates, q_values(scores, chance).tolist(), strict=True))
        rosetta = spanned(lambda judged: judged.accepted)
        return Found(own, candidates, rosetta, q, decoys, passing, self.cfg.max_fdr)

    def cliques(self) -> list[Clique]:
        """All cliques of accepted best buddies of several models, as units by model."""
        graph = self.graph({pair: one.accepted for pair, one in self.pairs().items()}, own=True)
        found = []
        for clique in maximal_cliques(graph):
            units = {
                name: [node - span.start for node in clique if node in span]
                for name, span in self.numbers().items()
            }
            found.append({name: own for name, own in units.items() if own})
        return [clique for clique in found if len(clique) > 1]


def mine_pairs(
    cfg: DictConfig,
    observer: Observer,
    inputs: Inputs,
    trainer: L.Trainer,
    shapes: Mapping[str, list[Layer]],
    tables: Path | None = None,
) -> EveryPair | None:
    """Mine with every model as the reference of the next ones in turn; see :func:`mine`.

    Raises:
        RosettaError: the config asks for what needs one reference.
    """
    if cfg.k_gen != cfg.k_disc or cfg.control == "untrained":
        raise RosettaError(
            "reference=all: every model is the reference in turn, so that there is one k, and none "
            "that stays trained.\nLeave out k_gen, k_disc and control=untrained, or name a "
            "reference."
        )
    names = list(observer.models)
    rounds = {name: ring(names, place) for place, name in enumerate(names)}
    evidence = Evidence.of(cfg)
    groupings = [
        evidence.grouping(
            len(inputs), len(inputs.classes), groups_of({n: shapes[n] for n in (own, *others)})
        )
        for own, others in rounds.items()
    ]
    cfg = cfg.copy()
    cfg.draws = min(one.draws for one in groupings) - evidence.spare or None
    cfg.blocks = min(one.blocks for one in groupings)
    results: dict[str, MiningResult] = {}
    every = True
    for own, others in rounds.items():
        part = cfg.copy()
        with open_dict(part):
            part.disc = {name: plain(cfg.disc[name]) for name in (own, *others)}
        part.reference = own
        models = {name: observer.models[name] for name in (own, *others)}
        seen = Observer(observer.source, models, own)  # type: ignore[arg-type]
        result, module = mine(part, seen, inputs, trainer, tables and tables / own)
        if result is None:
            every = False
        else:
            results[own] = result
    if not every:
        return None
    return EveryPair(results, module.grouping, {n: UnitIndex(shapes[n]) for n in names}, cfg)


def ring(names: Sequence[str], place: int) -> list[str]:
    """The next half of the models in a ring: with all as references, every pair meets."""
    return [names[(place + step) % len(names)] for step in range(1, len(names) // 2 + 1)]


def transposed(judged: Judged) -> Judged:
    """The same best buddies, columns as rows."""

    def turn(found: BestBuddies) -> tuple[BestBuddies, Tensor]:
        pairs = found.pairs.flip(1)
        order = torch.tensor(sorted(range(len(pairs)), key=lambda n: tuple(pairs[n].tolist())))
        order = order.long()
        scores = {name: values[order] for name, values in found.scores.items()}
        return BestBuddies(pairs[order], found.least_k[order], scores), order

    buddies, order = turn(judged.buddies)
    return Judged(
        buddies,
        [turn(draw)[0] for draw in judged.decoys],
        None if judged.q is None else judged.q[order],
        judged.kept[order],
        judged.threshold,
    )


def spanning(cliques: Sequence[Clique]) -> dict[str, int]:
    """How many cliques hold units of so many models, by that number, as text."""
    counts = Counter(len(clique) for clique in cliques)
    return {str(models): counts[models] for models in sorted(counts)}


def write_pairs(folder: Path, every: EveryPair, cliques: Sequence[Clique]) -> None:
    """Write ``cliques.csv`` and ``pairs.safetensors``."""
    save_tensors(folder / "pairs.safetensors", dict(_tensors(every)))

    def cell(name: str, units: Sequence[int]) -> str:
        named = (every.units[name][unit] for unit in units)
        return " ".join(f"{unit.layer}/{unit.channel}" for unit in named)

    rows = [
        [len(clique), *(cell(name, clique.get(name, ())) for name in every.units)]
        for clique in sorted(cliques, key=lambda one: -len(one))
        if len(clique) > 2 or len(every.units) == 2
    ]
    write_csv(folder / "cliques.csv", [["models", *every.units], *rows])


def _tensors(every: EveryPair) -> Iterator[tuple[str, Tensor]]:
    for (one, other), judged in every.pairs().items():
        where = f"{one}/{other}"
        yield f"{where}/pairs", judged.buddies.pairs.contiguous()
        yield f"{where}/accepted", judged.kept
        if judged.decoys:
            yield f"{where}/decoys", judged.decoys[0].pairs.contiguous()
