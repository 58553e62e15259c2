"""Small files that ask for endless time or memory: refused soon, with two lines."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from checkpoint_checks import private
from checkpoint_files import (
    Network,
    Reduced,
    nvlabs_pickle,
    persistent,
)
from hostile import Misshapen, network, refused, tensorflow, torch_file, zipped
from torch.storage import _load_from_bytes

from rosetta_lab.models.checkpoints import load_weights

# The formats under test use typed storages, which torch no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage")


@pytest.fixture(autouse=True)
def nothing_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    private(tmp_path / "cache", monkeypatch)
    yield
    assert not list(tmp_path.glob("cache/converted/*.safetensors"))


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n.removeprefix("archive/"): archive.read(n) for n in archive.namelist()}


def test_zip_bomb(tmp_path: Path) -> None:
    entries = entries_of(torch_file({"a": torch.zeros(8 << 20)}, zipped=True))
    data = zipped(entries)
    assert len(data) < 100_000
    refused(data, tmp_path, "unpack to more than")


def test_a_compressed_archive_of_numbers_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"a": torch.randn(1000)}
    path = tmp_path / "model.pth"
    path.write_bytes(zipped(entries_of(torch_file(state, zipped=True))))
    # Not converted under the cache that the fixture looks at.
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "good"))
    weights = load_weights(str(path))
    assert torch.equal(weights.state_dict["a"], state["a"])


def test_record_shorter_than_its_tensor(tmp_path: Path) -> None:
    entries = entries_of(torch_file({"a": torch.zeros(1000)}, zipped=True))
    entries["data/0"] = entries["data/0"][:100]
    refused(zipped(entries, zipfile.ZIP_STORED), tmp_path, "damaged")


@pytest.mark.parametrize("as_zip", [True, False])
def test_tensor_that_repeats_one_number(as_zip: bool, tmp_path: Path) -> None:
    state = {"a": torch.ones(1).expand(1 << 30, 1 << 10)}
    refused(torch_file(state, zipped=as_zip), tmp_path, "more than the 1 numbers")


def test_modules_shared_without_end(tmp_path: Path) -> None:
    """Thirty modules, each holding the next one twice: a billion names."""
    module: Any = persistent("Layer", {"_modules": {}})
    for _ in range(30):
        module = persistent("Layer", {"_modules": {"a": module, "b": module}})
    refused(nvlabs_pickle(module), tmp_path, "more than 10000 modules")


def test_values_shared_without_end(tmp_path: Path) -> None:
    """Thirty lists, each holding the next one twice, wherever something could print them."""
    value: Any = [0]
    for _ in range(30):
        value = [value, value]
    for endless in (value, (value,), {"a": value}):
        refused(nvlabs_pickle(network(_init_kwargs={"z_dim": endless})), tmp_path, "plain values")
        refused(tensorflow(static_kwargs=endless), tmp_path, "")
        refused(tensorflow(version=endless), tmp_path, "of version")
        refused(tensorflow(variables=[("lod", Misshapen(endless))]), tmp_path, "")
        refused(tensorflow(variables=[("lod", endless)]), tmp_path, "as the variable lod")


def test_one_storage_under_many_names(tmp_path: Path) -> None:
    """A megabyte, a hundred times: in copies, in storages, in arrays, in a state dict."""
    numbers = torch.ones(1 << 18)
    data = torch_file(numbers.storage(), zipped=False)
    build = torch._utils._rebuild_tensor_v2
    view = Reduced(build, Reduced(_load_from_bytes, data), 0, (1 << 18,), (1,), False, {})
    views = {
        f"w{index}": Reduced(build, Reduced(_load_from_bytes, data), 0, (1,), (1,), False, {})
        for index in range(100)
    }
    for tensors in ({f"w{index}": view for index in range(100)}, views):
        state = {"_parameters": tensors, "_modules": {}}
        refused(nvlabs_pickle(persistent("Generator", state)), tmp_path, "unpack to more than")
    array = numbers.numpy()
    named = [(f"w{index}", array) for index in range(100)]
    refused(tensorflow(variables=named), tmp_path, "unpack to more than")
    state = {f"w{index}": numbers for index in range(100)}
    for checkpoint in (
        state,
        {"g_ema": state | {"style.1.weight": numbers, "input.input": numbers}},
    ):
        refused(torch_file(checkpoint, zipped=True), tmp_path, "unpack to more than")


@pytest.mark.parametrize("kind", [list, tuple, set, dict])
def test_copies_of_a_copy(kind: type, tmp_path: Path) -> None:
    numbers = list(range(1 << 17))
    value = dict.fromkeys(numbers) if kind is dict else numbers
    copies = [Reduced(kind, value) for _ in range(200)]
    refused(nvlabs_pickle(network(), D=copies), tmp_path, "unpack to more than")


def test_long_names(tmp_path: Path) -> None:
    """A name of a hundred thousand letters, shared by thirty levels of modules."""
    name = "n" * 100_000
    module: Any = persistent("Layer", {"_modules": {}})
    for _ in range(30):
        module = persistent("Layer", {"_modules": {name: module}})
    refused(nvlabs_pickle(module), tmp_path, "100000 characters long, as a name")


NESTED = b")" + b"2\x86" * 60  # a tuple that holds the last one twice, sixty times


@pytest.mark.parametrize(
    "body",
    [
        b"}" + NESTED + b"Ns",
        b"}(" + NESTED + b"Nu",
        b"(" + NESTED + b"Nd",
        b"\x8f(" + NESTED + b"\x90",
        b"(" + NESTED + b"\x91",
        hostile.by_name("builtins", "set") + b"]" + NESTED + b"a\x85R",
        hostile.by_name("collections", "OrderedDict") + b"]" + NESTED + b"N\x86a\x85R",
        hostile.by_name("dill._dill", "_create_array") + NESTED + b"))\x87R",
    ],
    ids=["setitem", "setitems", "dict", "additems", "frozenset", "set", "ordered_dict", "array"],
)
def test_keys_whose_hash_never_ends(body: bytes, tmp_path: Path) -> None:
    refused(hostile.raw(body), tmp_path, "pickle")


def test_a_module_that_holds_itself(tmp_path: Path) -> None:
    state: dict[str, Any] = {"_parameters": {}, "_modules": {}}

    class Loop:
        def __reduce__(self) -> Any:
            return persistent("Generator", state).__reduce__()

    state["_modules"]["self"] = Network(state)
    refused(nvlabs_pickle(Loop()), tmp_path, "characters long, as a name")


def test_deep_nesting(tmp_path: Path) -> None:
    refused(hostile.raw(b"(" * 50_000 + b"t" * 50_000), tmp_path, "not a tuple (G, D, Gs)")
    refused(hostile.raw(b"(" * 500_000 + b"t" * 500_000), tmp_path, "unpack to more than")
    refused(hostile.raw(b")" + b"\x85" * 100_000 + b"}\x86\x85R"), tmp_path, "")


def test_lengths_beyond_the_file(tmp_path: Path) -> None:
    for opcode in (b"\x8e", b"\x8d", b"\x96", b"\x95"):
        for length in (1 << 20, 1 << 40, (1 << 64) - 1):
            refused(hostile.raw(opcode + struct.pack("<Q", length), 5), tmp_path, "truncated")
