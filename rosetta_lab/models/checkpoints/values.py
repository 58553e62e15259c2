"""The values that network pickles are made of, built by functions of our own.

Arrays and tensors stay undecoded bytes until somebody wants them, so what a file holds beside the
wanted network costs nothing.
"""

from __future__ import annotations

import io
import math
import re
import reprlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta_lab.models.checkpoints.rules import (
    Buildable,
    Record,
    Rules,
    Symbol,
    check_keys,
    damage,
    refusal,
)
from rosetta_lab.models.checkpoints.tensors import dense
from rosetta_lab.models.checkpoints.torch_files import explained

NDARRAY = Symbol("numpy", "ndarray")
IMPORTED = Symbol("dill._dill", "_import_module")
NUMERIC = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")


class ArrayType(Buildable):
    """``numpy.dtype(code, align, copy)`` followed by a state whose second entry is the order."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code, self.order = code, ""

    def build(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
            self.order = state[1].replace("|", "")

    def numpy(self) -> np.dtype[np.generic]:
        """The type, if it is a plain number (never an object, a record or text)."""
        code = f"{self.order}{self.code}" if isinstance(self.code, str) else ""
        if not NUMERIC.fullmatch(code):
            raise refusal(f"an array of type {code!r}")
        return np.dtype(code)


class Array(Buildable):
    """A NumPy array or scalar: type, shape and bytes."""

    def __init__(self, kind: object = None, shape: object = (), data: object = b"") -> None:
        self.kind, self.shape, self.data, self.fortran = kind, shape, data, False

    def build(self, state: object) -> None:
        """Take the state of an array: (version,) shape, type, Fortran order, bytes."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise TypeError("an array without its state")
        self.shape, self.kind, fortran, self.data = state[-4:]
        self.fortran = bool(fortran)

    @property
    def nbytes(self) -> int:
        return len(self.data) if isinstance(self.data, bytes | bytearray) else 0

    def numpy(self) -> npt.NDArray[np.generic]:
        """The array, copied, in native byte order."""
        if not isinstance(self.kind, ArrayType):
            raise damage("an array without a type")
        kind = self.kind.numpy()
        if not isinstance(self.data, bytes | bytearray):
            raise refusal("an array whose contents are not numbers")
        shape = _whole_numbers(self.shape)
        if math.prod(shape) * kind.itemsize != len(self.data):
            raise damage(f"{len(self.data)} bytes for an array {shape} of {kind}")
        flat = np.frombuffer(self.data, kind).astype(kind.newbyteorder("="))
        return flat.reshape(shape, order="F" if self.fortran else "C")


@dataclass(eq=False)
class Storage:
    """Bytes of ``torch.save(storage)``: a pickle of its own, read by torch's restricted reader."""

    data: object

    @property
    def nbytes(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else 0

    @cached_property
    def tensor(self) -> Tensor:
        """All elements as one vector."""
        if not isinstance(self.data, bytes):
            raise damage("a tensor without bytes")
        try:
            with warnings.catch_warnings():  # typed storages are deprecated; these files have them
                warnings.simplefilter("ignore")
                stored = torch.load(io.BytesIO(self.data), map_location="cpu", weights_only=True)
                if not isinstance(stored, torch.storage.TypedStorage):
                    raise TypeError(f"a {type(stored).__name__}")
                return torch.empty(0, dtype=stored.dtype).set_(stored)
        except Exception as error:  # any kind, since the bytes may be anything
            raise explained(error, "the bytes of a tensor") from error


@dataclass(eq=False)
class StoredTensor:
    """A tensor as a view of a storage."""

    storage: object
    offset: object
    size: object
    stride: object

    @property
    def nbytes(self) -> int:
        """What reading it costs: the whole storage."""
        return self.storage.nbytes if isinstance(self.storage, Storage) else 0

    def tensor(self) -> Tensor:
        """The tensor, contiguous, after checking that the view lies inside the storage."""
        if not isinstance(self.storage, Storage):
            raise damage("a tensor without a storage")
        elements = self.storage.tensor
        (offset,) = _whole_numbers((self.offset,))
        size, stride = _whole_numbers(self.size), _whole_numbers(self.stride)
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=False))
        if len(size) != len(stride) or (count and last >= len(elements)) or count > len(elements):
            raise damage(
                f"a tensor {size} with strides {stride} at {offset} in {len(elements)} elements"
            )
        return dense(elements.as_strided(size, stride, offset))


def _whole_numbers(values: object) -> tuple[int, ...]:
    """``values`` if they are whole numbers of 0 or more."""
    if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
        raise damage(f"the shape {reprlib.repr(values)}")
    return values


def _new_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> object:
    return StoredTensor(storage, offset, size, stride)


def _parameter(tensor: object, *_: object) -> object:
    return tensor


def _persistent(meta: object) -> object:
    """A network object of the NVlabs tools: keep class name and state, drop the source code."""
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise TypeError("a persistent object without a class name")
    return Record(Symbol("", meta["class_name"]), state=meta.get("state"))


def _ndarray(kind: object, *_: object) -> object:
    if kind != NDARRAY:
        raise refusal(kind)
    return Array()


def _scalar(kind: object, data: object) -> object:
    return Array(kind, (), data)


def _from_buffer(data: object, kind: object, shape: object, order: object) -> object:
    array = Array(kind, shape, data)
    array.fortran = order == "F"
    return array


def _dill_array(make: object, args: object, state: object, *_: object) -> object:
    if not isinstance(make, Symbol) or make not in RECONSTRUCT:
        raise refusal(make)
    if not isinstance(args, tuple):
        raise TypeError("arguments that are no tuple")
    array = Array()
    array.build(state)
    return array


def _dill_type(name: object) -> object:
    if not isinstance(name, str):
        raise TypeError("a type without a name")
    return Symbol("types" if name.endswith("Type") else "builtins", name)


def _dill_attribute(module: object, name: object) -> object:
    """``_get_attr(_import_module(module), name)``: how dill before 0.3.5 spells some globals."""
    if isinstance(module, Record) and module.kind == IMPORTED and isinstance(name, str):
        match module.args:
            case (str(path),):
                return Symbol(path, name)
    raise refusal(f"an attribute of a value of type {type(module).__name__}")


def _encode(text: object, encoding: object) -> object:
    """Bytes, as Python 3 writes them in protocol 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise TypeError("bytes in an unusual encoding")
    return text.encode("latin1")


def _ordered_dict(pairs: object = ()) -> object:
    if not isinstance(pairs, dict):
        if not isinstance(pairs, list | tuple):
            raise TypeError("a dict made of something else")
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise TypeError("a dict made of something else than pairs")
        check_keys([key for key, _ in pairs])
    return dict(pairs)


def _collection(kind: Callable[[Iterable[object]], object]) -> Callable[..., object]:
    def make(values: object = ()) -> object:
        if not isinstance(values, list | tuple | set | frozenset):
            raise TypeError("a collection made of something else")
        if kind in (set, frozenset):
            check_keys(values)
        return kind(values)

    return make


MULTIARRAY = [
    f"numpy.{core}.{module}"
    for core in ("core", "_core")
    for module in ("multiarray", "_multiarray_umath")
]
RECONSTRUCT = {Symbol(module, "_reconstruct") for module in MULTIARRAY}
ARRAY_CALLS: dict[Symbol, Callable[..., object]] = {
    Symbol("numpy", "dtype"): ArrayType,
    Symbol("_codecs", "encode"): _encode,
    **dict.fromkeys(RECONSTRUCT, _ndarray),
    **{Symbol(module, "scalar"): _scalar for module in MULTIARRAY},
    Symbol("numpy.core.numeric", "_frombuffer"): _from_buffer,
    Symbol("numpy._core.numeric", "_frombuffer"): _from_buffer,
}

# Besides those that can be called.
PLAIN_TYPES = ("bool", "bytes", "complex", "float", "int", "object", "str", "type")

RULES = Rules(
    calls={
        **ARRAY_CALLS,
        Symbol("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
        Symbol("torch._utils", "_rebuild_tensor_v2"): _new_tensor,
        Symbol("torch._utils", "_rebuild_parameter"): _parameter,
        Symbol("torch.storage", "_load_from_bytes"): Storage,
        Symbol("collections", "OrderedDict"): _ordered_dict,
        Symbol("dnnlib.util", "EasyDict"): _ordered_dict,
        Symbol("dill._dill", "_create_array"): _dill_array,
        Symbol("dill._dill", "_load_type"): _dill_type,
        Symbol("dill._dill", "_get_attr"): _dill_attribute,
        Symbol("builtins", "dict"): _ordered_dict,
        Symbol("builtins", "list"): _collection(list),
        Symbol("builtins", "tuple"): _collection(tuple),
        Symbol("builtins", "set"): _collection(set),
        Symbol("builtins", "frozenset"): _collection(frozenset),
    },
    names={NDARRAY, *(Symbol("builtins", name) for name in PLAIN_TYPES)},
    # They occur in discriminators and feature networks, which nobody reads.
    stubs={
        Symbol("collections", "defaultdict"),
        Symbol("functools", "partial"),
        *(Symbol("types", f"{kind}Type") for kind in ("Method", "Function", "Code", "Partial")),
        Symbol("pathlib", "PosixPath"),
        Symbol("torch", "device"),
        Symbol("torch", "Size"),
        *(
            Symbol("dill._dill", f"_create_{what}")
            for what in ("function", "code", "cell", "ftype")
        ),
        IMPORTED,
    },
    stub_packages=("timm.", "torch.nn.", "torchvision."),
)
