"""Files that appear whole or not at all, and the project's own folders."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rosetta_lab.errors import RosettaError, printable, visible

if TYPE_CHECKING:  # it takes seconds, and what converts a checkpoint does without
    from torch import Tensor

PACKAGE = Path(__file__).parent
ASSETS = PACKAGE / "assets"  # of a wheel
# Dictionaries that come along, of the embedded zoo's generators.
SHIPPED = {
    "embedded": PACKAGE / "zoo" / "dictionary",
    "embedded_biggan": PACKAGE / "zoo" / "dictionary_biggan",
}
# Of the disk: no space, quota, size, read-only.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
FORMULA = ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20")
CONTENT = "content_sha256"  # note of a safetensors file
# Types with which anything can be calculated, as torch calls them. It has others, of four and eight
# bits, that it can hardly do more with than store them.
PLAIN = {
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("uint8", "int8", "int16", "int32", "int64"),
}
UNFINISHED = re.compile(r"\..{1,40}\.[0-9a-f]{8}")  # names of files until they are whole


def asset_root() -> Path:
    """Folder that holds ``conf`` and ``experiments``: the clone, or one in the installed package.

    Hydra takes every folder in it for a group of configs, so the package itself, with
    ``dictionary`` and ``plan``, cannot be it.
    """
    return ASSETS if ASSETS.is_dir() else PACKAGE.parent


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
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # it stays after a failure, and where both are one file's names
            temporary.unlink()


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


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table, whole or not at all, in which no text is a formula to a spreadsheet.

    Args:
        path: of the file.
        rows: the heads first; None is an empty cell.
    """
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([map(_cell, row) for row in rows])
    atomic_write(path, stream.getvalue().encode())


def _cell(value: object) -> object:
    """A cell's value. Spreadsheets compute a text that begins with one of these signs, of any
    width."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    try:
        float(value)
    except ValueError:
        return f"'{shown}" if shown.startswith(FORMULA) else shown
    return shown


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all, with a digest of all that is in it.

    The same tensors and notes make the same bytes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    noted = dict(notes or {})
    with replacing(path) as temporary:
        try:
            save_file(ready, temporary, noted | {CONTENT: content_digest(ready, noted)})
            _sort_notes(temporary)
        except SafetensorError as error:  # of the disk, since what is written is well formed
            raise unwritable(path, error) from error


def _sort_notes(path: Path) -> None:
    """Put a safetensors file's notes, which the library leaves in any order, into one."""
    with path.open("r+b") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
        entries = json.loads(header)
        notes = dict(sorted(entries.pop("__metadata__").items()))
        sorted_ = {"__metadata__": notes, **entries}
        text = json.dumps(sorted_, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= len(header):
            file.seek(8)
            file.write(text.ljust(len(header)))


def load_tensors(path: Path, *, ours: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of a safetensors file, on the CPU.

    Args:
        path: of the file.
        ours: whether only :func:`save_tensors` can have written it. Others write files without a
            digest, of which nobody can tell whether they are damaged.

    Raises:
        RosettaError: it is something else, or not as :func:`save_tensors` wrote it.
    """
    tensors: dict[str, Tensor] = {}
    notes = check_tensors(path, tensors.__setitem__, ours=ours)
    return tensors, notes


def check_tensors(
    path: Path, use: Callable[[str, Tensor], object] | None = None, *, ours: bool = False
) -> dict[str, str]:
    """The notes of a file, see :func:`load_tensors`, of which one tensor at a time is read.

    Args:
        path: of the file.
        use: is given every tensor, by name.
        ours: see there.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():  # safetensors waits for whoever writes into a pipe
            raise FileNotFoundError("there is no such file")
        digest = hashlib.sha256()
        with safe_open(path, "pt") as file:
            notes = dict(file.metadata() or {})
            expected = notes.pop(CONTENT, None)
            if ours and expected is None:
                raise ValueError("it does not say what was written")
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name)
                if not is_plain(tensor):
                    raise ValueError(f"{name} is of {tensor.dtype}")
                if expected is not None:
                    _add(digest, name, tensor)
                if use is not None:
                    use(name, tensor)
        if expected is not None and expected != _noted(digest, notes):
            raise ValueError("its contents are not those that were written")
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise RosettaError(
            f"{path}: cannot be read ({printable(error)}).\n"
            "Expected a safetensors file that is whole: get it again, or run again what wrote it."
        ) from None
    return notes


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is of a type in :data:`PLAIN`."""
    return str(tensor.dtype).removeprefix("torch.") in PLAIN


def content_digest(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> str:
    """SHA-256 over names and values of tensors, and over notes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        _add(digest, name, tensor)
    return _noted(digest, notes or {})


def _add(digest: hashlib._Hash, name: str, tensor: Tensor) -> None:
    import torch

    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _noted(digest: hashlib._Hash, notes: Mapping[str, str]) -> str:
    for name, note in sorted(notes.items()):
        digest.update(f"{name}={note!r};".encode())
    return digest.hexdigest()


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
    return path_of(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta_lab")


def path_of(name: str | os.PathLike[str]) -> Path:
    """The path of a name, in which ``~`` is a user's home.

    Raises:
        RosettaError: it is none.
    """
    try:
        if "\0" in os.fspath(name):
            raise ValueError("a NUL in it")
        path = Path(name).expanduser()
        path.exists()
        return path
    except (OSError, RuntimeError, ValueError) as error:  # too long; ~ of nobody
        raise RosettaError(
            f"{printable(name)}: this is no path ({printable(error)}).\n"
            "Name a file or a folder; ~ stands for your home."
        ) from None
