"""Tensors as files hold them, without torch: a type, a shape and bytes that are checked first."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.rules import Symbol, damage, name_of, refusal

Buffer = bytes | bytearray | memoryview
Floats = npt.NDArray[np.float32]

# Types that a network's tensors have, under their names in safetensors, and how NumPy sees them;
# it has no bfloat16.
TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "u1"},
}
# What torch calls a row of such numbers, and of others, of which only the size matters.
STORAGES = {
    **{"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16"},
    **{"BFloat16Storage": "BF16", "LongStorage": "I64", "IntStorage": "I32"},
    **{"ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL"},
}
OTHER_SIZES = {
    **{"ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "QInt32Storage": 4},
    **{"QInt8Storage": 1, "QUInt8Storage": 1, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1},
}

TAPS = (1, 3, 3, 1)  # of StyleGAN2's filter


@dataclass(frozen=True, eq=False, repr=False)
class Numbers:
    """A tensor: the name of its type in :data:`TYPES`, and its items, perhaps as a view."""

    kind: str
    array: npt.NDArray[Any]

    @classmethod
    def of(cls, array: npt.ArrayLike) -> Numbers:
        """Single-precision numbers."""
        return cls("F32", np.asarray(array, "<f4"))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def reshape(self, shape: tuple[int, ...]) -> Numbers:
        return Numbers(self.kind, self.array.reshape(shape))

    def floats(self) -> Floats:
        """The numbers in single precision, to calculate with."""
        if self.kind == "BF16":  # the upper half of a single-precision number
            return (self.array.astype("<u4") << 16).view("<f4")
        return self.array.astype("<f4")


@dataclass(eq=False, repr=False)
class Storage:
    """Numbers of one type in a row; tensors are views of such.

    Attributes:
        name: of the type, such as ``FloatStorage``.
        count: how many.
        data: reads their bytes.
    """

    name: str
    count: int
    data: Callable[[], Buffer]

    @property
    def itemsize(self) -> int:
        if self.name in STORAGES:
            return np.dtype(TYPES[STORAGES[self.name]]).itemsize
        return OTHER_SIZES[self.name]

    @cached_property
    def numbers(self) -> Numbers:
        """All of them, without a copy, after checking that the file holds as many."""
        if self.name not in STORAGES:
            raise RosettaError(
                f"a tensor of the type {self.name.removesuffix('Storage')}; expected a plain "
                "tensor of numbers.\nThe file is damaged or not a checkpoint."
            )
        kind, data = STORAGES[self.name], self.data()
        if len(data) != self.count * self.itemsize:
            raise damage(f"{len(data)} bytes for {self.count} numbers of type {kind}")
        return Numbers(kind, np.frombuffer(data, TYPES[kind]))


def lowpass(taps: Sequence[float]) -> Numbers:
    """StyleGAN2's filter of these taps along both axes, of sum 1."""
    kernel = np.outer(taps, taps)
    return Numbers.of(kernel / kernel.sum())


class Storages:
    """The storages that the persistent ids of one ``torch.save`` name, by their keys.

    Args:
        read: bytes of a storage by its key.
    """

    def __init__(self, read: Callable[[str], Buffer]) -> None:
        self.read = read
        self.by_key: dict[str, Storage] = {}

    def __call__(self, identity: object) -> Storage:
        """The storage behind ``("storage", type, key, location, count)``, and a view of old files.

        Raises:
            RosettaError: it is something else, or contradicts what was said of the same key.
        """
        match identity:
            case ("storage", Symbol("torch" | "torch.cuda", name), key, _, int(count), *rest):
                if rest in ([], [None]) and count >= 0 and name in STORAGES | OTHER_SIZES:
                    key = name_of(key)
                    known = self.by_key.setdefault(
                        key, Storage(name, count, lambda: self.read(key))
                    )
                    if (known.name, known.count) != (name, count):
                        raise damage(f"two descriptions of the storage {key}")
                    return known
            case ("module", Symbol() as kind, *_):  # with the source of a class
                raise refusal(kind)
        raise damage(f"a storage described as {reprlib.repr(identity)}")
