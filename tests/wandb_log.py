"""A reader of W&B's offline runs: a LevelDB log of the records of ``wandb.proto``."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def items(entries: Any) -> dict[str, Any]:
    """History or summary entries as names, joined by dots where nested, to values."""
    return {
        ".".join(entry.nested_key) or entry.key: json.loads(entry.value_json) for entry in entries
    }
