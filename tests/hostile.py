"""Pickles that would run something if anybody let them.

Every payload, when it runs, creates a file; :func:`payloads` gives them by the name that a reader
has to refuse them by.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import Network, Reduced, nvlabs_network, tensorflow_pickle

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_weights

TINY = {
    "mapping.fc0.weight": torch.ones(2, 2),
    "mapping.w_avg": torch.zeros(2),
    "synthesis.b4.const": torch.ones(2, 4, 4),
}


def payloads(marker: Path) -> dict[str, Any]:
    """Objects whose unpickling creates ``marker``, by what they call."""
    path = str(marker)
    return {
        f"{os.system.__module__}.system": Reduced(os.system, f"touch {path}"),
        "builtins.eval": Reduced(eval, f"open({path!r}, 'w').close()"),
        "builtins.exec": Reduced(exec, f"open({path!r}, 'w').close()"),
        "subprocess.check_call": Reduced(subprocess.check_call, ["touch", path]),
        "subprocess.Popen": Reduced(subprocess.Popen, ["touch", path]),
        # A bound method is pickled as a call of getattr; only its result is called then.
        "builtins.getattr": Reduced(marker.touch),
        "io.open": Reduced(open, path, "w"),
    }


def text(value: str) -> bytes:
    """Opcodes that push ``value``."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def by_name(module: str, name: str) -> bytes:
    """Opcodes that push a global, by the protocol 4 way that walks dotted names."""
    return text(module) + text(name) + b"\x93"


def by_dill(module: str, name: str) -> bytes:
    """Opcodes that push a global, by the way of dill before 0.3.5."""
    imported = by_name("dill._dill", "_import_module") + text(module) + b"\x85R"
    return by_name("dill._dill", "_get_attr") + imported + text(name) + b"\x86R"


def raw(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def opcode_streams(marker: Path) -> dict[str, tuple[str, bytes]]:
    """Hand-written pickles: what they are refused for, and their bytes, by the trick."""
    touch = text(f"touch {marker}")
    system = by_name("posix", "system")
    return {
        "reduce": ("posix.system", raw(system + touch + b"\x85R")),
        "dill": ("posix.system", raw(by_dill("posix", "system") + touch + b"\x85R")),
        "dill_only_names_it": ("posix.system", raw(by_dill("posix", "system"))),
        "dill_of_a_dotted_name": (
            "numpy.core.multiarray._reconstruct.__class__",
            raw(by_dill("numpy.core.multiarray", "_reconstruct.__class__")),
        ),
        "dill_of_a_result": (
            "an attribute of a value of type ArrayType",
            raw(
                by_name("dill._dill", "_get_attr")
                + by_name("numpy", "dtype")
                + text("f4")
                + b"\x85R"
                + text("tofile")
                + b"\x86R"
            ),
        ),
        "dill_type": (
            "builtins.eval",
            raw(by_name("dill._dill", "_load_type") + text("eval") + b"\x85R"),
        ),
        "dill_instance_of_a_type": (
            "builtins.eval",
            raw(by_name("dill._dill", "_load_type") + text("eval") + b"\x85\x81"),
        ),
        "dill_types_module": (
            "types.ModuleType",
            raw(by_name("dill._dill", "_load_type") + text("ModuleType") + b"\x85R"),
        ),
        "dill_calls_a_type": (
            "builtins.type",
            raw(by_name("dill._dill", "_load_type") + text("type") + b"\x85R" + touch + b"\x85R"),
        ),
        "dill_calls_a_module": (
            "a call of a value of type Record",
            raw(
                by_name("dill._dill", "_import_module")
                + text("posix")
                + b"\x85R"
                + touch
                + b"\x85R"
            ),
        ),
        "dill_array_of_something": (
            "torch.load",
            raw(by_name("dill._dill", "_create_array") + by_name("torch", "load") + b"))\x87R"),
        ),
        "windows": ("nt.system", raw(by_name("nt", "system") + touch + b"\x85R")),
        "instance": ("posix.system", raw(b"(" + touch + b"iposix\nsystem\n", 2)),
        "object": ("posix.system", raw(b"(" + system + touch + b"o")),
        "new_object": ("posix.system", raw(system + touch + b"\x85\x81")),
        "new_object_with_keywords": ("posix.system", raw(system + touch + b"\x85}\x92")),
        "dotted": (
            "numpy.ndarray.tofile",
            raw(by_name("numpy", "ndarray.tofile") + text(str(marker)) + b"\x85R"),
        ),
        "dotted_builtin": ("builtins.dict.fromkeys", raw(by_name("builtins", "dict.fromkeys"))),
        "numpy_load": ("numpy.load", raw(by_name("numpy", "load") + text("x") + b"\x85R")),
        "torch_hub": ("torch.hub.load", raw(by_name("torch.hub", "load") + text("x") + b"\x85R")),
        "training_code": ("training.run.main", raw(by_name("training.run", "main") + b")R")),
        "result_of_a_call": (
            "a call of a value of type Record",
            raw(by_name("functools", "partial") + touch + b"\x85R" + b")R"),
        ),
        "set_state_of_a_function": (
            "damaged",
            raw(by_name("collections", "OrderedDict") + b"}" + text("x") + b"Ns" + b"b"),
        ),
        "persistent_id": ("the opcode BINPERSID", raw(text("x") + b"Q")),
        "extension": ("the opcode EXT1", raw(b"\x82\x01")),
        "buffer": ("the opcode NEXT_BUFFER", raw(b"\x97", 5)),
    }


def refused(data: bytes | Path, tmp_path: Path, wanted: str) -> str:
    """Load ``data``; return the message after checking that it is a refusal of ``wanted``."""
    path = data if isinstance(data, Path) else tmp_path / "network.pkl"
    if isinstance(data, bytes):
        path.write_bytes(data)
    with pytest.raises(RosettaError) as caught:
        load_weights(str(path))
    message = str(caught.value)
    assert wanted in message
    assert str(path) in message
    assert message.count("\n") == 1, "what was wrong on one line, what to do on the next"
    return message


def network(**top: Any) -> Reduced:
    return nvlabs_network(TINY, ["mapping.w_avg"], **top)


def torch_file(value: Any, *, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def tensorflow(**entries: Any) -> bytes:
    state = {"version": 4, "build_func_name": "G_main", "components": {}, "variables": []}
    return tensorflow_pickle(Network(state | entries))


def legacy_file(
    count: int = 4,
    keys: tuple[str, ...] = ("0",),
    contents: bytes = struct.pack("<q4f", 4, 0, 1, 2, 3),
    kind: str = "FloatStorage",
) -> bytes:
    """A file of ``torch.save`` older than torch 1.6: ``{"weight": numbers}``.

    Args:
        count: of the numbers, as the tensor tells it.
        keys: of the storages that the file says it has.
        contents: lengths and numbers of these.
        kind: of the storage.
    """
    storage = text("storage") + f"ctorch\n{kind}\n".encode() + text("0") + text("cpu")
    storage = b"(" + storage + number(count) + b"NtQ"
    shape = number(count) + b"\x85"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + shape + b"K\1\x85\x89}tR"
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, machine)]
    root = raw(b"}" + text("weight") + tensor + b"s", 2)
    return b"".join(head) + root + pickle.dumps(list(keys), 2) + contents


def number(value: int) -> bytes:
    """Opcodes that push a whole number of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


class Misshapen:
    """Four floats that claim another shape."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape

    def __reduce__(self) -> Any:
        make, args, state = np.ones(4, np.float32).__reduce__()
        return make, args, (state[0], self.shape, *state[2:])  # type: ignore[index]
