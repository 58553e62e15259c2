"""The package's commands, as tests give them: in a process of its own, or within this one.

A process imports everything anew, which takes longer than most runs of a test. It is for what only
a process shows: signals, several processes, an environment, what is imported. Everything else that
a command does is the same within this process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

Done = subprocess.CompletedProcess[str]


def words(command: str, *arguments: str) -> list[str]:
    """The command line of ``python -m rosetta_lab.<command>``."""
    return [sys.executable, "-m", f"rosetta_lab.{command}", *arguments]


def process(command: str, *arguments: str, cwd: Path, **environment: str) -> Done:
    """Run a command in a process of its own, with these variables beside the test's own."""
    return subprocess.run(
        words(command, *arguments),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def call(command: str, *arguments: str, cwd: Path, **environment: str) -> Done:
    """Run a command within this process, which is afterwards as it was before.

    An exception that the command does not handle ends the test.
    """
    said, complained = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", [command, *arguments]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        _kept(),
    ):
        try:
            runpy.run_module(f"rosetta_lab.{command}", run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as ended:  # as the interpreter takes it
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                complained.write(f"{ended.code}\n")
    return Done(words(command, *arguments), code, said.getvalue(), complained.getvalue())


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Undo what a command sets for its process: log handlers, warnings, signals, Hydra's config."""
    loggers = [logging.getLogger(), logging.getLogger("rosetta_lab")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    asked_to_end = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for logger in loggers:  # a process starts without those that pytest has set
            logger.handlers.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules after import", RuntimeWarning)
            yield
    finally:
        for logger, (handlers, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)
        for number, handler in asked_to_end.items():
            signal.signal(number, handler)
        HydraConfig.instance().cfg = None
        GlobalHydra.instance().clear()  # which a command that ended early has left
