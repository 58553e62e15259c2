"""Small files that ask for endless time or memory: what each of them takes, measured.

All of them are read in one process with a limit of memory; each is refused for what it is, before
it takes anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import Network, Reduced, nvlabs_pickle, persistent
from hostile import (
    by_name,
    legacy_file,
    network,
    number,
    raw,
    tensorflow,
    torch_file,
    zipped,
)
from torch import nn
from torch.storage import _load_from_bytes

# The formats under test use typed storages, which torch no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage")

SECONDS, MEGABYTES = 10, 500
MERSENNE = (1 << 61) - 1  # whole multiples of it have the hash 0


def endless(kind: type = list) -> Any:
    """Thirty lists, each holding the next one twice: a billion entries to print."""
    value: Any = kind([0])
    for _ in range(30):
        value = kind([value, value])
    return value


def storage_in_a_pickle() -> bytes:
    data = torch_file(torch.ones(4).storage(), zipped=False)
    larger = data.replace(b"K\x04Nt", b"J\0\0\0\x08Nt")
    assert larger != data
    stored = Reduced(_load_from_bytes, larger)
    tensor = Reduced(torch._utils._rebuild_tensor_v2, stored, 0, (4,), (1,), False, {})
    return nvlabs_pickle(persistent("Generator", {"_parameters": {"w": tensor}}))


def clamps() -> bytes:
    """A list of lists, each to be compared with all before it."""
    parts = {f"m{i}": persistent("L", {"conv_clamp": [[0] * 90, i]}) for i in range(4000)}
    below = {"synthesis": persistent("S", {"_modules": parts})}
    return nvlabs_pickle(persistent("Generator", {"_modules": below}))


def layers() -> bytes:
    """One layer whose sizes are pairs of long lists, named nine hundred times."""
    long = [[0] * 70 for _ in range(70)]
    layer = persistent("L", {key: [long, long] for key in ("in_channels", "in_size", "out_size")})
    source = persistent("I", {"_parameters": {"weight": nn.Parameter(torch.ones(2, 2))}})
    synthesis = persistent(
        "S", {"layer_names": ["L0"] * 900, "_modules": {"L0": layer, "input": source}}
    )
    mapping = persistent("M", {"_parameters": {"w_avg": nn.Parameter(torch.ones(2))}})
    below = {"mapping": mapping, "synthesis": synthesis}
    return nvlabs_pickle(persistent("Generator", {"_modules": below}))


def components() -> bytes:
    """Two thousand names for one network of a thousand variables."""
    one = np.ones(1, np.float32)
    part = Network({"components": {}, "variables": [(f"v{i}", one) for i in range(1000)]})
    return tensorflow(components={f"c{i}": part for i in range(2000)})


def transient() -> bytes:
    """Many names to look for in a list of as many."""
    names = [f"n{i}" for i in range(60_000)]
    state = {"_buffers": dict.fromkeys(names), "_non_persistent_buffers_set": names[::-1]}
    return nvlabs_pickle(persistent("Generator", state))


def rosinality(extra: dict[str, torch.Tensor], **entries: Any) -> bytes:
    style = {"style.1.weight": torch.ones(2, 2), "style.1.bias": torch.ones(2)}
    state = style | {"input.input": torch.ones(1, 2, 4, 4)} | extra
    return torch_file({"g_ema": state, **entries}, zipped=True)


def keyed(*keys: bytes) -> bytes:
    """A dict with these keys."""
    return raw(b"}(" + b"".join(key + b"N" for key in keys) + b"u")


def one_record_many_times() -> bytes:
    """A directory that lists one compressed record under a thousand names."""
    data = zipped({"data.pkl": b"", "0": bytes(1 << 20)})
    end = data.rindex(b"PK\5\6")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    second = data.rindex(b"PK\1\2", 0, end)
    entry = data[second:end]
    names = [entry.replace(b"archive/0", b"archive/%d" % i) for i in range(10)]
    directory = data[start:second] + b"".join(names)
    count = (1 + len(names)).to_bytes(2, "little")
    size = len(directory).to_bytes(4, "little")
    return data[:start] + directory + data[end : end + 8] + count * 2 + size + data[end + 16 :]


TUPLE = b"(" + b"N" * 100_000 + b"t\x94"
ONE = np.ones(1, np.float32)
NAMELESS = Network({"a": endless()})  # a key, since objects have a hash, and endless to print
STUB = by_name("functools", "partial") + b"\x94"
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    # more than the file holds
    "legacy_without_keys": (
        "other storages than its tensors have",
        lambda: legacy_file(120_000, (), b""),
    ),
    "legacy_shorter": ("4 numbers for a storage of 134217728", lambda: legacy_file(1 << 27)),
    "storage_in_a_pickle": ("numbers for a storage of 134217728", storage_in_a_pickle),
    "compressed": (
        "unpack to more than",
        lambda: zipped({"data.pkl": b"\x80\x02" + b"N0" * (40 << 20) + b"N."}),
    ),
    "one_record_many_times": ("something else between its records", one_record_many_times),
    # containers
    "marks": ("unpack to more than", lambda: raw(b"(" * 1_000_000)),
    "sets": ("unpack to more than", lambda: raw(b"\x8f" * 1_000_000)),
    "frozen_sets": ("unpack to more than", lambda: raw(b"(\x91" * 1_000_000)),
    "dicts": ("unpack to more than", lambda: raw(b"}" * 1_000_000)),
    "lists": ("unpack to more than", lambda: raw(b"]" * 1_000_000)),
    "tuples": ("unpack to more than", lambda: raw(b"N\x85" * 1_000_000)),
    "remembered": ("unpack to more than", lambda: raw(b"N\x94" * 1_000_000)),
    "records": ("unpack to more than", lambda: raw(STUB + b"h\0)\x81" * 500_000)),
    "calls": ("unpack to more than", lambda: raw(STUB + b"h\0)R" * 500_000)),
    "names": ("unpack to more than", lambda: raw(b"cx\ny\n" * 1_000_000)),
    # keys
    "keys_of_one_hash": (
        "as a key",
        lambda: keyed(*(number(i * MERSENNE) for i in range(1, 60_000))),
    ),
    "long_tuple_as_a_key": (
        "as a key",
        lambda: raw(b"}" + TUPLE + b"N" + b"s" + b"h\0Ns" * 100_000),
    ),
    "memo_of_one_hash": (
        "a memo without bounds",
        lambda: raw(b"N" + b"".join(b"p%d\n" % (i * MERSENNE) for i in range(1, 60_000))),
    ),
    "huge_numbers": (
        "a whole number of",
        lambda: raw(b"\x8b\x00\x00\x10\x00" + b"\x7f" * (1 << 20)),
    ),
    # what is no name, where a name is joined or printed
    "variable_named_by_a_list": (
        "a list as a name",
        lambda: tensorflow(components={"c": Network({"variables": [(endless(), ONE)]})}),
    ),
    "variable_named_by_a_tuple": (
        "a tuple as a name",
        lambda: tensorflow(variables=[(endless(tuple), ONE)]),
    ),
    "component_named_by_an_object": (
        "a Record as a name",
        lambda: tensorflow(components={NAMELESS: Network({"variables": [("w", ONE)]})}),
    ),
    "parameter_named_by_an_object": (
        "a Record as a name",
        lambda: nvlabs_pickle(
            persistent(
                "G",
                {"_modules": {"m": persistent("M", {"_parameters": {NAMELESS: torch.ones(1)}})}},
            )
        ),
    ),
    "module_named_by_an_object": (
        "a Record as a name",
        lambda: nvlabs_pickle(
            persistent(
                "G", {"_modules": {"m": persistent("M", {"_modules": {NAMELESS: network()}})}}
            )
        ),
    ),
    "keyword_named_by_an_object": (
        "as a name",
        lambda: nvlabs_pickle(
            persistent(
                "Generator",
                {
                    **network().call[1][0]["state"],
                    "_init_kwargs": {NAMELESS: 1},
                },
            )
        ),
    ),
    "tensor_named_by_an_object": (
        "a Record as a name",
        lambda: torch_file({Reduced(torch.device, "cpu"): torch.ones(2)}, zipped=True),
    ),
    "class_named_by_a_book": (
        "as a name",
        lambda: nvlabs_pickle(persistent("G" * 1_000_000, {"_modules": {}})),
    ),
    # one thing under many names, or looked for again and again
    "components": ("unpack to more than", components),
    "clamps": ("unpack to more than", clamps),
    "layers": ("", layers),
    "transient": ("none that is known", transient),
    # sizes that the file tells
    "noise": (
        "unpack to more than",
        lambda: rosinality({"convs.22.conv.weight": torch.ones(1, 1, 1, 1, 1)}),
    ),
    "noise_without_bounds": (
        "unknown tensor",
        lambda: rosinality({"convs.999999.conv.weight": torch.ones(1, 1, 1, 1, 1)}),
    ),
    "mean": (
        "unpack to more than",
        lambda: rosinality(
            {
                "style.1.weight": torch.ones(300_000, 1),
                "style.1.bias": torch.ones(300_000),
            }
        ),
    ),
    "mean_of_wide_layers": (
        "no mapping network",
        lambda: rosinality(
            {"style.1.weight": torch.ones(30_000, 1), "style.1.bias": torch.ones(30_000)}
            | {f"style.{i}.{kind}": torch.ones(1, 1) for i in (2, 3) for kind in ("weight", "bias")}
        ),
    ),
    "bias_of_many_axes": (
        "no mapping network",
        lambda: rosinality({"style.1.bias": torch.ones(100_000, 1, 1)}),
    ),
    "taps": (
        "resample_filter=",
        lambda: tensorflow(
            static_kwargs={"resample_kernel": [1] * 900},
            components={},
            variables=[("dlatent_avg", np.ones(2, np.float32))],
        ),
    ),
}

READER = """
import json, os, resource, sys, time
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import child, convert, load_weights
convert.convert_apart = child.convert  # its own limits are not what is measured
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
if os.path.exists("/proc/self/statm"):
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (500 << 20),) * 2)
before, began = peak(), time.process_time()
for path in sys.argv[1:]:
    try:
        load_weights(path)
        outcome = "loaded"
    except RosettaError as error:
        outcome = str(error)
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"[:1000]
    now = time.process_time()
    print(json.dumps([path, outcome, now - began, peak() - before]), flush=True)
    began = now
"""


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float]]:
    """Outcome, seconds and, so far, megabytes, by bomb."""
    folder = tmp_path_factory.mktemp("bombs")
    paths = []
    for name, (_, make) in BOMBS.items():
        paths.append(folder / name)
        paths[-1].write_bytes(make())
        assert paths[-1].stat().st_size < 10 << 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSETTA_CACHE", str(folder / "cache"))
        done = subprocess.run(
            [sys.executable, "-c", READER, *map(str, paths)],
            capture_output=True,
            text=True,
            timeout=len(BOMBS) * SECONDS,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(BOMBS), done.stderr[-1000:]
    return {Path(path).name: (what, seconds, peak) for path, what, seconds, peak in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str, readings: dict[str, tuple[str, float, float]]) -> None:
    outcome, seconds, megabytes = readings[name]
    assert BOMBS[name][0] in outcome
    assert f"{name}: " in outcome and outcome.count("\n") == 1, outcome
    assert seconds < SECONDS and megabytes < MEGABYTES
