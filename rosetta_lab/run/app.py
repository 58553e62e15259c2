"""Hydra set-up that all entry points share."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    CompactHydraException,
    InstantiationException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.errors import SAID, RosettaError, printable, visible
from rosetta_lab.files import DISK, asset_root, unwritable
from rosetta_lab.run import loggers  # noqa: F401  configs of loggers call it
from rosetta_lab.run.addresses import hidden, hide_in_files
from rosetta_lab.run.claims import claimed, remove_unfinished
from rosetta_lab.run.command_line import (
    at_home,
    check_groups,
    check_keys,
    check_words,
    empty_lists,
    image_folders,
    left_out,
    with_keys,
    zoo_arguments,
)
from rosetta_lab.run.configs import check_room, follow_moves
from rosetta_lab.run.ending import end_when_asked
from rosetta_lab.run.help import ASKED, help_text
from rosetta_lab.run.processes import is_first
from rosetta_lab.run.record import adopt_record, drop_record, held_record
from rosetta_lab.run.resume import former_defaults, resumed_arguments
from rosetta_lab.run.values import check_kinds


def entry_point(
    config_name: str, optional: Sequence[str] = (), words: Sequence[str] = ()
) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Decorator: a Hydra main that reads ``conf/<config_name>.yaml``.

    ``optional`` are groups of which null is a choice, ``words`` keys whose values may stand alone,
    in this order.

    A :class:`RosettaError` is printed as it is, without a traceback, and the process exits with
    code 1, a sweep after its other jobs; ``HYDRA_FULL_ERROR=1`` brings the traceback back.
    """

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def guarded(cfg: DictConfig) -> Any:
            quiet()
            folder = Path(HydraConfig.get().runtime.output_dir)
            try:
                cfg = follow_moves(cfg)  # knows the addresses that are hidden in a run's notes
                with _writing(folder, HydraConfig.get().output_subdir), _printed_is_logged():
                    check_kinds(config_name, cfg)
                    found = main(cfg)
                    adopt_record(folder)
                    return found
            except (RosettaError, InstantiationException, OSError) as error:
                mistake = _mistake(error, folder, cfg)
                if mistake is None or os.environ.get("HYDRA_FULL_ERROR"):
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
            if any(word in ASKED for word in sys.argv[1:]):
                print(help_text(config_name, _purpose(main)))
                return
            try:
                typed = at_home([hidden(word) for word in sys.argv[1:]])
                typed = with_keys(typed, words)
                check_words(typed)
                arguments = former_defaults(config_name, resumed_arguments(typed))
                arguments = left_out(arguments, optional)
                arguments = image_folders(zoo_arguments(config_name, arguments))
                arguments = empty_lists(config_name, arguments)
                sys.argv[1:] = held_record(arguments)
                check_room(config_name, sys.argv[1:])
                check_groups(sys.argv[1:])
                check_keys(config_name, sys.argv[1:])
            except RosettaError as error:
                sys.exit(str(error))
            end_when_asked(config_name)
            run()

        return start

    return decorate


def _purpose(main: Callable[..., Any]) -> str:
    """What a command does, in the words that its module begins with."""
    said = (sys.modules[main.__module__].__doc__ or "").partition(":")[0].strip()
    return f"{said}." if said else ""


@contextmanager
def _printed_is_logged() -> Iterator[None]:
    """Have the log file of a run, which Hydra has opened, take what is printed, too."""
    files = [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
    for handler in files:
        SAID.addHandler(handler)
    try:
        yield
    finally:
        for handler in files:
            SAID.removeHandler(handler)


@contextmanager
def _writing(folder: Path, notes: str | None) -> Iterator[None]:
    """A run in its folder, which is held meanwhile; there is none where Hydra takes no notes."""
    if notes is None:
        yield
        return
    with claimed(folder) if is_first() else nullcontext():
        if is_first():
            remove_unfinished(folder)
        hide_in_files(folder / notes)
        try:
            yield
        finally:
            drop_record(folder)


def _mistake(error: Exception, folder: Path, cfg: DictConfig) -> RosettaError | None:
    """What the user can mend; None for anything else."""
    if isinstance(error, InstantiationException):  # Hydra's, around what a constructor raises
        key = str(error).rpartition("full_key: ")[2]
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
        if isinstance(error, TypeError | ValueError):
            return RosettaError(
                f"{key}={printable(OmegaConf.select(cfg, key))}: {printable(error)}.\n"
                "Correct what it says; HYDRA_FULL_ERROR=1 shows where it failed."
            )
    if isinstance(error, OSError):
        path = Path(os.fsdecode(error.filename or folder))
        if error.errno in DISK or folder.resolve() in path.resolve().parents:
            return unwritable(path, error)
    return error if isinstance(error, RosettaError) else None


def _shown(record: logging.LogRecord) -> bool:
    """A filter of handlers: names of others are only shown, see :func:`visible`."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True


def quiet_lightning() -> None:
    """Let only Lightning's warnings through."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def quiet() -> None:
    """Let only our own messages, and other libraries' warnings, through, and these only shown."""
    logging.getLogger().setLevel(logging.WARNING)
    quiet_lightning()
    logging.getLogger("rosetta_lab").setLevel(logging.INFO)
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            handler.addFilter(_shown)
    warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")
    # Ours sets them aside.
    warnings.filterwarnings("ignore", ".*Previous log files in this directory will be deleted.*")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # ours make data in place
