"""What a checkpoint holds, whatever its format, which its contents tell and never its name.

Nothing in it is run, no library's unpickler sees it, and torch is not needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.nvlabs import read_nvlabs
from rosetta_lab.models.checkpoints.pickles import Machine
from rosetta_lab.models.checkpoints.rosinality import is_rosinality, read_rosinality
from rosetta_lab.models.checkpoints.rules import explained
from rosetta_lab.models.checkpoints.state_dicts import (
    biggan_state,
    find_state_dict,
    is_biggan,
    unwrapped,
)
from rosetta_lab.models.checkpoints.tensorflow import read_tensorflow
from rosetta_lab.models.checkpoints.tensors import Numbers
from rosetta_lab.models.checkpoints.torch_files import LEGACY, read_archive, read_legacy
from rosetta_lab.models.checkpoints.values import RULES

BIGGAN = "biggan_deep"
KNOWN = "Expected safetensors, torch.save, or a pickle of the NVlabs tools"
LFS = b"version https://git-lfs"
# Other kinds of files, by how they begin, and what leads on from there.
OTHERS = {
    LFS: ("a Git LFS pointer, not the file itself", "Fetch the file (git lfs pull)"),
    b"\x1f\x8b": ("compressed with gzip", "Unpack it (gunzip)"),
    b"BZh": ("compressed with bzip2", "Unpack it (bunzip2)"),
    b"\xfd7zXZ": ("compressed with xz", "Unpack it (unxz)"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "Unpack it (unzstd)"),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it"),
    b"\x89HDF": ("an HDF5 file", KNOWN),
    b"\x93NUMPY": ("a NumPy array", KNOWN),
    b"GGUF": ("a GGUF file", KNOWN),
}


@dataclass(frozen=True)
class Contents:
    """Tensors by name, constructor arguments where the file tells them, family where it is known.

    The names of a state dict are those in the file, with the prefixes of wrappers.
    """

    state: dict[str, Numbers]
    config: dict[str, Any] | None = None
    family: str | None = None


def read(path: Path) -> Contents:
    """What the file at ``path`` holds. Its tensors are views of the file where they can be.

    Raises:
        RosettaError: it asks to run something, is damaged, or holds something else than weights.
            The message has two lines and names the file.
    """
    try:
        return _read(path)
    except OSError as error:
        raise RosettaError(
            f"cannot read {path}: {error.strerror}.\nCheck that it is there and readable."
        ) from error
    except Exception as error:  # any kind, since the file may hold anything
        raise explained(error, str(path)) from error


def _read(path: Path) -> Contents:
    with path.open("rb") as file:
        head = file.read(512)
        if other := _other(head):
            raise RosettaError(f"{other[0]}, not a checkpoint.\n{other[1]}; pass weights=PATH.")
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
    budget = Budget(len(data))
    if head.startswith(b"PK\x03\x04"):
        return _of_torch(read_archive(memoryview(data), RULES, budget), budget)
    if LEGACY in head[:40]:
        return _of_torch(read_legacy(data, RULES, budget), budget)
    machine = Machine(RULES, budget)
    root = machine.run(data)
    if isinstance(root, tuple):
        return Contents(*read_tensorflow(root, machine.symbols, budget))
    if isinstance(root, dict) and "G_ema" in root:
        return Contents(*read_nvlabs(root, budget))
    raise RosettaError(
        f"a pickle of a {type(root).__name__}, not of a network.\n"
        "Expected a dict with G_ema (PyTorch) or a tuple (G, D, Gs) (TensorFlow)."
    )


def _of_torch(checkpoint: Any, budget: Budget) -> Contents:
    if is_rosinality(checkpoint):
        return Contents(*read_rosinality(checkpoint, budget))
    state = find_state_dict(checkpoint, budget)
    *_, bare = unwrapped(state)
    return Contents(biggan_state(bare), None, BIGGAN) if is_biggan(bare) else Contents(state)


def _other(head: bytes) -> tuple[str, str] | None:
    """What a file is that cannot be read, and what to do; None for one that may be a checkpoint."""
    if head.startswith(b"PK\x03\x04") or re.match(rb"\x80[\x02-\x05]", head):
        return None
    if not head:
        return "an empty file", "Get it again"
    if head.lstrip()[:1] == b"<":
        return "a web page", KNOWN
    if head[257:262] == b"ustar":
        return "a tar archive", "Unpack it"
    for start, found in OTHERS.items():
        if head.startswith(start):
            return found
    return f"an unknown format ({head[:8]!r})", KNOWN
