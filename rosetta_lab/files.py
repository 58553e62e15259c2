"""Files that appear whole or not at all, and the project's own folders."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all, without a copy of tensors on the CPU."""
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(ready, temporary, dict(metadata or {}))


def cache_folder() -> Path:
    """``$ROSETTA_CACHE``, or ``~/.cache/rosetta_lab``."""
    return Path(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta_lab").expanduser()
