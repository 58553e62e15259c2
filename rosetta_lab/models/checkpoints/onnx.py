"""The weights in an ONNX file, from its bytes: no graph is run, no other file is opened.

The file is a protobuf message: a row of fields, each a number (its meaning) and a value, which is a
whole number or some bytes, perhaps a message again. What is wanted of it:

    model   7 graph
    graph   1 node, 5 initializer
    node    1 input, 3 name, 4 operator
    tensor  1 dims, 2 type, 8 name, 9 numbers; 13 and 14 tell of another file
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import MAX_NAME, damage, name_of
from rosetta_lab.models.checkpoints.stored import MAX_AXES, PER_TENSOR, whole_numbers
from rosetta_lab.models.checkpoints.tensors import TYPES, Numbers

Value = int | memoryview
Uses = dict[str, list[tuple[str, str, int]]]  # name to operator, node and place among its inputs

VARINT, BYTES = 0, 2  # kinds of values; of others only the size matters
SIZES = {1: 8, 5: 4}
TENSOR_TYPES = {
    **{1: "F32", 10: "F16", 11: "F64", 16: "BF16", 9: "BOOL"},
    **{2: "U8", 3: "I8", 5: "I16", 6: "I32", 7: "I64"},
}
# PyTorch's exporter writes a linear layer's weight transposed, and calls it after nothing.
NAMELESS = "onnx::"


def is_onnx(head: bytes) -> bool:
    """Whether a file begins as ONNX does: its version, then another field of a model.

    Args:
        head: the first bytes.
    """
    return re.match(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", head) is not None


def read_onnx(data: memoryview, budget: Budget) -> dict[str, Numbers]:
    """The initialisers of a model's graph, as views of ``data``.

    One without a name of its own is called after the nodes that use it: the second factor of
    ``/encoder/fc1/MatMul`` is the transposed ``encoder.fc1.weight``; the first input of
    ``/embeddings/Concat_6`` becomes ``embeddings.Concat_6.0``.

    Args:
        data: of the whole file.
        budget: what may be made of it.

    Raises:
        RosettaError: it is damaged, or its numbers are of an odd type, or in another file.
    """
    graphs = [_bytes(value) for number, value in _fields(data) if number == 7]
    if len(graphs) != 1:
        raise damage(f"{len(graphs)} graphs", "ONNX file")
    tensors: dict[str, Numbers] = {}
    uses: Uses = {}
    for number, value in _fields(graphs[0]):
        if number == 5:
            _add(tensors, *_tensor(_bytes(value), budget))
        elif number == 1:
            _note_uses(_bytes(value), uses, budget)
    state: dict[str, Numbers] = {}
    for name, numbers in tensors.items():
        if name not in uses:
            _add(state, name, numbers)
        for operator, node, place in uses.get(name, ()):
            budget.spend(PER_TENSOR + numbers.array.nbytes)
            if (operator, place) == ("MatMul", 1) and len(numbers.shape) == 2:
                layer = node.rpartition(".")[0]
                _add(state, f"{layer}.weight", Numbers(numbers.kind, numbers.array.T))
            else:
                _add(state, f"{node}.{place}", numbers)
    return state


def _add(state: dict[str, Numbers], name: str, numbers: Numbers) -> None:
    if name in state:
        raise damage(f"two tensors {name}", "ONNX file")
    state[name] = numbers


def _note_uses(message: memoryview, uses: Uses, budget: Budget) -> None:
    """Add to ``uses`` the tensors without names among a node's inputs."""
    operator = node = ""
    place = 0
    nameless: list[tuple[str, int]] = []
    for number, value in _fields(message):
        if number == 1:
            if bytes(_bytes(value)[: len(NAMELESS)]) == NAMELESS.encode():
                budget.spend(PER_TENSOR)
                nameless.append((_name(value), place))
            place += 1
        elif number == 3:
            node = _name(value).strip("/").replace("/", ".")
        elif number == 4:
            operator = _name(value)
    if node:  # which it need not have
        for name, place in nameless:
            uses.setdefault(name, []).append((operator, node, place))


def _tensor(message: memoryview, budget: Budget) -> tuple[str, Numbers]:
    """Name and contents of an initialiser."""
    name, kind, raw = "", 0, memoryview(b"")
    dims: list[int] = []
    for number, value in _fields(message):
        match number:
            case 1 if len(dims) <= MAX_AXES:
                dims += [value] if isinstance(value, int) else _few_varints(value)
            case 2:
                kind = value if isinstance(value, int) else 0
            case 8:
                name = _name(value)
            case 9:
                raw = _bytes(value)
            case 13 | 14 if value != 0:
                raise RosettaError(
                    "refused: an ONNX file whose numbers lie in another file.\n"
                    "Save it with its weights inside, and pass weights=PATH."
                )
            case 4 | 5 | 6 | 7 | 10 | 11:
                raise RosettaError(
                    "an ONNX file with numbers that are not stored as bytes.\n"
                    "Save it anew with raw data, or get safetensors, and pass weights=PATH."
                )
    if kind not in TENSOR_TYPES:
        raise RosettaError(
            f"a tensor of ONNX's type {kind}; expected a plain tensor of numbers.\n"
            "Get the weights in single or half precision."
        )
    size, dtype = whole_numbers(tuple(dims)), np.dtype(TYPES[TENSOR_TYPES[kind]])
    if math.prod(size) * dtype.itemsize != len(raw):
        raise damage(f"{len(raw)} bytes for a tensor {size} of {dtype}", "ONNX file")
    budget.spend(PER_TENSOR + len(raw))
    return name, Numbers(TENSOR_TYPES[kind], np.frombuffer(raw, dtype).reshape(size))


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message, one after the other."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == BYTES:
            size, position = _varint(message, position)
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise damage(f"a field of kind {kind}", "ONNX file")
        if size > len(message) - position:
            raise damage("a field that is longer than the message around it", "ONNX file")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The whole number at ``position``, seven bits a byte, lowest first; and what is behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise damage("a number of more than ten bytes", "ONNX file")


def _few_varints(packed: memoryview) -> list[int]:
    """Whole numbers in a row; a shape that has too many axes is not read to its end."""
    values: list[int] = []
    position = 0
    while position < len(packed) and len(values) <= MAX_AXES:
        value, position = _varint(packed, position)
        values.append(value)
    return values


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise damage("a number in place of a message", "ONNX file")
    return value


def _name(value: Value) -> str:
    """Text that is a name; of a longer one no more is decoded than shows that it is too long."""
    return name_of(bytes(_bytes(value)[: 4 * MAX_NAME + 4]).decode())
