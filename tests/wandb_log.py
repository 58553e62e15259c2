"""A reader of W&B's offline runs: a LevelDB log of the records of ``wandb.proto``."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Record]:
    """All records of a ``.wandb`` file, in order."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = 7, b""
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER.size:  # the rest of a block that no header fits in
            place += left
            continue
        _, length, kind = HEADER.unpack_from(data, place)
        parts += data[place + HEADER.size : place + HEADER.size + length]
        place += HEADER.size + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def finished(path: Path, seconds: float = 30.0) -> list[Record]:
    """All records of a run that was finished: a process of W&B's own may still write the last ones.

    Raises:
        TimeoutError: the record of its end does not come.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(DecodeError, struct.error):  # of a record that is half written
            found = list(records(path))
            if found and found[-1].WhichOneof("record_type") == "exit":
                return found
        time.sleep(0.05)
    raise TimeoutError(f"{path}: no end after {seconds:.0f} s")


def items(entries: Any) -> dict[str, Any]:
    """History or summary entries as names, joined by dots where nested, to values."""
    return {
        ".".join(entry.nested_key) or entry.key: json.loads(entry.value_json) for entry in entries
    }
