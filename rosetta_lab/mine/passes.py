"""From models to neighbours: the passes over the images that a run takes, or its cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Literal, get_args

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.inputs import Inputs
from rosetta_lab.data.latents import LatentDataModule
from rosetta_lab.errors import RosettaError, check_choice, printable
from rosetta_lab.files import save_tensors, tensor_in_rows
from rosetta_lab.mine.budget import Budget, Way, bytes_of
from rosetta_lab.mine.cache import SumsCache, fingerprint, open_cache
from rosetta_lab.mine.maps import KeptMaps, room_for
from rosetta_lab.mine.module import MiningModule, OnTable
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.mine.ranks import sampled_images
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.meta import described, without_memory
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer, UnitIndex
from rosetta_lab.run.configs import plain
from rosetta_lab.run.processes import by_first, least, meet

log = logging.getLogger("rosetta_lab")
Tables = Literal["replicated", "sharded", "auto"]
PILOT_IMAGES = 16
UNMEASURED = (NotImplementedError, RuntimeError, TypeError, ValueError)  # on the meta device


def mine(
    cfg: DictConfig,
    observer: Observer,
    inputs: Inputs,
    trainer: L.Trainer,
    tables: Path | None = None,
) -> tuple[MiningResult | None, MiningModule]:
    """What matching needs: from the cache where every ingredient is the same, else from passes.

    Only the first process of several has it.

    Args:
        cfg: of the run.
        observer: its models.
        inputs: what they are shown.
        trainer: runs the passes.
        tables: folder for whole tables of r, which the first process writes; None for none.
    """
    evidence, shapes = Evidence.of(cfg), shapes_of(observer, inputs.batch([0]))
    how = {
        "gen": plain(cfg.gen),
        "disc": plain(cfg.disc),
        "precision": str(trainer.precision),
        "sums": cfg.sums,
        "products": cfg.products,
    }
    budget = bytes_of(cfg.memory, str(trainer.strategy.root_device))
    key = fingerprint(observer, inputs, cfg.psi, cfg.correlation, how, cfg.batch_size, evidence)
    cache = open_cache(key) if cfg.cache else None
    pilot = list(range(min(PILOT_IMAGES, len(inputs))))
    if cfg.correlation == "spearman":
        pilot = sampled_images(len(inputs))
    make = partial(
        instantiate(cfg.module),
        observer,
        shapes,
        inputs.batch(pilot),
        len(inputs),
        evidence=evidence,
        classes=len(inputs.classes),
    )
    module: MiningModule = make()
    meet(trainer)
    by_first(trainer, lambda: check_shares(len(module.grouping.groups), trainer.world_size))
    first = trainer.is_global_zero
    result = cache.load() if cache and first else None
    if cache and result is not None and tables and not cache.has_tables(shapes):
        result = None
    if trainer.strategy.broadcast(result is not None):
        if cache and first:
            log.info("Neighbours from the cache: %s", cache.path)
            if tables:
                cache.give_tables(shapes, tables)
        return result, module
    way = way_of(cfg, observer, inputs, shapes, trainer, budget, tables is not None)
    size = way.batch_size
    passes, shards = passes_of(way.rows, trainer.world_size if way.shared else 1)
    found: list[MiningResult | SumsCache] = []  # on the disk where it is kept: lists are long
    pilot_found: Mapping[str, Tensor] | None = None
    kept = cache.tables if cache and tables else tables
    show = maps_kept(cfg, observer, cache, trainer) if cache and len(passes) > 1 else None
    with tables_in(kept if first else None, shapes, observer.reference) as on_table:
        for number, rows in enumerate(passes):
            if len(passes) > 1 and first:
                log.info(
                    "Pass %d of %d: units %d to %d", number + 1, len(passes), rows[0], rows[-1]
                )
            own = cache.part(rows) if cache and len(passes) > 1 else cache
            reuse = own if own is not cache and not tables and first else None
            done = reuse.load() if reuse else None
            on_disk = done is not None
            if not trainer.strategy.broadcast(done is not None):
                if show:
                    show.keeping = number + 1 < len(passes)
                unfinished = own.partial if own else None
                if unfinished and way.shared:  # whose tables have other shapes
                    unfinished = PartialSums(unfinished.folder.with_suffix(".shared.partial"))
                module = make(
                    rows=shards[number][trainer.global_rank] if way.shared else rows,
                    shared=way.shared,
                    on_table=on_table,
                    partial=unfinished,
                    batch_size=size,
                    found=pilot_found,
                    show=show,
                )
                data: LatentDataModule = instantiate(cfg.datamodule)(
                    inputs,
                    batch_size=size,
                    grouping=module.grouping,
                    done=module.done,
                    together=way.shared,
                )
                trainer.validate(module, data, verbose=False)
                done = module.result
                pilot_found = module.found
                module.forget()
                if own and done is not None:
                    on_disk = own.save(done) and own is not cache
                trainer.strategy.barrier()
                if unfinished:  # each its own: they may lie on several disks
                    unfinished.remove()
            if done is not None:
                found.append(own if own and on_disk else done)
            del done
    if not found:
        return None, module
    join = partial(MiningResult.joined, k=evidence.neighbours)
    result = reduce(join, (one.kept() if isinstance(one, SumsCache) else one for one in found))
    if cache and len(passes) > 1:
        cache.save(result)
        cache.forget_parts()
    if cache and tables and first:
        cache.give_tables(shapes, tables)
    return result, module


def passes_of(blocks: list[range], shards: int) -> tuple[list[range], list[list[range]]]:
    """The rows of every pass, and of every process in it, which take so many blocks together."""
    every = [blocks[start : start + shards] for start in range(0, len(blocks), shards)]
    return [range(own[0].start, own[-1].stop) for own in every], every


def maps_kept(
    cfg: DictConfig, observer: Observer, cache: SumsCache, trainer: L.Trainer
) -> KeptMaps | None:
    """What remembers maps from pass to pass, where the disk has room for them."""
    with suppress(OSError):  # an older run's, which is not to be taken for abandoned
        os.utime(cache.maps)
    room = room_for(cfg.disk, cache.path.parent, trainer.strategy.root_device, trainer.num_devices)
    return KeptMaps(observer, cache.maps, room) if room else None


def check_shares(groups: int, processes: int) -> None:
    """Raise a RosettaError unless every process has images, without which none would finish."""
    if processes > groups:
        raise RosettaError(
            f"num_images: there is too little for {processes} processes to share, {groups} groups "
            "of images that belong together.\nMine more images, or use fewer processes "
            f"(trainer.devices={groups})."
        )


def way_of(
    cfg: DictConfig,
    observer: Observer,
    inputs: Inputs,
    shapes: dict[str, list[Layer]],
    trainer: L.Trainer,
    budget: int,
    whole: bool = False,
) -> Way:
    """How a run keeps to its memory, and says so.

    Several processes make the same passes, and each sees other memory free: the one that sees the
    least decides. On a CPU they share what is free.

    Args:
        whole: whether whole tables are asked for, which no process has where they are shared out.

    Raises:
        RosettaError: it cannot.
    """
    check_choice("tables", cfg.tables, get_args(Tables))
    if cfg.tables == "sharded" and whole:
        raise RosettaError(
            "tables=sharded: no process has a whole table to write.\n"
            "Leave out save_tables=true, or mine with tables=replicated."
        )
    device = trainer.strategy.root_device
    if cfg.memory == "auto" and device.type == "cpu":
        budget //= trainer.num_devices
    budget = least(trainer, budget)
    how = partial(_way, cfg, observer, inputs, shapes, budget, device)
    if trainer.world_size == 1 or cfg.tables == "replicated" or cfg.correlation == "batch_mean":
        return by_first(trainer, how)
    return by_first(trainer, partial(how, trainer.world_size, cfg.tables == "sharded", whole))


def _way(
    cfg: DictConfig,
    observer: Observer,
    inputs: Inputs,
    shapes: dict[str, list[Layer]],
    budget: int,
    device: torch.device,
    processes: int = 1,
    sharded: bool = False,
    whole: bool = False,
) -> Way:
    try:
        finder = Budget(cfg, without_memory(cfg, observer), inputs, shapes)
        way = finder.way(budget, str(device))
        if processes > 1 and (sharded or (len(way.rows) > 1 and not whole)):
            shared = finder.way(budget, str(device), processes)
            if len(shared.rows) % processes == 0:  # there are as many units
                way = replace(shared, shared=True)
    except (*UNMEASURED, RosettaError) as error:
        if isinstance(error, RosettaError) and described(cfg):
            raise
        # A network of one's own, which makes tensors on a device that it names, or reads values.
        way = Way.untold(cfg.batch_size, sum(x.channels for x in shapes[observer.reference]))
        log.warning(
            "How much memory this takes cannot be told: %d images at a time, in one pass. (%s)",
            way.batch_size,
            printable(error),
        )
        return way
    giga = 1e9
    if not way.fits:
        raise RosettaError(
            f"memory={cfg.memory}: {budget / giga:.1f} GB, and at least "
            f"{way.memory.peak / giga:.1f} GB are needed on {device}.\n"
            "Allow more, record fewer layers (layers=) or look with fewer models (disc=)."
        )
    log.info(
        "%d images at a time, %s, up to %.1f of %.1f GB.",
        way.batch_size,
        in_words(len(way.rows), processes if way.shared else 1),
        way.memory.peak / giga,
        budget / giga,
    )
    return way


def in_words(blocks: int, shards: int) -> str:
    """How many passes, and whether processes share the tables out."""
    passes = blocks // shards
    told = "one pass" if passes == 1 else f"{passes} passes of some units each"
    return told if shards == 1 else f"{told}, whose tables {shards} processes share out"


def save_statistics(folder: Path, shapes: Mapping[str, list[Layer]], result: MiningResult) -> None:
    """Write ``statistics.safetensors``."""
    statistics = {
        f"{name}/{layer.name}/{kind}": values[UnitIndex(layers).units(layer.name)]
        for name, layers in shapes.items()
        for kind, values in result.statistics[name].items()
        for layer in layers
    }
    save_tensors(folder / "statistics.safetensors", statistics)


@contextmanager
def tables_in(
    folder: Path | None, shapes: Mapping[str, list[Layer]], reference: str
) -> Iterator[OnTable | None]:
    """Files ``NAME.safetensors`` that take every model's table of r, some rows at a time."""
    if folder is None:
        yield None
        return
    units = {name: sum(layer.channels for layer in layers) for name, layers in shapes.items()}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                tensor_in_rows(folder / f"{name}.safetensors", "r", (units[reference], width))
            )
            for name, width in units.items()
        }
        yield lambda name, rows: files[name](rows)
