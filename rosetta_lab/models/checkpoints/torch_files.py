"""Files of ``torch.save``: an archive since torch 1.6, a row of pickles and numbers before."""

from __future__ import annotations

import io
import struct
from mmap import mmap
from typing import Any

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.archives import Archive
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.pickles import Machine
from rosetta_lab.models.checkpoints.rules import Rules, damage
from rosetta_lab.models.checkpoints.tensors import Storages

MAGIC = 0x1950A86A20F9469CFC6C  # the first of the pickles
PROTOCOL = 1001  # the second
LEGACY = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how the first one ends


def read_archive(data: memoryview, rules: Rules, budget: Budget) -> Any:
    """Contents of a file of ``torch.save`` that is a zip archive.

    Raises:
        RosettaError: it asks for anything that ``rules`` do not know, is damaged, or is no
            checkpoint.
    """
    archive = Archive(data, budget)
    folders = {name.rpartition("/")[0] for name in archive.entries}
    roots = [folder for folder in folders if f"{folder}/data.pkl" in archive.entries]
    if any(f"{folder}/constants.pkl" in archive.entries for folder in folders):
        raise RosettaError(
            "a TorchScript archive, which carries code.\n"
            "Get the same model as a state dict or safetensors and pass weights=PATH."
        )
    if len(roots) != 1:
        raise RosettaError(
            "a zip archive without a checkpoint in it.\n"
            "Unpack it and pass weights=PATH with the file inside."
        )
    order = f"{roots[0]}/byteorder"
    if order in archive.entries and bytes(archive.read(order)) != b"little":
        raise RosettaError(
            "written on a machine with another order of bytes.\n"
            "Save it as safetensors there, and pass weights=PATH."
        )
    storages = Storages(lambda key: archive.read(f"{roots[0]}/data/{key}"))
    pickle = io.BytesIO(archive.read(f"{roots[0]}/data.pkl"))
    return Machine(rules, budget, storages).run(pickle)


def read_legacy(data: mmap | bytes, rules: Rules, budget: Budget) -> Any:
    """Contents of a file of ``torch.save`` older than torch 1.6, or of one tensor's bytes.

    Magic number, version, facts about the machine, the value, the storages' keys, and then for
    each of those its length and its numbers.

    Raises:
        RosettaError: see :func:`read_archive`.
    """
    places: dict[str, int] = {}

    def contents(key: str) -> memoryview:
        storage, start = storages.by_key[key], places[key]
        return memoryview(data)[start : start + storage.count * storage.itemsize]

    storages = Storages(contents)
    stream = io.BytesIO(data) if isinstance(data, bytes) else data  # without a copy of either
    magic, version, machine = (Machine(rules, budget).run(stream) for _ in range(3))
    if magic != MAGIC or version != PROTOCOL or not isinstance(machine, dict):
        raise damage("no beginning of a file of torch.save")
    if machine.get("little_endian") is not True:
        raise damage("numbers in another order of bytes")
    root = Machine(rules, budget, storages).run(stream)
    keys = Machine(rules, budget).run(stream)
    if not isinstance(keys, list) or len(keys) != len(storages.by_key):
        raise damage("other storages than its tensors have")
    position = stream.tell()
    for key in keys:
        if key not in storages.by_key or key in places:
            raise damage("other storages than its tensors have")
        storage = storages.by_key[key]
        (count,) = struct.unpack_from("<q", data, position)
        places[key] = position + 8
        position += 8 + count * storage.itemsize
        if count != storage.count or position > len(data):
            raise damage(f"{count} numbers for a storage of {storage.count}")
    return root
