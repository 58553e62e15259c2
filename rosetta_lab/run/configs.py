"""Configs as plain values, where runs write, and classes that have moved since."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from typing import Any

from omegaconf import OmegaConf

# Modules that stored recipes, runs and users' own configs may name, and where they are now.
MOVED = {
    "rosetta_lab.edits": "rosetta_lab.edit.edits",
    "rosetta_lab.data.fashion_targets": "rosetta_lab.data.fashion.targets",
    "rosetta_lab.sweep": "rosetta_lab.compare.sweep",
    "rosetta_lab.wandb_logger": "rosetta_lab.run.loggers",
}


def run_folder(command: str, resume: str | None) -> str:
    """Where a run writes: ``outputs/<command>/<date>_<time>``, or the folder that it resumes.

    Processes that torchrun or SLURM started beside the first write nothing; their folder is a
    temporary one, so that a run with many processes leaves one run folder.
    """
    if resume:
        return str(resume)
    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) > 0:
        return tempfile.mkdtemp(prefix="rosetta_lab_")
    return f"outputs/{command}/{datetime.now():%Y-%m-%d_%H-%M-%S}"


def plain(value: Any) -> Any:
    """A config, or a value of one, as Python's own, interpolations resolved."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def follow_moves(config: Any) -> None:
    """Let every ``_target_`` within a config that names a class's former place name its new one."""
    _follow(config, OmegaConf.to_container(config, resolve=False))


def _follow(config: Any, bare: Any) -> None:
    """Walk what is written in a config, without resolving it, and the config beside it."""
    if isinstance(bare, list):
        for place, value in enumerate(bare):
            _follow(config._get_node(place), value)
    elif isinstance(bare, dict):
        for key, value in bare.items():
            module, _, name = str(value).rpartition(".")
            if key == "_target_" and module in MOVED:
                config[key] = f"{MOVED[module]}.{name}"
            _follow(config._get_node(key), value)
