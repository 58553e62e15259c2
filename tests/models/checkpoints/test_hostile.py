"""Files that attack their reader: nothing runs, and the message says what was asked for."""

from __future__ import annotations

import functools
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch
from checkpoint_checks import private
from checkpoint_files import (
    Golden,
    Reduced,
    nvlabs_network,
    nvlabs_pickle,
    persistent,
    rosinality_checkpoint,
    tensorflow_network,
    tensorflow_pickle,
)
from hostile import TINY, Misshapen, network, refused, tensorflow, torch_file, zipped
from torch.storage import _load_from_bytes

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights

# The formats under test use typed storages, which torch no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage", "ignore:Validating sparse")
PAYLOADS = list(hostile.payloads(Path("marker")))
STREAMS = list(hostile.opcode_streams(Path("marker")))
listeners: list[list[str]] = []  # hear of audit events


def _report(event: str, _: tuple[Any, ...]) -> None:
    for events in listeners:
        events.append(event)


sys.addaudithook(_report)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it_ran"


@pytest.fixture(autouse=True)
def nothing_runs(marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In every test here: no payload leaves its mark."""
    private(tmp_path / "cache", monkeypatch)
    yield
    assert not marker.exists()
    assert not list(tmp_path.glob("cache/converted/*.safetensors"))


def in_module(payload: Any) -> bytes:
    attributes = {"mapping.fc0": {"activation": payload}}
    return nvlabs_pickle(nvlabs_network(TINY, [], attributes=attributes))


PLACES: dict[str, Callable[[Any], bytes]] = {
    "root": pickle.dumps,
    "root_protocol_2": lambda payload: pickle.dumps(payload, 2, fix_imports=False),
    "discriminator": lambda payload: nvlabs_pickle(network(), D=payload),
    "generator": lambda payload: nvlabs_pickle(payload),
    "attribute": lambda payload: nvlabs_pickle(network(hook=payload), 3),
    "module_state": in_module,
    "constructor": lambda payload: nvlabs_pickle(network(_init_kwargs={"z_dim": payload})),
    "persistent_object": lambda payload: nvlabs_pickle(persistent("Generator", payload)),
    "tensorflow_arguments": lambda payload: tensorflow(static_kwargs={"resolution": payload}),
    "tensorflow_variable": lambda payload: tensorflow(variables=[("lod", payload)]),
    "tensorflow_component": lambda payload: tensorflow(components={"mapping": payload}),
    "torch_zip": lambda payload: torch_file({"model": payload}, zipped=True),
    "torch_legacy": lambda payload: torch_file({"model": payload}, zipped=False),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_payloads_are_live(name: str, tmp_path: Path) -> None:
    """Python's own reader does run them; otherwise the tests below would show nothing."""
    mark = tmp_path / "control"
    value = pickle.loads(pickle.dumps(hostile.payloads(mark)[name]))
    if name == "subprocess.Popen":
        value.wait()
    elif name == "io.open":
        value.close()
    assert mark.exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PAYLOADS)
def test_calls_are_refused_by_name(name: str, place: str, marker: Path, tmp_path: Path) -> None:
    # torch.save writes the names of Python 2, which differ in the module.
    wanted = name.split(".")[1] if place.startswith("torch") else name
    message = refused(PLACES[place](hostile.payloads(marker)[name]), tmp_path, wanted)
    assert "refused" in message and "Nothing was run" in message
    assert "weights=PATH" in message


@pytest.mark.parametrize("trick", STREAMS)
def test_tricks_with_opcodes(trick: str, marker: Path, tmp_path: Path) -> None:
    wanted, data = hostile.opcode_streams(marker)[trick]
    refused(data, tmp_path, wanted)


@pytest.mark.parametrize("place", ["good", *PLACES])
def test_the_interpreter_reports_no_call(
    place: str, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python raises audit events for look-ups and processes, whatever way leads to them."""
    events: list[str] = []
    path = tmp_path / "network.pkl"
    if place == "good":
        golden = Golden.read("stylegan2_tf_cond")
        path.write_bytes(tensorflow_pickle(tensorflow_network(golden)))
    else:
        payload = hostile.payloads(marker)["subprocess.check_call"]
        path.write_bytes(PLACES[place](payload))
    listeners.append(events)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "good"))
    try:
        pickle.loads(pickle.dumps(functools.partial(int)))
        assert "pickle.find_class" in events, "the test would hear it"
        events.clear()
        with nullcontext() if place == "good" else pytest.raises(RosettaError):
            load_weights(str(path))
    finally:
        listeners.remove(events)
    assert not {"pickle.find_class", "os.system", "subprocess.Popen", "os.exec"} & set(events)


# a pickle within the pickle --------------------------------------------------------------------


def storage_network(data: Any, size: tuple[int, ...] = (2, 2)) -> bytes:
    """A file whose generator has a parameter that is a view of the storage ``data``."""
    build = torch._utils._rebuild_tensor_v2
    stored = Reduced(build, Reduced(_load_from_bytes, data), 0, size, (size[-1], 1), False, {})
    reduced = Reduced(torch._utils._rebuild_parameter, stored, True, {})
    return nvlabs_pickle(
        persistent("Generator", {"_parameters": {"weight": reduced}, "_modules": {}})
    )


@pytest.mark.parametrize("name", PAYLOADS)
def test_pickle_inside_a_storage(name: str, marker: Path, tmp_path: Path) -> None:
    payload = hostile.payloads(marker)[name]
    refused(storage_network(pickle.dumps(payload, 2)), tmp_path, "the bytes of a tensor")
    message = refused(
        storage_network(torch_file(payload, zipped=False)), tmp_path, "Nothing was run"
    )
    assert name.split(".")[1] in message


def test_a_storage_that_is_something_else(tmp_path: Path) -> None:
    refused(storage_network(torch_file({"a": 1}, zipped=False)), tmp_path, "the bytes of a tensor")
    refused(
        storage_network(torch_file(torch.ones(4), zipped=True)), tmp_path, "the bytes of a tensor"
    )
    refused(storage_network(b""), tmp_path, "the bytes of a tensor")
    refused(storage_network("text"), tmp_path, "without bytes")


def numbers() -> bytes:
    return torch_file(torch.arange(4.0).storage(), zipped=False)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (1, (2, 2), (2, 1)),
        (-1, (2, 2), (2, 1)),
        (0, (2, 3), (3, 1)),
        (0, (2, 2), (2, -1)),
        (0, (2, 2), (1 << 40, 1)),
        (0, (1 << 20, 1 << 20), (0, 0)),
        (0, (2, 2), (1,)),
        (0, (2.0, 2), (2, 1)),
        (0, "22", (2, 1)),
        (0, (True, 2), (2, 1)),
        (4, (1,), (1,)),
    ],
)
def test_views_outside_their_storage(offset: Any, size: Any, stride: Any, tmp_path: Path) -> None:
    stored = Reduced(_load_from_bytes, numbers())
    view = Reduced(torch._utils._rebuild_tensor_v2, stored, offset, size, stride, False, {})
    state = {"_parameters": {"weight": view}, "_modules": {}}
    refused(nvlabs_pickle(persistent("Generator", state)), tmp_path, "damaged")


def test_huge_storage_in_few_bytes(tmp_path: Path) -> None:
    data = numbers().replace(b"K\x04Nt", b"\x8a\x06\x00\x00\x00\x00\x00\x10Nt")  # 4 becomes 2**44
    assert data != numbers()
    refused(storage_network(data), tmp_path, "the bytes of a tensor")


# arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([{"a": 1}, None], object), "'O8'"),
        (np.array(["text"]), "'<U4'"),
        (np.zeros(2, [("a", "f4")]), "'V4'"),
        (np.array([1 + 2j]), "'<c16'"),
    ],
)
def test_arrays_of_anything_but_numbers(array: Any, wanted: str, tmp_path: Path) -> None:
    refused(tensorflow(variables=[("lod", array)]), tmp_path, wanted)


def test_objects_in_an_array(marker: Path, tmp_path: Path) -> None:
    payload = hostile.payloads(marker)["builtins.eval"]
    array = np.array([payload, payload], object)
    refused(tensorflow(variables=[("lod", array)]), tmp_path, "builtins.eval")


@pytest.mark.parametrize("shape", [(5,), (1 << 62, 1 << 62), (-4,), ("4",), [4], None])
def test_arrays_whose_bytes_do_not_fit(shape: Any, tmp_path: Path) -> None:
    refused(tensorflow(variables=[("lod", Misshapen(shape))]), tmp_path, "damaged")


def test_subclasses_of_arrays(tmp_path: Path) -> None:
    matrix = np.ones(3, np.float32).view(np.recarray)
    refused(tensorflow(variables=[("lod", matrix)]), tmp_path, "numpy")


# damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["nvlabs", "tensorflow", "torch_zip", "torch_legacy", "rosinality"]
)
def test_truncated_files(kind: str, tmp_path: Path) -> None:
    data = {
        "nvlabs": lambda: nvlabs_pickle(network()),
        "tensorflow": lambda: tensorflow_pickle(
            tensorflow_network(Golden.read("stylegan2_tf_cond"))
        ),
        "torch_zip": lambda: torch_file({"model": TINY}, zipped=True),
        "torch_legacy": lambda: torch_file({"model": TINY}, zipped=False),
        "rosinality": lambda: torch_file(
            rosinality_checkpoint(Golden.read("stylegan2_rosinality")), zipped=True
        ),
    }[kind]()
    for part in (0.1, 0.5, 0.9, 0.999):
        message = refused(data[: int(len(data) * part)], tmp_path, "truncated")
        assert "ownload it again" in message


def test_mutilated_files_never_raise_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "good"))
    data = nvlabs_pickle(network(_init_kwargs={"z_dim": 2}, _init_args=(2, 0)))
    rng = random.Random(0)
    outcomes = {"fine": 0, "refused": 0}
    for index in range(300):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            damaged[rng.randrange(2, len(data))] = rng.randrange(256)
        path = tmp_path / f"{index}.pkl"
        path.write_bytes(damaged)
        try:
            load_weights(str(path))
            outcomes["fine"] += 1
        except RosettaError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\x1f\x8b\x08" + bytes(20), "compressed with gzip"),
        (b"\xfd7zXZ\0" + bytes(20), "compressed with xz"),
        (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file"),
        (b"cposix\nsystem\n(S'true'\ntR.", "unknown format"),
        (b"\x80\x04", "truncated"),
        (b"\x80\x04}.", "a pickle of a dict"),
        (b"\x80\x04)).", "not a tuple (G, D, Gs)"),
        (zipped({"readme.txt": b"hello"}), "zip archive without a checkpoint"),
        (zipped({"data.pkl": b"", "constants.pkl": b""}), "TorchScript"),
        (struct.pack("<Q", 40) + b"{" + bytes(60), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_files_that_are_no_checkpoints(data: bytes, wanted: str, tmp_path: Path) -> None:
    refused(data, tmp_path, wanted)


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        torch.ones(3, dtype=torch.complex64),
    ],
    ids=["sparse", "meta", "complex"],
)
def test_tensors_that_are_no_plain_numbers(value: Any, tmp_path: Path) -> None:
    refused(torch_file({"a": value}, zipped=True), tmp_path, "expected a plain tensor")
