"""What a run shows its models, by number: latents of a generator, or images that are given."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rosetta_lab.data.images import BrokenImage
from rosetta_lab.errors import RosettaError, check_count

log = logging.getLogger("rosetta_lab")
SHOWN = 3  # files that a message names


@dataclass
class Batch:
    """Some of a run's inputs: index (N,) and label (N,), None without classes."""

    index: Tensor
    label: Tensor | None

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return replace(self, **{key: value.to(device) for key, value in self._tensors().items()})

    def some(self, places: Sequence[int]) -> Self:
        """Those at some places of it."""
        return replace(self, **{k: v[list(places)] for k, v in self._tensors().items()})

    def split(self, size: int) -> Iterator[Self]:
        """The same in batches of at most so many."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield replace(self, **{key: value[part] for key, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass
class ImageBatch(Batch):
    """Images of a batch (N, 3, R, R) in [0, 1]."""

    image: Tensor


class Inputs(Dataset[Batch], ABC):
    """The inputs of one run; input i is the same whatever the batch and the process.

    Attributes:
        classes: labels that the inputs have in turn, empty where they have none, or in no order.
    """

    classes: list[int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Sequence[int]) -> Batch:
        """The inputs with these numbers."""

    @abstractmethod
    def ingredients(self) -> dict[str, Any]:
        """Plain values that tell these inputs from all others."""

    @abstractmethod
    def caption(self, index: int, label: int | None, names: Sequence[str] | None) -> str:
        """A short text for an image, given the names of classes where there are any."""

    def __getitem__(self, index: int) -> Batch:
        return self.batch([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.batch(indices)


class GivenImages(Inputs):
    """The first images of a data set, in its order.

    Args:
        targets: a data set of :class:`rosetta_lab.data.images.Target`, all of one size.
        count: images to take at most.

    Attributes:
        numbers: of the images, in the data set.
        content: SHA-256 of them all; empty until they are :meth:`checked`.
    """

    def __init__(self, targets: Any, count: int) -> None:
        check_count("num_images", count)
        self.targets = targets
        self.numbers = list(range(min(count, len(targets))))
        self.classes, self.content = [], ""

    def checked(self) -> GivenImages:
        """See every image once: those that cannot be read are passed over from now on.

        Raises:
            RosettaError: none can be read.
        """

        def look(number: int) -> tuple[bytes, int | None] | BrokenImage:
            try:
                target = self.targets[number]
            except BrokenImage as error:
                return error
            return sha256(target.image.contiguous().numpy().tobytes()).digest(), target.label

        with ThreadPoolExecutor() as threads:
            seen = list(threads.map(look, self.numbers))
        broken = [found for found in seen if isinstance(found, BrokenImage)]
        if broken:
            some = "; ".join(f"{error.path}: {error.reason}" for error in broken[:SHOWN])
            log.warning("%d of %d images are passed over: %s.", len(broken), len(seen), some)
        pairs = zip(self.numbers, seen, strict=True)
        kept = {number: x for number, x in pairs if not isinstance(x, BrokenImage)}
        if not kept:
            raise RosettaError(f"None of the {len(seen)} images can be read.\nName others.")
        self.numbers = list(kept)
        labels = [label for _, label in kept.values()]
        first = list(dict.fromkeys(labels))
        in_turn = None not in first and labels == (first * len(labels))[: len(labels)]
        self.classes = [label for label in first if label is not None] if in_turn else []
        self.content = sha256(b"".join(digest for digest, _ in kept.values())).hexdigest()
        return self

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, indices: Sequence[int]) -> ImageBatch:
        targets = [self.targets[self.numbers[index]] for index in indices]
        labels = [target.label for target in targets]
        label = None if None in labels else torch.tensor(labels)
        images = torch.stack([target.image for target in targets])
        return ImageBatch(torch.tensor(indices), label, images)

    def ingredients(self) -> dict[str, Any]:
        return {"content": self.content, "classes": self.classes}

    def caption(self, index: int, label: int | None, names: Sequence[str] | None) -> str:
        return str(self.targets.ids[self.numbers[index]])
