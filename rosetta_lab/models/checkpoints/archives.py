"""Zip archives of ``torch.save``, read strictly: what one reader finds there, every reader does.

One directory at the very end, records that lie one after the other from the first byte on, each
described alike in both places, checked against its CRC-32.
"""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass

from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import damage, name_of
from rosetta_lab.models.checkpoints.tensors import Buffer

log = logging.getLogger(__name__)

LOCAL = struct.Struct("<4s5H3L2H")
ENTRY = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
LOCATOR = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
FULL_32 = 0xFFFFFFFF  # the true number is a longer one, elsewhere
STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIBED_AFTER = 1, 8  # flags
DESCRIPTORS = (12, 16, 20, 24)  # bytes after a record that describe it, which nobody needs
PER_RECORD = 1000  # bytes of memory


@dataclass(frozen=True)
class Entry:
    """One record: where it begins, how it is packed, what it has to be."""

    name: str
    header: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int


class Archive:
    """The records of an archive, by name.

    Args:
        data: of the whole file.
        budget: what may be made of it.

    Raises:
        RosettaError: it is damaged, or its parts contradict each other.
    """

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self.data, self.budget = data, budget
        self.entries: dict[str, Entry] = {}
        self.starts: dict[str, int] = {}
        directory, end = _directory(data)
        position = directory
        while position < end:
            budget.spend(PER_RECORD)
            entry, position = _entry(data, position)
            if entry.name in self.entries:
                raise damage(f"two records {entry.name}", "archive")
            self.entries[entry.name] = entry
        if position != end:
            raise damage("a directory that ends elsewhere", "archive")
        self._find_starts(directory)
        self.checked = any(entry.crc for entry in self.entries.values())
        if not self.checked:
            log.warning("the archive was written without checksums, so damage may pass unseen")

    def _find_starts(self, directory: int) -> None:
        """Where the contents begin; records and their headers fill the file up to ``directory``."""
        position = 0
        gaps: tuple[int, ...] = (0,)
        for entry in sorted(self.entries.values(), key=lambda entry: entry.header):
            if entry.header - position not in gaps:
                raise damage("something else between its records", "archive")
            self.starts[entry.name] = start = _start(self.data, entry)
            position = start + entry.packed
            gaps = (0, *DESCRIPTORS) if entry.flags & DESCRIBED_AFTER else (0,)
        if directory - position not in gaps:
            raise damage("something else before its directory", "archive")

    def read(self, name: str) -> Buffer:
        """The contents of a record, without a copy where they are not compressed.

        Raises:
            RosettaError: there is no such record, or it is damaged.
        """
        if (entry := self.entries.get(name)) is None:
            raise damage(f"no record {name}", "archive")
        start = self.starts[name]
        contents: Buffer = self.data[start : start + entry.packed]
        if entry.method == DEFLATED:
            self.budget.spend(entry.size)
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            contents = inflate.decompress(contents, entry.size + 1)
        if len(contents) != entry.size or (self.checked and zlib.crc32(contents) != entry.crc):
            raise damage(f"a record {name} that does not fit its length or checksum", "archive")
        return contents


def _directory(data: memoryview) -> tuple[int, int]:
    """Where the directory begins and ends."""
    position = len(data) - END.size
    mark, *disks, _, _, size, offset, comment = END.unpack_from(data, max(position, 0))
    if position < 0 or mark != b"PK\5\6" or comment or any(disks):
        raise damage("no directory at its end: it is truncated", "archive")
    end = position
    mark, _, there, _ = LOCATOR.unpack_from(data, max(position - LOCATOR.size, 0))
    if mark == b"PK\6\7":
        end = position - LOCATOR.size - END_64.size
        if there != end or end < 0:
            raise damage("two directories", "archive")
        mark, *_, long_size, long_offset = END_64.unpack_from(data, end)
        agree = size in (long_size, FULL_32) and offset in (long_offset, FULL_32)
        if mark != b"PK\6\6" or not agree:
            raise damage("two directories", "archive")
        size, offset = long_size, long_offset
    if offset + size != end:
        raise damage("two directories, or something else around the one", "archive")
    return offset, end


def _entry(data: memoryview, position: int) -> tuple[Entry, int]:
    """The entry of the directory at ``position``, and where the next one is."""
    mark, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, header = (
        ENTRY.unpack_from(data, position)
    )
    if mark != b"PK\1\2" or method not in (STORED, DEFLATED) or flags & ENCRYPTED:
        raise damage("a record of another kind", "archive")
    name_at = position + ENTRY.size
    extra_at = name_at + lengths[0]
    comment_at = extra_at + lengths[1]
    name = name_of(bytes(data[name_at:extra_at]).decode())
    extra, numbers = data[extra_at:comment_at], [size, packed, header]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:  # longer numbers, in the order of those that they stand for
            longer = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
            numbers = [next(longer) if number == FULL_32 else number for number in numbers]
        extra = extra[4 + length :]
    size, packed, header = numbers
    return Entry(name, header, flags, method, crc, packed, size), comment_at + lengths[2]


def _start(data: memoryview, entry: Entry) -> int:
    """Where a record's contents begin, after the header in front of them, which has to agree."""
    mark, _, flags, method, _, _, crc, packed, size, *lengths = LOCAL.unpack_from(
        data, entry.header
    )
    name_at = entry.header + LOCAL.size
    extra_at = name_at + lengths[0]
    name = bytes(data[name_at:extra_at]).decode()
    alike = (mark, flags, method, name) == (b"PK\3\4", entry.flags, entry.method, entry.name)
    if not flags & DESCRIBED_AFTER:
        sizes = packed in (entry.packed, FULL_32) and size in (entry.size, FULL_32)
        alike = alike and crc == entry.crc and sizes
    if not alike:
        raise damage(f"two descriptions of the record {entry.name}", "archive")
    return int(extra_at + lengths[1])
