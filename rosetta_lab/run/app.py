"""Hydra set-up that all entry points share."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    CompactHydraException,
    InstantiationException,
)
from hydra.types import RunMode
from omegaconf import DictConfig

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.run import loggers  # noqa: F401  configs of loggers call it
from rosetta_lab.run.command_line import at_home, check_keys, check_lists, zoo_arguments
from rosetta_lab.run.configs import follow_moves
from rosetta_lab.run.resume import former_defaults, resumed_arguments


def entry_point(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Decorator: a Hydra main that reads ``conf/<config_name>.yaml``.

    A :class:`RosettaError` is printed as it is, without a traceback, and the process exits with
    code 1, a sweep after its other jobs; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def guarded(cfg: DictConfig) -> Any:
            quiet()
            try:
                return main(follow_moves(cfg))
            except (RosettaError, InstantiationException) as error:
                # Hydra wraps what a constructor raises.
                mistake = error if isinstance(error, RosettaError) else error.__cause__
                if not isinstance(mistake, RosettaError) or os.environ.get("HYDRA_FULL_ERROR"):
                    raise
                logging.getLogger("rosetta_lab").error("%s", mistake)
                if HydraConfig.get().mode is RunMode.MULTIRUN:
                    # Hydra runs the jobs that are left, then fails.
                    raise CompactHydraException(str(mistake)) from error
                sys.exit(1)

        run = hydra.main(
            version_base="1.3", config_path=str(asset_root() / "conf"), config_name=config_name
        )(guarded)

        @functools.wraps(main)
        def start() -> None:
            try:
                arguments = former_defaults(config_name, resumed_arguments(at_home(sys.argv[1:])))
                sys.argv[1:] = zoo_arguments(config_name, arguments)
                check_lists(sys.argv[1:])
                check_keys(config_name, sys.argv[1:])
            except RosettaError as error:
                sys.exit(str(error))
            # Lightning only takes note of it and finishes the batch, which may take hours.
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
            run()

        return start

    return decorate


def quiet() -> None:
    """Let only our own messages, and other libraries' warnings, through."""
    logging.getLogger().setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("rosetta_lab").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # ours make data in place
