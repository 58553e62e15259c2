"""The matches of finished runs, keyed by everything that they depend on.

Neighbours do not depend on K or on any filter, so a sweep over these runs the networks once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch

from rosetta_lab.data.inputs import Inputs
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import UNFINISHED, cache_folder, load_tensors, replacing, save_tensors
from rosetta_lab.mine.code import outside_code
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.ranks import IMAGES, VALUES
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.load import state_hash
from rosetta_lab.models.observer import Observer
from rosetta_lab.run.cache import private

log = logging.getLogger("rosetta_lab")
ARITHMETIC = 5  # raise it whenever the same ingredients would give other numbers
ABANDONED = 86400  # seconds for which nobody has written into an unfinished file
MAPS = ".maps"


def fingerprint(
    observer: Observer,
    inputs: Inputs,
    psi: float | None,
    correlation: str,
    configs: Mapping[str, Any],
    batch_size: int,
    evidence: Evidence,
) -> str:
    """Hex digest of everything that the neighbours depend on."""
    # The source is not recorded where the reference is another.
    models = {"source": observer.source, **observer.models}
    # Averages of per-batch correlations depend on the batch, and ranks on what they are taken in.
    depends = {
        "batch_mean": ["batch_mean", batch_size],
        "spearman": ["spearman", IMAGES, VALUES],
    }
    ingredients = {
        "arithmetic": ARITHMETIC,
        "versions": [str(torch.__version__), timm.__version__, open_clip.__version__],
        "matmul": torch.get_float32_matmul_precision(),
        "configs": configs,
        "code": outside_code(models.values(), configs),
        "weights": {name: state_hash(model) for name, model in models.items()},
        "layers": observer.layers,
        "reference": observer.reference,  # keys are sorted: the order of the layers does not tell
        "inputs": inputs.ingredients(),
        "psi": psi,
        "evidence": asdict(evidence),
        "correlation": depends.get(correlation, correlation),
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def open_cache(key: str) -> SumsCache | None:
    """The cache under a fingerprint; None, with a word, where there can be no cache."""
    try:
        path = private(cache_folder() / "mining" / f"{key}.safetensors", cache_folder())
    except RosettaError as error:
        log.warning("Mining without a cache. %s", error)
        return None
    for left in path.parent.iterdir():
        with suppress(OSError):  # of a run that was killed, unless one writes there now
            if time.time() - left.stat().st_mtime < ABANDONED:
                continue
            if UNFINISHED.fullmatch(left.name):
                left.unlink()
            elif left.suffix == MAPS:
                shutil.rmtree(left)
    return SumsCache(path)


class SumsCache:
    """Finished and unfinished results under one fingerprint.

    Args:
        path: of the finished one; the unfinished are beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.tables = path, path.with_suffix(".tables")
        self.maps = path.with_suffix(MAPS)
        self.partial = PartialSums(path.with_suffix(".partial"))

    def part(self, rows: range) -> SumsCache:
        """The same of a pass that takes some of the reference's units."""
        return SumsCache(
            self.path.with_name(f"{self.path.stem}.{rows.start}-{rows.stop}.safetensors")
        )

    def forget_parts(self) -> None:
        """The run is finished: forget its passes, also those of runs with other budgets."""
        for path in self.path.parent.glob(f"{self.path.stem}.*-*.safetensors"):
            path.unlink(missing_ok=True)
        for path in self.path.parent.glob(f"{self.path.stem}.*-*.partial"):
            PartialSums(path).remove()
        shutil.rmtree(self.maps, ignore_errors=True)

    def _tables_of(self, models: Iterable[str]) -> list[Path]:
        return [self.tables / f"{name}.safetensors" for name in models]

    def has_tables(self, models: Iterable[str]) -> bool:
        """Whether all the models' whole tables are there."""
        return all(file.is_file() for file in self._tables_of(models))

    def give_tables(self, models: Iterable[str], folder: Path) -> None:
        """Put the models' whole tables into a folder."""
        for file in self._tables_of(models):
            with replacing(folder / file.name) as temporary:
                temporary.unlink()
                try:
                    os.link(file, temporary)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(file, temporary)

    def load(self) -> MiningResult | None:
        """The finished result; None if there is none, or its file is damaged."""
        if not self.path.exists():
            return None
        try:
            return MiningResult.from_tensors(load_tensors(self.path, ours=True)[0])
        except (RosettaError, LookupError, ValueError, StopIteration) as error:
            log.warning("Mining anew. %s", error)
            return None

    def kept(self) -> MiningResult:
        """The finished result that was there a while ago.

        Raises:
            RosettaError: it is not any more.
        """
        result = self.load()
        if result is None:
            raise RosettaError(
                f"{self.path}: what a pass has found cannot be read any more.\n"
                "Run again: it goes on with what the other passes have found."
            )
        return result

    def save(self, result: MiningResult) -> bool:
        """Keep a finished result, or say that it cannot be kept; whether it is."""
        try:
            save_tensors(self.path, result.to_tensors())
        except RosettaError as error:
            log.warning("The result is not kept for later runs. %s", error)
            return False
        return True
