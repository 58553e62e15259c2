"""Files that appear whole or not at all, and the project's own folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

PACKAGE = Path(__file__).parent


def asset_root() -> Path:
    """Folder that holds ``conf`` and ``experiments``: the clone, or the installed package."""
    return PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; what the block writes there is renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
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
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(ready, temporary, dict(metadata or {}))


def cache_folder() -> Path:
    """``$ROSETTA_CACHE``, or ``~/.cache/rosetta_lab``."""
    return Path(os.environ.get("ROSETTA_CACHE") or Path.home() / ".cache" / "rosetta_lab")
