"""A mining run: from models and what they are shown to a dictionary, its files and its page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import lightning as L
from omegaconf import DictConfig

import rosetta_lab
from rosetta_lab.data.inputs import GivenImages, Inputs
from rosetta_lab.dictionary.build import build_dictionary, check_k, model_cards
from rosetta_lab.dictionary.evidence import find
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.mine import control
from rosetta_lab.mine.outcome import find_out
from rosetta_lab.mine.page.examples import collect_examples
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.pairs import spanning, write_pairs
from rosetta_lab.mine.passes import mine, save_statistics
from rosetta_lab.mine.stability import measure_stability
from rosetta_lab.models.observer import Observer
from rosetta_lab.run.configs import WATCHING, plain, without


def run(
    cfg: DictConfig, observer: Observer, inputs: Inputs, trainer: L.Trainer, folder: Path
) -> RosettaDictionary | None:
    """Mine, and write what was found into a folder; only the first process of several has it.

    Args:
        cfg: of ``rosetta_lab.mine``.
        observer: the models.
        inputs: what they are shown.
        trainer: runs the passes.
        folder: where to.
    """
    started = time.monotonic()
    device = trainer.strategy.root_device
    tables = folder / "correlation" if cfg.save_tables else None
    outcome = find_out(cfg, observer.to(device), inputs, trainer, tables)
    mined = time.monotonic()
    untrained = None
    if cfg.control == "untrained":
        other, kept = control.untrained(cfg)
        random = control.beside(observer, other).to(device)
        untrained, _ = mine(other, random, inputs, trainer)
    controlled = time.monotonic()
    if outcome is None:
        return None

    result, found = outcome.result, outcome.found
    alive = {name: result.alive(name) for name in observer.layers}
    own = observer.reference
    check_k({n: int(mask.sum()) for n, mask in alive.items()}, own, cfg.k_gen, cfg.k_disc)
    stability = measure_stability(outcome.parts, found, outcome.grouping)
    cards = model_cards(observer, outcome.shapes)
    dictionary = build_dictionary(
        cards.pop(own),
        cards,
        found,
        result.own,
        alive,
        k_gen=cfg.k_gen,
        k_disc=cfg.k_disc,
        stability=stability.of_units if stability else None,
        cliques=outcome.cliques,
        seed=cfg.seed,
        num_images=len(inputs),
        config=plain(without(cfg, WATCHING)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rosetta_lab=rosetta_lab.__version__,
    )
    if isinstance(inputs, GivenImages):
        dictionary.summary["images"] = {"sha256": inputs.content}
    if stability:
        dictionary.summary["stability"] = stability.to_dict()
    if result.rounding:
        dictionary.summary["products"] = {
            "arithmetic": cfg.products,
            "difference_of_r": {name: float(most) for name, most in result.rounding.items()},
        }
    if untrained:
        found = find(untrained.matchings, cfg.k_disc, cfg.k_gen, cfg.max_fdr)
        dictionary.summary["controls"] = {"untrained": control.count(found, kept)}
    if outcome.every and outcome.cliques is not None:
        dictionary.summary["cliques"] = spanning(outcome.cliques)
        write_pairs(folder, outcome.every, outcome.cliques)
    save_statistics(folder, outcome.shapes, result)
    # Lightning leaves the models on the CPU.
    examples = collect_examples(observer.to(device), inputs, dictionary, cfg.page_images)
    dictionary.summary["seconds"] = {
        "mining": round(mined - started, 1),
        "dictionary_and_page": round(time.monotonic() - controlled, 1),
    }
    dictionary.save(folder)
    write_page(dictionary, examples, folder)
    for logger in trainer.loggers:
        counts = {k: float(dictionary.summary[k]) for k in ("rosetta_neurons", "concepts")}
        logger.log_metrics(counts | {"k": float(cfg.k_disc)})
        logger.finalize("success")
    return dictionary
