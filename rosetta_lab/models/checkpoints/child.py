"""A process of its own in which one checkpoint becomes safetensors, within limits.

What the readers check makes the limits needless. They are for what nobody has thought of.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import replacing
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.reading import read
from rosetta_lab.models.checkpoints.tensors import TYPES, Numbers

SECONDS = 5  # of the processor's time, for any file,
BYTES_PER_SECOND = 1_000_000  # and for its size
ROOM = 128 << 20  # bytes of memory, for any file, besides what it may be turned into


def convert(source: Path, target: Path, metadata: Mapping[str, str]) -> str:
    """Write what the checkpoint ``source`` holds to ``target`` as safetensors.

    Args:
        source: in any format that is known.
        target: appears whole or not at all.
        metadata: to store, besides the network's family and its constructor arguments.

    Returns:
        SHA-256 of ``target``.

    Raises:
        RosettaError: see :func:`rosetta_lab.models.checkpoints.reading.read`.
    """
    found = read(source)
    notes = dict(metadata)
    notes |= {"family": found.family} if found.family else {}
    notes |= {"config": json.dumps(found.config)} if found.config else {}
    with replacing(target) as temporary:
        return write(temporary, found.state, notes)


def write(path: Path, state: Mapping[str, Numbers], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file, one tensor after the other; returns its SHA-256."""
    names = sorted(state, key=lambda name: (-state[name].array.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        numbers, start = state[name], end
        end += numbers.array.nbytes
        header[name] = {
            "dtype": numbers.kind,
            "shape": list(numbers.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            digest.update(part)
            file.write(part)
        for name in names:
            numbers = state[name]
            items = np.ascontiguousarray(numbers.array, TYPES[numbers.kind]).reshape(-1)
            digest.update(items.view("u1").data)
            file.write(items.view("u1").data)
    return digest.hexdigest()


def limit(size: int) -> None:
    """Let this process have no more time and memory than a file of ``size`` bytes can need."""
    try:
        import resource
    except ImportError:  # not a Unix; the parent's own limit of time is left
        return

    def lower(kind: int, value: int) -> None:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_CPU, seconds(size))
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # elsewhere nobody tells how much is taken already
        taken = int(statistics.read_text().split()[0]) * resource.getpagesize()
        # Besides what is made of it: the file itself, and the bytes in its pickle.
        lower(resource.RLIMIT_AS, taken + ROOM + Budget(size).limit + 2 * size)


def seconds(size: int) -> int:
    """Of the processor's time, for a file of ``size`` bytes."""
    return SECONDS + size // BYTES_PER_SECOND


class Reported(logging.Handler):
    """Hands warnings to the parent process."""

    def emit(self, record: logging.LogRecord) -> None:
        report("warning", record.getMessage())


def report(kind: str, text: str) -> None:
    """Tell the parent process, in one line of standard output."""
    print(json.dumps({kind: text}), flush=True)


def main() -> None:
    """Convert what the arguments say, and report."""
    source, target, metadata = Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    logging.getLogger("rosetta_lab").addHandler(Reported())
    limit(source.stat().st_size)
    try:
        report("sha256", convert(source, target, metadata))
    except RosettaError as error:
        report("error", str(error))
