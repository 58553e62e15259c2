"""Tensors as pickles describe them: views of storages, checked when they are wanted.

What a file holds beside the wanted network costs nothing.
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass

import numpy as np

from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import Rules, damage, explained
from rosetta_lab.models.checkpoints.tensors import Numbers, Storage
from rosetta_lab.models.checkpoints.torch_files import read_legacy

MAX_AXES = 8
PER_TENSOR = 1000  # bytes that a tensor takes besides its numbers


@dataclass(eq=False, repr=False)
class SavedStorage:
    """Bytes of ``torch.save(storage)``: a file within the file, read only when it is wanted."""

    data: object

    def open(self, budget: Budget) -> Storage:
        if not isinstance(self.data, bytes):
            raise damage("a tensor without bytes")
        try:
            storage = read_legacy(self.data, Rules(calls={}), budget)
            if not isinstance(storage, Storage):
                raise TypeError(f"a {type(storage).__name__}, not a storage")
        except Exception as error:  # any kind, since the bytes may be anything
            raise explained(error, "the bytes of a tensor") from error
        return storage


@dataclass(eq=False, repr=False)
class StoredTensor:
    """A tensor as a view of a storage; all of it is what the file says, not yet checked."""

    storage: object
    offset: object
    size: object
    stride: object

    def numbers(self, budget: Budget) -> Numbers:
        """The tensor, after checking that the view lies inside the storage.

        Raises:
            RosettaError: it does not; or all tensors together are larger than the file accounts
                for, as views of one storage under many names are.
        """
        storage = self.storage
        if isinstance(storage, SavedStorage):
            storage = storage.open(budget)
        if not isinstance(storage, Storage):
            raise damage("a tensor without a storage")
        (offset,) = whole_numbers((self.offset,))
        size, stride = whole_numbers(self.size), whole_numbers(self.stride)
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
        if len(size) != len(stride) or count > storage.count or (count and last >= storage.count):
            raise damage(
                f"a tensor {size} with strides {stride} at {offset}, more than the "
                f"{storage.count} numbers that it has for it"
            )
        budget.spend(PER_TENSOR + count * storage.itemsize)
        numbers = storage.numbers
        if not count:
            return Numbers(numbers.kind, np.empty(size, numbers.array.dtype))
        steps = tuple(
            step * storage.itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True)
        )
        flat = numbers.array[offset:]
        view = np.lib.stride_tricks.as_strided(flat, size, steps, writeable=False)
        return Numbers(numbers.kind, view)


def whole_numbers(values: object) -> tuple[int, ...]:
    """``values`` if they are a few whole numbers of 0 or more."""
    if (
        not isinstance(values, tuple)
        or len(values) > MAX_AXES
        or not all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    ):
        raise damage(f"the shape {reprlib.repr(values)}")
    return values
