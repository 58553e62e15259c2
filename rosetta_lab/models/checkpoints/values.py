"""The values that network pickles are made of, built by functions of our own.

Arrays and tensors stay undecoded bytes until somebody wants them, so what a file holds beside the
wanted network costs nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from rosetta_lab.models.checkpoints.rules import (
    Buildable,
    Record,
    Rules,
    Symbol,
    check_keys,
    damage,
    name_of,
    refusal,
)
from rosetta_lab.models.checkpoints.stored import SavedStorage, StoredTensor, whole_numbers

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
        """The array, copied, with the lowest byte of a number first."""
        if not isinstance(self.kind, ArrayType):
            raise damage("an array without a type")
        kind = self.kind.numpy()
        if not isinstance(self.data, bytes | bytearray):
            raise refusal("an array whose contents are not numbers")
        shape = whole_numbers(self.shape)
        if math.prod(shape) * kind.itemsize != len(self.data):
            raise damage(f"{len(self.data)} bytes for an array {shape} of {kind}")
        flat = np.frombuffer(self.data, kind).astype(kind.newbyteorder("<"))
        return flat.reshape(shape, order="F" if self.fortran else "C")


def _new_tensor(
    storage: object, offset: object, size: object, stride: object, *_: object
) -> object:
    return StoredTensor(storage, offset, size, stride)


def _parameter(tensor: object, *_: object) -> object:
    return tensor


def _with_attributes(make: object, _: object, args: object, *__: object) -> object:
    """A tensor to which somebody gave attributes, which are left out."""
    if not isinstance(make, Symbol) or make not in TENSOR_CALLS:
        raise refusal(make)
    if not isinstance(args, tuple):
        raise TypeError("arguments that are no tuple")
    return TENSOR_CALLS[make](*args)


def _persistent(meta: object) -> object:
    """A network object of the NVlabs tools: keep class name and state, drop the source code."""
    if not isinstance(meta, dict):
        raise TypeError("a persistent object without a description")
    return Record(Symbol("", name_of(meta.get("class_name"))), state=meta.get("state"))


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
    text = name_of(name)
    return Symbol("types" if text.endswith("Type") else "builtins", text)


def _dill_attribute(module: object, name: object) -> object:
    """``_get_attr(_import_module(module), name)``: how dill before 0.3.5 spells some globals."""
    if isinstance(module, Record) and module.kind == IMPORTED and len(module.args) == 1:
        return Symbol(name_of(module.args[0]), name_of(name))
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

TENSOR_CALLS: dict[Symbol, Callable[..., object]] = {
    Symbol("torch._utils", "_rebuild_tensor"): _new_tensor,
    Symbol("torch._utils", "_rebuild_tensor_v2"): _new_tensor,
    Symbol("torch._utils", "_rebuild_parameter"): _parameter,
    Symbol("torch._utils", "_rebuild_parameter_with_state"): _parameter,
}

# Besides those that can be called.
PLAIN_TYPES = ("bool", "bytes", "complex", "float", "int", "object", "str", "type")

RULES = Rules(
    calls={
        **ARRAY_CALLS,
        Symbol("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
        **TENSOR_CALLS,
        Symbol("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
        Symbol("torch.storage", "_load_from_bytes"): SavedStorage,
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
    # They occur in discriminators, feature networks and notes of trainers, which nobody reads.
    stubs={
        Symbol("argparse", "Namespace"),
        Symbol("collections", "defaultdict"),
        Symbol("functools", "partial"),
        *(Symbol("types", f"{kind}Type") for kind in ("Method", "Function", "Code", "Partial")),
        Symbol("pathlib", "PosixPath"),
        Symbol("torch", "device"),
        Symbol("torch", "Size"),
        Symbol("torch.serialization", "_get_layout"),
        *(
            Symbol("dill._dill", f"_create_{what}")
            for what in ("function", "code", "cell", "ftype")
        ),
        IMPORTED,
    },
    stub_packages=("timm.", "torch._utils", "torch.nn.", "torchvision."),
)
