"""The commands' configurations from Python: the same keys, values and mistakes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from rosetta_lab.files import asset_root
from rosetta_lab.run import loggers  # noqa: F401  configs of loggers call it
from rosetta_lab.run.command_line import (
    check_groups,
    check_keys,
    empty_lists,
    zoo_arguments,
)
from rosetta_lab.run.configs import follow_moves
from rosetta_lab.run.values import check_kinds

BARE = re.compile(r"[A-Za-z_][\w.\-/]*")


def configured(command: str, **options: Any) -> DictConfig:
    """A command's configuration.

    Args:
        command: such as ``mine``.
        options: its keys, see ``python -m rosetta_lab.COMMAND --help``; ``__`` stands for a dot, as
            in ``loss__l2=1.0``.

    Raises:
        RosettaError: there is no such key.
    """
    words = [f"{key.replace('__', '.')}={written(value)}" for key, value in options.items()]
    words = empty_lists(command, zoo_arguments(command, words))
    GlobalHydra.instance().clear()
    check_groups(words)
    check_keys(command, words)
    with hydra.initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = follow_moves(hydra.compose(command, words))
    check_kinds(command, cfg)
    return cfg


def written(value: Any) -> str:
    """A value as Hydra reads it on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(written, value)) + "]"
    text = str(value) if isinstance(value, str | Path) else repr(value)
    if BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
