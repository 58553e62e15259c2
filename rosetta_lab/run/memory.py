"""Counting memory: what tensors would take, and what is free."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


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


def parsed_bytes(text: int | str) -> int | None:
    """What ``12GB``, ``500 MiB`` or a number is in bytes, a thousand to a unit; None for others."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", str(text), re.IGNORECASE)
    return int(float(found[1]) * UNITS[found[2].upper()]) if found else None


def available_memory(device: str) -> int:
    """Bytes that nothing else uses there, and that this process may use."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return max(0, min([system_memory(), *cgroup_memory(), *slurm_memory()]))


def system_memory() -> int:
    """Bytes that nothing else uses; what the system could free counts as free."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cgroup_memory(root: Path = Path("/")) -> list[int]:
    """Bytes that the limits of containers and schedulers leave to this process, by control group.

    Args:
        root: of ``proc`` and ``sys``.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    mount, left = root / "sys/fs/cgroup", []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:  # version 2
            base, files, cache = mount, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            base, cache = mount / "memory", "total_inactive_file"
        else:
            continue
        group = base / path.lstrip("/")
        for place in (group, *group.parents):  # every limit on the way up holds
            if place.is_relative_to(base):
                left += _left(place, *files, cache)
    return left


def _left(group: Path, limit: str, usage: str, cache: str) -> list[int]:
    """What one control group leaves, if it has a limit; files in the cache count as free."""
    try:
        most, used = (int((group / name).read_text()) for name in (limit, usage))
        statistics = dict(x.split() for x in (group / "memory.stat").read_text().splitlines())
        return [most - used + int(statistics.get(cache, 0))]
    except (OSError, ValueError):  # not mounted here, or the limit is "max"
        return []


def slurm_memory() -> list[int]:
    """Bytes that SLURM has given to the job on this node, whether or not it enforces them."""
    per_node, per_cpu, cpus = (
        int(text) if (text := os.environ.get(f"SLURM_{name}", "")).isdigit() else 0
        for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE")
    )
    megabytes = per_node or per_cpu * cpus  # 0 where there is no limit, too
    return [megabytes << 20] if megabytes else []
