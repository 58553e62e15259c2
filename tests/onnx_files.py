"""Writes ONNX files by the protobuf library, from the fields of ONNX's definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

KINDS = descriptor_pb2.FieldDescriptorProto
# name, number, type or message, repeated
FIELDS: dict[str, list[tuple[str, int, Any, bool]]] = {
    "Model": [
        ("ir_version", 1, KINDS.TYPE_INT64, False),
        ("producer_name", 2, KINDS.TYPE_STRING, False),
        ("model_version", 5, KINDS.TYPE_INT64, False),
        ("graph", 7, "Graph", False),
    ],
    "Graph": [
        ("node", 1, "Node", True),
        ("name", 2, KINDS.TYPE_STRING, False),
        ("initializer", 5, "Tensor", True),
    ],
    "Node": [
        ("input", 1, KINDS.TYPE_STRING, True),
        ("output", 2, KINDS.TYPE_STRING, True),
        ("name", 3, KINDS.TYPE_STRING, False),
        ("op_type", 4, KINDS.TYPE_STRING, False),
        ("attribute", 5, "Attribute", True),
    ],
    "Attribute": [("name", 1, KINDS.TYPE_STRING, False), ("f", 2, KINDS.TYPE_FLOAT, False)],
    "Tensor": [
        ("dims", 1, KINDS.TYPE_INT64, True),
        ("data_type", 2, KINDS.TYPE_INT32, False),
        ("float_data", 4, KINDS.TYPE_FLOAT, True),
        ("name", 8, KINDS.TYPE_STRING, False),
        ("raw_data", 9, KINDS.TYPE_BYTES, False),
        ("double_data", 10, KINDS.TYPE_DOUBLE, True),
        ("external_data", 13, "Entry", True),
        ("data_location", 14, KINDS.TYPE_INT32, False),
    ],
    "Entry": [("key", 1, KINDS.TYPE_STRING, False), ("value", 2, KINDS.TYPE_STRING, False)],
}
DATA_TYPES = {
    **{"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9},
    **{"float16": 10, "float64": 11, "complex64": 14},
}


def messages(packed: bool = False) -> dict[str, Any]:
    """The classes of ONNX's messages, by name.

    Args:
        packed: write shapes as one field, as some writers do.
    """
    file = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package="onnx", syntax="proto2")
    for message, fields in FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = described.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = KINDS.TYPE_MESSAGE, f".onnx.{kind}"
            else:
                field.type = kind
            if name == "dims" and packed:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnx.{name}"))
        for name in FIELDS
    }


def tensor(name: str, value: np.ndarray) -> dict[str, Any]:
    """Fields of an initialiser."""
    return {
        "name": name,
        "dims": list(value.shape),
        "data_type": DATA_TYPES[value.dtype.name],
        "raw_data": value.tobytes(),
    }


def node(operator: str, name: str, *inputs: str) -> dict[str, Any]:
    """Fields of a node, with an attribute, which is in nobody's way."""
    attribute = [{"name": "alpha", "f": 0.5}]
    return {"op_type": operator, "name": name, "input": list(inputs), "attribute": attribute}


def onnx_file(
    tensors: Mapping[str, np.ndarray] | list[dict[str, Any]],
    nodes: list[dict[str, Any]] | None = None,
    *,
    packed: bool = False,
) -> bytes:
    """A whole file.

    Args:
        tensors: initialisers, or their fields.
        nodes: fields of nodes.
        packed: see :func:`messages`.
    """
    if isinstance(tensors, Mapping):
        tensors = [tensor(name, value) for name, value in tensors.items()]
    graph = {"name": "main", "node": nodes or [], "initializer": tensors}
    model = {"ir_version": 8, "producer_name": "pytorch", "graph": graph}
    written: bytes = messages(packed)["Model"](**model).SerializeToString()
    return written
