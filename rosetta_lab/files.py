"""Files that appear whole or not at all, and the project's own folders."""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rosetta_lab.errors import RosettaError

if TYPE_CHECKING:  # it takes seconds, and what converts a checkpoint does without
    from torch import Tensor

PACKAGE = Path(__file__).parent


def asset_root() -> Path:
    """Folder that holds ``conf`` and ``experiments``: the clone, or the installed package."""
    return PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; what the block writes there is renamed into place.

    The file's mode is the one that the umask gives, however the block writes it: safetensors makes
    a private file in place of the one that is there.

    Raises:
        RosettaError: the folder cannot be written to, or is full.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: Exception) -> RosettaError:
    """An error for a folder that is full, read-only, a file or the like."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return RosettaError(
        f"cannot write {path}: {reason}.\n"
        "Choose a folder of your own that has room; for the cache, set ROSETTA_CACHE to one."
    )


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all, without a copy of tensors on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Of no tensors with empty metadata, safetensors makes a file that it cannot read.
    notes = dict(metadata or {}) if ready or metadata else None
    with replacing(path) as temporary:
        try:
            save_file(ready, temporary, notes)
        except SafetensorError as error:  # of the disk, since what is written is well formed
            raise unwritable(path, error) from error


@contextmanager
def tensor_in_rows(
    path: Path, name: str, shape: tuple[int, int]
) -> Iterator[Callable[[Tensor], object]]:
    """A safetensors file of one float32 tensor, whole or not at all, that is never in memory.

    Args:
        path: of the file.
        name: of the tensor.
        shape: (A, B).

    Yields:
        What takes the next rows (any number, B), until there are A.
    """
    entry = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * math.prod(shape)]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        yield lambda rows: file.write(rows.cpu().numpy().astype("<f4").data)


def cache_folder() -> Path:
    """``$ROSETTA_CACHE``, or ``~/.cache/rosetta_lab``."""
    return Path(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta_lab").expanduser()
