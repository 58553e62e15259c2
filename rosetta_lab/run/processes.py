"""Runs of several processes: which one is the first, where they meet, what they agree on.

Processes that decide alike each for itself meet nowhere as soon as one sees another cache, another
disk or less memory: it waits for the others for ever, or ends before them. The first decides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar, cast

import lightning as L
import torch

from rosetta_lab.errors import RosettaError

Found = TypeVar("Found")
# Of torchrun, SLURM and Lightning's own processes; the first has 0 in all that there are.
RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")


def is_first() -> bool:
    """Whether this process is the first of its run, also before a trainer can tell."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def meet(trainer: L.Trainer) -> None:
    """Start a run's other processes, unless somebody has, and wait until all are there."""
    if trainer.strategy.launcher is not None:
        trainer.strategy.launcher.launch(trainer.strategy.setup_environment)


def by_first(trainer: L.Trainer, find: Callable[[], Found]) -> Found:
    """What the first process finds, in all of them, which have met.

    Args:
        trainer: of the run.
        find: is called in the first process alone.

    Raises:
        RosettaError: ``find`` does; the other processes end without a word.
    """
    found: Found | RosettaError | None = None
    if trainer.is_global_zero:
        try:
            found = find()
        except RosettaError as error:
            found = error
    found = cast(Found | RosettaError, trainer.strategy.broadcast(found))
    if not isinstance(found, RosettaError):
        return found
    if trainer.is_global_zero:
        raise found
    sys.exit(1)


def least(trainer: L.Trainer, number: int) -> int:
    """The least of the numbers that the processes, which have met, have."""
    own = torch.tensor(number, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(own, reduce_op="min"))
