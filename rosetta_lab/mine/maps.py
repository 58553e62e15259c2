"""Maps on disk, so that only the first of several passes runs the networks.

Where memory allows some rows of the tables at a time, every pass looks at all images again. On a
CPU, reading what a network said is far quicker than asking it again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from rosetta_lab.data.inputs import Batch
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import load_tensors, save_tensors
from rosetta_lab.models.observer import Observation, Observer, OnModelMap
from rosetta_lab.run.memory import parsed_bytes

log = logging.getLogger("rosetta_lab")
SHARE = 0.5  # of what is free on the disk


class KeptMaps:
    """An observer that remembers: what it saw of some images, it need not look at again.

    Every layer's maps of a batch are a file; a batch of which one is missing or damaged is looked
    at again.

    Args:
        observer: what looks at the images.
        folder: belongs to one fingerprint (everything that the maps depend on).
        room: bytes that may be written into it, with what is there already.

    Attributes:
        keeping: whether anybody will read what would be written now.
    """

    def __init__(self, observer: Observer, folder: Path, room: int) -> None:
        self.observer, self.folder, self.keeping = observer, folder, True
        there = (path for path in folder.rglob("*") if path.is_file())
        self._left = room - sum(path.stat().st_size for path in there)

    def __call__(self, batch: Batch, on_map: OnModelMap) -> Observation:
        """As the observer does; the images are not kept."""
        folder = self.folder / self._name(batch)
        if folder.is_dir():
            try:
                return self._remembered(folder, on_map)
            except RosettaError as error:
                log.warning("Looking at images again. %s", error)
                shutil.rmtree(folder, ignore_errors=True)
        if not self.keeping or self._left < 0:
            return self._look(batch, on_map)
        return self._looked_at(batch, folder, on_map)

    def _look(self, batch: Batch, on_map: OnModelMap) -> Observation:
        seen: Observation = self.observer(batch, on_map)
        return seen

    def _name(self, batch: Batch) -> str:
        # A pilot run is no part of a trainer's pass, and has the networks' own precision.
        half = torch.is_autocast_enabled(self._device().type)
        return sha256(f"{batch.index.tolist()} {half}".encode()).hexdigest()[:32]

    def _device(self) -> torch.device:
        return next(self.observer.parameters()).device

    def _remembered(self, folder: Path, on_map: OnModelMap) -> Observation:
        maps: dict[str, dict[str, object]] = {}
        for (model, layer), file in self._files(folder):
            tensors, _ = load_tensors(file, ours=True)
            if list(tensors) != [f"{model}/{layer}"]:
                raise RosettaError(f"{file}: it holds other maps than those of {model}/{layer}.")
            values = tensors.popitem()[1].to(self._device())
            maps.setdefault(model, {})[layer] = on_map(model, layer, values)
        return Observation(torch.empty(0), maps)  # type: ignore[arg-type]

    def _files(self, folder: Path) -> Iterator[tuple[tuple[str, str], Path]]:
        numbers = count()
        for model, layers in self.observer.layers.items():
            for layer in layers:
                yield (model, layer), folder / f"{next(numbers)}.safetensors"

    def _looked_at(self, batch: Batch, folder: Path, on_map: OnModelMap) -> Observation:
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        files = dict(self._files(unfinished))

        def keep(model: str, layer: str, maps: Tensor) -> object:
            self._left -= maps.nbytes
            if self._left >= 0:
                try:
                    save_tensors(files[model, layer], {f"{model}/{layer}": maps})
                except RosettaError as error:
                    log.warning("Later passes look at these images again. %s", error)
                    self._left = -1
            return on_map(model, layer, maps)

        try:
            seen = self._look(batch, keep)
            if self._left >= 0:
                with suppress(OSError):  # another run has kept them
                    unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return seen


def room_for(disk: int | str, folder: Path, device: torch.device, processes: int) -> int:
    """Bytes of maps that each process may keep.

    Args:
        disk: bytes, such as ``100GB``, or ``auto``: a share of what is free, and nothing for a GPU,
            which is quicker than a disk.
        folder: where.
        device: of the networks.
        processes: that share the disk.
    """
    if disk != "auto":
        return (parsed_bytes(disk) or 0) // processes
    if device.type != "cpu":
        return 0
    folder = next(path for path in (folder, *folder.parents) if path.exists())
    return int(SHARE * shutil.disk_usage(folder).free) // processes
