"""Tables shared out over the processes: each keeps some rows of them, and sees all images' maps.

A process's networks look at its share of every batch. Each layer's maps go to all others as they
appear, so that everything after (sums, nulls, blocks of images) is as if one process had looked at
the whole batch, for fewer rows.
"""

from __future__ import annotations

import lightning as L
from torch import Tensor

from rosetta_lab.data.inputs import Batch
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.models.observer import Observation, OnModelMap, Show


class SharedLook:
    """Shows a batch to the networks of all processes, which must all call it at the same time.

    Args:
        show: to those of this process.
        trainer: whose processes these are.
    """

    def __init__(self, show: Show, trainer: L.Trainer) -> None:
        self.show, self.trainer = show, trainer

    def __call__(self, batch: Batch, on_map: OnModelMap) -> Observation:
        """As the observer does, with all processes' maps in the batch's order."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        share = -(-len(batch) // world)
        # Gathered tensors have one shape: where there are too few images, the last comes again.
        images = [min(place, len(batch) - 1) for place in range(rank * share, (rank + 1) * share)]

        def gather(model: str, layer: str, maps: Tensor) -> object:
            everyone: Tensor = self.trainer.strategy.all_gather(maps.contiguous())
            return on_map(model, layer, everyone.flatten(0, 1)[: len(batch)])

        return self.show(batch.some(images), gather)


def joined_shards(trainer: L.Trainer, own: MiningResult, k: int) -> MiningResult | None:
    """The results of all processes as one, in the first; they hold rows in the processes' order.

    Args:
        trainer: whose processes these are.
        own: of this one.
        k: neighbours to keep.
    """
    found: MiningResult | None = None
    for rank in range(trainer.world_size):
        sent = own.to_tensors() if rank == trainer.global_rank else None
        tensors = trainer.strategy.broadcast(sent, src=rank)
        if trainer.is_global_zero and tensors is not None:
            one = MiningResult.from_tensors(tensors)
            found = one if found is None else found.joined(one, k)
    return found
