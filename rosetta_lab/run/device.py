"""Where a command works, and for how long."""

from __future__ import annotations

from collections.abc import Callable
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
