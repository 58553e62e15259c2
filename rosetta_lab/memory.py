"""Counting memory: what tensors would take, and what is free."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryMeter(TorchDispatchMode):
    """Context that counts the bytes of the ``meta`` tensors that are alive, now and at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}

    def count(self, tensors: Iterable[Tensor]) -> None:
        """Count these, unless they share their bytes with tensors that are counted already."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if tensor.device.type != "meta" or key in self._sizes:
                continue
            self._sizes[key] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count(value for value in tree_leaves(result) if isinstance(value, Tensor))
        return result


def available_memory(device: str) -> int:
    """Bytes that nothing else uses there."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:  # what the system could free counts as free
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
