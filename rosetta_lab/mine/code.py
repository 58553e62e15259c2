"""Code outside this package that models are made of: what it computes may change without a word."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

# Whose versions say what they compute.
VERSIONED = {"rosetta_lab", "torch", "timm", "open_clip"}


def outside_code(networks: Iterable[nn.Module], configs: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of every file with code that models may run, by its Python module.

    These are the modules of their classes and of the functions that made them, the rest of the
    packages of those, and what they refer to outside of the folders of installed packages.

    Args:
        networks: the models.
        configs: of the models, with a ``_target_`` in each.
    """
    waiting = [base.__module__ for n in networks for m in n.modules() for base in type(m).__mro__]
    waiting += [target.rpartition(".")[0] for target in _targets(configs)]
    found: dict[str, str] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in seen or module is None or name.partition(".")[0] in VERSIONED:
            continue
        seen.add(name)
        path = getattr(module, "__file__", None)
        if path is None or _is_standard(path):
            continue
        found[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        package = name.partition(".")[0]
        waiting += [other for other in sys.modules if other.partition(".")[0] == package]
        waiting += [other for other in _referred(module) if not _is_installed(other)]
    return found


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        if isinstance(target := config.get("_target_"), str):
            yield target
        for value in config.values():
            yield from _targets(value)


def _referred(module: ModuleType) -> Iterator[str]:
    """Names of the modules that a module has imported, or taken something from."""
    for value in list(vars(module).values()):
        name = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", None)
        if isinstance(name, str):
            yield name


def _is_installed(name: str) -> bool:
    path = getattr(sys.modules.get(name), "__file__", None)
    return path is None or _is_standard(path) or _lies_in(path, ("purelib", "platlib"))


def _is_standard(path: str) -> bool:
    in_library = _lies_in(path, ("stdlib", "platstdlib"))
    return in_library and not _lies_in(path, ("purelib", "platlib"))


def _lies_in(path: str, kinds: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(sysconfig.get_path(kind)) for kind in kinds)
