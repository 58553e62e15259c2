"""Latents as a data set: latent i depends only on (seed, i), never on batches or processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.data.inputs import Batch, Inputs
from rosetta_lab.errors import RosettaError, check_count

Distribution = Literal["normal", "truncated_normal"]


@dataclass
class LatentBatch(Batch):
    """Latents of a batch (N, z_dim)."""

    z: Tensor


def sample_z(
    seed: int,
    index: int,
    z_dim: int,
    distribution: Distribution = "normal",
    bound: float = 1.0,
    scale: float = 1.0,
) -> Tensor:
    """Latent ``index`` of the stream ``seed``, (z_dim,).

    ``truncated_normal`` is N(0, 1) restricted to [-bound, bound], by inverting its distribution
    function. The result is multiplied by ``scale``.
    """
    source = torch.Generator().manual_seed((seed * 0x9E3779B1 + index) % 2**63)
    if distribution == "normal":
        return torch.randn(z_dim, generator=source) * scale
    mass = math.erf(bound / math.sqrt(2.0))
    u = torch.rand(z_dim, generator=source, dtype=torch.float64) * 2.0 - 1.0
    return (torch.erfinv(u * mass) * math.sqrt(2.0) * scale).float()


class Latents(Inputs):
    """The latents of one run.

    Args:
        num_images: how many.
        seed: of the stream.
        z_dim: width of z.
        num_classes: classes of the generator, 0 for an unconditional one.
        classes: class indices to use, in turn; None means all.
        distribution: see :func:`sample_z`.
        bound: see :func:`sample_z`.
        scale: see :func:`sample_z`.

    Raises:
        RosettaError: no images, or a class that the generator does not have.
    """

    def __init__(
        self,
        num_images: int,
        seed: int,
        z_dim: int,
        num_classes: int = 0,
        classes: Sequence[int] | int | None = None,
        distribution: Distribution = "normal",
        bound: float = 1.0,
        scale: float = 1.0,
    ) -> None:
        if num_images < 1:
            raise RosettaError(f"num_images={num_images}: at least one image is needed.")
        if classes is not None and not num_classes:
            raise RosettaError(
                f"classes={classes}, but the generator has no classes.\nLeave classes=null."
            )
        chosen = [classes] if isinstance(classes, int) else classes
        self.classes = list(range(num_classes)) if chosen is None else list(chosen)
        for label in self.classes:
            if not 0 <= label < num_classes:
                raise RosettaError(
                    f"classes={self.classes}: there is no class {label}.\n"
                    f"The generator has the classes 0 to {num_classes - 1}."
                )
        if num_classes and not self.classes:
            raise RosettaError("classes=[]: name at least one class, or null for all.")
        self.num_images, self.seed, self.z_dim = num_images, seed, z_dim
        self.distribution: Distribution = distribution
        self.bound, self.scale = bound, scale

    def __len__(self) -> int:
        return self.num_images

    def batch(self, indices: Sequence[int]) -> LatentBatch:
        """The latents with these numbers."""
        how = (self.distribution, self.bound, self.scale)
        z = [sample_z(self.seed, i, self.z_dim, *how) for i in indices]
        label = None
        if self.classes:
            label = torch.tensor([self.classes[i % len(self.classes)] for i in indices])
        return LatentBatch(torch.tensor(indices), label, torch.stack(z))

    def ingredients(self) -> dict[str, Any]:
        return dict(vars(self))

    def caption(self, index: int, label: int | None, names: Sequence[str] | None) -> str:
        return caption(index, label, names)


def caption(index: int, label: Tensor | int | None, names: Sequence[str] | None) -> str:
    """An image's number and its class: by name, where the generator's config has ``class_names``.

    >>> caption(3, 1, ["bag", "coat"]), caption(3, 1, None), caption(3, None, None)
    ('image 3, coat', 'image 3, class 1', 'image 3')
    """
    if label is None:
        return f"image {index}"
    return f"image {index}, {names[int(label)] if names else f'class {int(label)}'}"


class Shard(Sampler[int]):
    """Every ``world``-th number from ``rank`` on, without the padding of DistributedSampler.

    Padding would count images twice; shards that differ by one are fine where processes meet only
    at the end.
    """

    def __init__(self, total: int, rank: int, world: int) -> None:
        self.numbers = range(rank, total, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)


def as_is(batch: Any) -> Any:
    """Collate function for data sets that build whole batches."""
    return batch


class LatentDataModule(L.LightningDataModule):
    """Latents, or given images, in batches, shared out over the processes.

    Args:
        latents: all of them.
        batch_size: per process.
        grouping: which of them have to be in one batch; None for none.
        done: how many of this process's images are done already (a resumed run), once it is set up.
        together: whether all processes look at every batch together instead, each at a share of it.
    """

    def __init__(
        self,
        latents: Inputs,
        batch_size: int,
        grouping: Grouping | None = None,
        done: Callable[[], int] = lambda: 0,
        together: bool = False,
    ) -> None:
        super().__init__()
        check_count("batch_size", batch_size)
        self.latents, self.batch_size, self.done = latents, batch_size, done
        self.together = together
        self.grouping = grouping or Grouping(len(latents))

    def val_dataloader(self) -> DataLoader[Batch]:
        rank, world = (
            (self.trainer.global_rank, self.trainer.world_size)
            if self.trainer and not self.together
            else (0, 1)
        )
        batches = self.grouping.batches(self.batch_size, rank, world, self.done())
        return DataLoader(self.latents, batch_sampler=batches, collate_fn=as_is)
