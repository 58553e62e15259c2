"""Mine Rosetta neurons: ``python -m rosetta_lab.mine gen=NAME disc=[NAME,...]``."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

import rosetta_lab
from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.dictionary.build import build_dictionary, check_k, model_cards
from rosetta_lab.dictionary.evidence import find
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import say
from rosetta_lab.files import save_tensors
from rosetta_lab.mine import control
from rosetta_lab.mine.cache import fingerprint, open_cache
from rosetta_lab.mine.module import MiningModule, shapes_of
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.page.examples import collect_examples
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.mine.stability import measure_stability
from rosetta_lab.mine.summary import summary_table
from rosetta_lab.models.load import apply_overrides, load_latents, load_observer
from rosetta_lab.models.observer import Observer
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.configs import WATCHING, plain, without
from rosetta_lab.run.trainer import make_trainer

log = logging.getLogger("rosetta_lab")
PILOT_IMAGES = 16


@entry_point("mine")
def main(cfg: DictConfig) -> RosettaDictionary | None:
    started = time.monotonic()
    folder = Path(HydraConfig.get().runtime.output_dir)
    cfg = apply_overrides(cfg)

    observer = load_observer(cfg)
    latents = load_latents(cfg, observer.source.generator)
    trainer = make_trainer(cfg, folder)
    device = trainer.strategy.root_device
    result, module = mine(cfg, observer.to(device), latents, trainer)
    mined = time.monotonic()
    untrained = None
    if cfg.control == "untrained":
        other, kept = control.untrained(cfg)
        random = control.beside(observer, other).to(device)
        untrained, _ = mine(other, random, latents, trainer)
    controlled = time.monotonic()
    if result is None:
        return None

    alive = {name: result.alive(name) for name in observer.networks}
    own = observer.reference
    check_k({n: int(mask.sum()) for n, mask in alive.items()}, own, cfg.k_gen, cfg.k_disc)
    found = find(result.matchings, cfg.k_disc, cfg.k_gen, cfg.max_fdr)
    stability = measure_stability(result, found, module.grouping, cfg)
    cards = model_cards(observer, module.shapes)
    dictionary = build_dictionary(
        cards.pop(own),
        cards,
        found,
        result.own,
        alive,
        k_gen=cfg.k_gen,
        k_disc=cfg.k_disc,
        stability=stability.of_units if stability else None,
        seed=cfg.seed,
        num_images=cfg.num_images,
        config=plain(without(cfg, WATCHING)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rosetta_lab=rosetta_lab.__version__,
    )
    if stability:
        dictionary.summary["stability"] = stability.to_dict()
    if untrained:
        found = find(untrained.matchings, cfg.k_disc, cfg.k_gen, cfg.max_fdr)
        dictionary.summary["controls"] = {"untrained": control.count(found, kept)}
    save_tables(folder, module, result, tables=cfg.save_tables)
    # Lightning leaves the models on the CPU.
    examples = collect_examples(
        observer.to(device), latents, dictionary, cfg.page_images, cfg.batch_size
    )
    dictionary.summary["seconds"] = {
        "mining": round(mined - started, 1),
        "dictionary_and_page": round(time.monotonic() - controlled, 1),
    }
    dictionary.save(folder)
    page = write_page(dictionary, examples, folder)
    for logger in trainer.loggers:
        counts = {k: float(dictionary.summary[k]) for k in ("rosetta_neurons", "concepts")}
        logger.log_metrics(counts | {"k": float(cfg.k_disc)})
        logger.finalize("success")
    say(summary_table(dictionary))
    say(f"Look at it: {page.resolve()}")
    return dictionary


def mine(
    cfg: DictConfig, observer: Observer, latents: Latents, trainer: L.Trainer
) -> tuple[MiningResult | None, MiningModule]:
    """What matching needs: from the cache where every ingredient is the same, else from one pass.

    Only the first process of several has it.
    """
    configs = {
        "gen": plain(cfg.gen),
        "disc": plain(cfg.disc),
        "precision": str(trainer.precision),
    }
    evidence = Evidence.of(cfg)
    batch_size = cfg.datamodule.batch_size
    key = fingerprint(
        observer, latents, cfg.psi, cfg.module.correlation, configs, batch_size, evidence
    )
    cache = open_cache(key) if cfg.cache else None
    module: MiningModule = instantiate(cfg.module)(
        observer,
        shapes_of(observer, latents.batch([0])),
        latents.batch(list(range(min(PILOT_IMAGES, len(latents))))),
        len(latents),
        evidence=evidence,
        partial=cache.partial if cache else None,
        classes=len(latents.classes),
    )
    result = cache.load(module.keep_tables) if cache else None
    if result is not None:
        log.info("Neighbours from the cache: %s", cache.path if cache else "")
        return result, module
    done = {"done": cache.partial.done} if cache else {}
    data: LatentDataModule = instantiate(cfg.datamodule)(latents, grouping=module.grouping, **done)
    trainer.validate(module, data, verbose=False)
    if cache and module.result is not None:
        cache.save(module.result)
    return module.result, module


def save_tables(folder: Path, module: MiningModule, result: MiningResult, *, tables: bool) -> None:
    """Write ``statistics.safetensors`` and, where asked for, ``correlation/NAME.safetensors``."""
    statistics = {
        f"{name}/{layer.name}/{kind}": values[groups.index.units(layer.name)]
        for name, groups in module.groups.items()
        for kind, values in result.statistics[name].items()
        for layer in groups.index.layers
    }
    save_tensors(folder / "statistics.safetensors", statistics)
    if tables:
        for name, table in result.tables.items():
            save_tensors(folder / "correlation" / f"{name}.safetensors", {"r": table})


if __name__ == "__main__":
    main()
