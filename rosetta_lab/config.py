"""Hydra set-up that all entry points share."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.errors import RosettaError

PACKAGE = Path(__file__).parent


def asset_root() -> Path:
    """Folder that holds ``conf`` and ``experiments``: the clone, or the installed package."""
    return PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent


OmegaConf.register_new_resolver("rosetta_root", lambda: str(asset_root()), replace=True)
OmegaConf.register_new_resolver("rosetta_package", lambda: str(PACKAGE), replace=True)


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Decorator: a Hydra main that reads ``conf/<config_name>.yaml``.

    A :class:`RosettaError` is printed as it is, without a traceback, and the process exits with
    code 1; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def guarded(cfg: DictConfig) -> Any:
            try:
                return main(cfg)
            except RosettaError as error:
                if os.environ.get("HYDRA_FULL_ERROR") == "1":
                    raise
                logging.getLogger("rosetta_lab").error("%s", error)
                sys.exit(1)

        return hydra.main(  # type: ignore[no-any-return]
            version_base="1.3", config_path=str(asset_root() / "conf"), config_name=config_name
        )(guarded)

    return decorate
