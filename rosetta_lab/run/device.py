"""Where a command works, for how long, and how much memory that takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

from rosetta_lab.errors import RosettaError


def chosen_device(device: str | None) -> str:
    """A device that is there; by default a GPU if there is one.

    Raises:
        RosettaError: it is not, or runs do not know it.
    """
    gpus = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{index}" for index in range(gpus))]
    if device is not None and device not in known:
        raise RosettaError(
            f"device={device}: there is no such device here.\nChoose from {', '.join(known)}."
        )
    return device or ("cuda" if gpus else "cpu")


def best(work: Callable[[], object], device: str, seconds: float = 1.0) -> float:
    """The shortest of as many timings as so many seconds allow, of three at least."""
    work()
    times = [timed(work, device) for _ in range(3)]
    while sum(times) < seconds:
        times.append(timed(work, device))
    return min(times)


def peak_of(work: Callable[[], object], device: str) -> float:
    """Bytes that are held at most while the device does ``work``, with what was there before."""
    forget_peak(device)
    work()
    wait(device)
    return peak_since(device)


def forget_peak(device: str) -> None:
    """Let the high-water mark of memory start again from what is in use now."""
    marks = Path("/proc/self/clear_refs")
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif marks.exists():
        marks.write_text("5")


def peak_since(device: str) -> float:
    """Bytes at that mark: allocated on a GPU, else resident; nan where the system does not tell."""
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [float(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return 1024 * kilobytes[0] if kilobytes else math.nan


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds until the device is done with ``work``."""
    wait(device)
    start = perf_counter()
    work()
    wait(device)
    return perf_counter() - start


def wait(device: str) -> None:
    """For work that a GPU has not finished."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
