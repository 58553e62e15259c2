"""Which images are looked at together, so that each one's partners are in its batch.

A null pairs every image with others of a small group of consecutive ones. Groups, and the blocks of
images whose sums are kept apart, depend on the number of images alone: batches are made of whole
groups of one block, and processes share groups out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rosetta_lab.functional.null import image_groups, partners


@dataclass(frozen=True)
class Grouping:
    """The images of a run, in groups and blocks.

    Args:
        images: how many.
        draws: how many other images each one is paired with, 0 for none.
        stride: with ``stride`` classes in turn, partners are of the same class; 1 for any.
        blocks: how many parts of about equal size, each of consecutive images.
    """

    images: int
    draws: int = 0
    stride: int = 1
    blocks: int = 1

    @cached_property
    def groups(self) -> list[range]:
        """Images that have to be in one batch, in order."""
        rounds = image_groups(self.images // self.stride, self.draws)
        stops = [group.stop * self.stride for group in rounds]
        stops[-1] = self.images  # an unfinished round belongs to the last group
        return [range(a, b) for a, b in zip([0, *stops], stops, strict=False)]

    def block(self, image: int) -> int:
        """The block of an image, and of its whole group."""
        group = min(image // len(self.groups[0]), len(self.groups) - 1)
        return group * self.blocks // len(self.groups)

    def batches(
        self, batch_size: int, rank: int = 0, world: int = 1, done: int = 0
    ) -> list[list[int]]:
        """A process's batches: whole groups of one block, of ``batch_size`` images if they can be.

        Args:
            batch_size: images at a time.
            rank: number of the process; every ``world``-th group is its own.
            world: how many processes there are.
            done: how many of its first images are left out.
        """
        found: list[list[int]] = []
        last = -1
        for number, group in list(enumerate(self.groups))[rank::world]:
            if done > 0:
                done -= len(group)
                continue
            block = number * self.blocks // len(self.groups)
            if block != last or len(found[-1]) + len(group) > batch_size:
                found.append([])
            found[-1].extend(group)
            last = block
        return found

    def orders(self, index: Tensor) -> dict[int, Tensor]:
        """For every draw, where in a batch each image's partner is.

        Args:
            index: numbers of the batch's images (N,), whole groups.

        Returns:
            Number of the draw, from 1, to positions (N,).
        """
        rounds, slot = index // self.stride, index % self.stride
        found = {}
        for draw in range(1, self.draws + 1):
            order = torch.empty_like(index)
            for own in slot.unique().tolist():
                members = (slot == own).nonzero().flatten()
                total = (self.images - own + self.stride - 1) // self.stride
                order[members] = members[partners(rounds[members], total, self.draws, draw)]
            found[draw] = order
        return found
