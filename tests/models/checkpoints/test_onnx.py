"""ONNX files, written by the protobuf library: their weights, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_checks import private
from hostile import refused
from onnx_files import node, onnx_file, tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights

ONE = np.ones(3, np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private(tmp_path / "cache", monkeypatch)
    return tmp_path / "cache"


def loaded(data: bytes, tmp_path: Path) -> dict[str, torch.Tensor]:
    path = tmp_path / "network.onnx"
    path.write_bytes(data)
    return load_weights(str(path)).state_dict


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "kind", ["float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_tensors_of_every_type(kind: str, packed: bool, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 2, (3, 200, 2)).astype(kind)
    tensors = {"a.weight": numbers, "a.bias": numbers[0, 0], "a.steps": numbers[0, 0, 0]}
    state = loaded(onnx_file(tensors, packed=packed), tmp_path)
    assert state.keys() == tensors.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(state[name], torch.as_tensor(value), rtol=0, atol=0)


def test_an_empty_tensor(tmp_path: Path) -> None:
    empty = {"a": np.zeros((0, 4), np.float32), "b": ONE}
    assert loaded(onnx_file(empty), tmp_path)["a"].shape == (0, 4)


def test_nameless_tensors_are_called_after_their_nodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["onnx::MatMul_7", "onnx::Concat_3", "own.bias", "onnx::Unused_1"]
    weight, part, bias, unused = (rng.normal(size=(2, 3)).astype(np.float32) for _ in names)
    nodes = [
        node("MatMul", "/encoder/layer.0/fc1/MatMul", "x", names[0]),
        node("MatMul", "/head/MatMul", "y", names[0]),  # shared
        node("Concat", "/embeddings/Concat_6", "z", names[1], "own.bias"),
        node("Add", "", "x", names[1]),
    ]
    tensors = dict(zip(names, (weight, part, bias, unused), strict=True))
    expected = {
        "encoder.layer.0.fc1.weight": weight.T,
        "head.weight": weight.T,
        "embeddings.Concat_6.1": part,
        "own.bias": bias,
        "onnx::Unused_1": unused,
    }
    state = loaded(onnx_file(tensors, nodes), tmp_path)
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(state[name].numpy(), value), name


def test_a_file_is_not_opened_for_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(ONE.tobytes())
    where = {"key": "location", "value": "secret"}
    outside = tensor("a", ONE) | {"raw_data": b"", "external_data": [where], "data_location": 1}
    refused(onnx_file([outside]), tmp_path, "lie in another file")
    del outside["external_data"]
    refused(onnx_file([outside]), tmp_path, "lie in another file")


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "fewer numbers": ({"raw_data": bytes(8)}, "8 bytes for a tensor (3,)"),
    "endless": ({"dims": [1 << 40, 1 << 40]}, "12 bytes for a tensor"),
    "negative": ({"dims": [-3]}, "the shape (18446744073709551613,)"),
    "nine axes": ({"dims": [1] * 9}, "the shape (1, 1, 1"),
    "many axes": ({"dims": [1] * 100_000}, "the shape (1, 1, 1"),
    "complex": ({"data_type": 14}, "ONNX's type 14"),
    "texts": ({"data_type": 8}, "ONNX's type 8"),
    "no type": ({"data_type": 0}, "ONNX's type 0"),
    "floats": ({"raw_data": b"", "float_data": [1.0, 1.0, 1.0]}, "not stored as bytes"),
    "doubles": ({"raw_data": b"", "double_data": [1.0, 1.0, 1.0]}, "not stored as bytes"),
    "long name": ({"name": "a" * 501}, "as a name"),
    "very long name": ({"name": "a" * 1_000_000}, "as a name"),
    "two lines": ({"name": "a\nb"}, "as a name"),
    "cut within a letter": ({"name": "x" + "é" * 3_000}, "damaged"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors(kind: str, packed: bool, tmp_path: Path) -> None:
    fields, wanted = ODD[kind]
    refused(onnx_file([tensor("a", ONE) | fields], packed=packed), tmp_path, wanted)


def test_names_are_given_once(tmp_path: Path) -> None:
    twice = onnx_file([tensor("a", ONE), tensor("a", ONE)])
    refused(twice, tmp_path, "two tensors a")
    square = np.ones((2, 2), np.float32)
    named = {"fc.weight": square, "onnx::MatMul_1": square}
    clash = onnx_file(named, [node("MatMul", "/fc/MatMul", "x", "onnx::MatMul_1")])
    refused(clash, tmp_path, "two tensors fc.weight")


def test_one_tensor_under_many_names(tmp_path: Path) -> None:
    """A megabyte, in a thousand nodes."""
    nodes = [node("Add", f"/{index}/Add", "x", "onnx::Add_1") for index in range(1_000)]
    data = onnx_file({"onnx::Add_1": np.ones(1 << 18, np.float32)}, nodes)
    assert len(data) < 2 << 20
    refused(data, tmp_path, "unpack to more than")
    inputs = node("Sum", "/Sum", *["onnx::Add_1"] * 100_000)
    refused(onnx_file({"onnx::Add_1": ONE}, [inputs]), tmp_path, "unpack to more than")


def test_many_small_tensors(tmp_path: Path) -> None:
    tensors = [{"name": f"{index}", "dims": [0], "data_type": 1} for index in range(30_000)]
    refused(onnx_file(tensors), tmp_path, "unpack to more than")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\x08\x07\x12\x03abc", "0 graphs"),
        (b"\x08\x07\x3a\x00\x3a\x00", "2 graphs"),
        (b"\x08\x07\x12\x03abc\x38\x01", "a number in place of a message"),
        (b"\x08\x07\x3a\x04\x2a\x02\x40\x01", "a number in place of a message"),
        (b"\x08\x07\x3a\x7f\x00", "longer than the message"),
        (b"\x08\x07\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "longer than the message"),
        (b"\x08\x07\x3a" + b"\xff" * 20, "more than ten bytes"),
        (b"\x08\x07\x3a\xff", "truncated"),
        (b"\x08\x07\x3a\x01\x0b", "a field of kind 3"),
    ],
    ids=range(9),
)
def test_messages_that_are_none(data: bytes, wanted: str, tmp_path: Path) -> None:
    refused(data, tmp_path, wanted)


def test_mutilated_files_never_raise_anything_else(tmp_path: Path) -> None:
    weight = np.ones((4, 4), np.float32)
    nodes = [node("MatMul", "/fc/MatMul", "x", "onnx::MatMul_1")]
    data = onnx_file({"onnx::MatMul_1": weight, "fc.bias": weight[0]}, nodes)
    for part in (0.1, 0.5, 0.9, 0.999):
        refused(data[: int(len(data) * part)], tmp_path, "ownload it again")
    rng = random.Random(0)
    outcomes = {"fine": 0, "refused": 0}
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            damaged[rng.randrange(3, len(data))] = rng.randrange(256)
        try:
            loaded(bytes(damaged), tmp_path)
            outcomes["fine"] += 1
        except RosettaError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes
