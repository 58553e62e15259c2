"""The package's commands in processes that can be killed, forked from one that imported all.

So they start at once, and twenty of them take less time than five that import everything anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from commands import call

TIMES = ("created", "sha256")  # of a dictionary, which depend on the time of day
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [f"rosetta_lab.{name}" for name in ("mine.passes", "edit.arms", "mine.page.index")]
    + [f"rosetta_lab.{name}.__main__" for name in ("mine", "invert", "edit")]
)


def warm_up() -> None:
    """Import everything now, not in the first process that is started."""
    process = FORKS.Process(target=int)
    process.start()
    process.join()


def start(
    command: str,
    *arguments: str,
    cwd: Path,
    before: Callable[[], object] | None = None,
    said: Path | None = None,
    **environment: str,
) -> BaseProcess:
    """Start a command.

    Args:
        command: ``rosetta_lab.<command>``.
        arguments: of its command line.
        cwd: where.
        before: is called first in the process; of a module that can be imported.
        said: file for what it says.
        environment: beside the test's own.
    """
    given = (command, arguments, cwd, before, said, dict(os.environ) | environment)
    process = FORKS.Process(target=_run, args=given)
    process.start()
    return process


def _run(
    command: str,
    arguments: tuple[str, ...],
    cwd: Path,
    before: Callable[[], object] | None,
    said: Path | None,
    environment: dict[str, str],
) -> None:
    torch.set_num_threads(1)
    if before is not None:
        before()
    done = call(command, *arguments, cwd=cwd, **environment)
    if said is not None:
        said.write_text(done.stdout + done.stderr)
    sys.exit(done.returncode)


def sums_of_every_batch() -> None:
    """Have unfinished sums of mining written after every batch, as in a run that takes hours."""
    from rosetta_lab.mine.partial import PartialSums

    PartialSums.__init__.__defaults__ = (0.0,)


def end_at_the_third_batch() -> None:
    """Mine, and die at the third batch."""
    from rosetta_lab.mine.module import MiningModule

    sums_of_every_batch()
    step, seen = MiningModule.validation_step, []

    def die(*arguments: object) -> None:
        seen.append(1)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        step(*arguments)

    MiningModule.validation_step = die


def another_shift_and_no_end() -> None:
    """The same with another shift than the pilot's."""
    from rosetta_lab.mine import module

    end_at_the_third_batch()
    look = module.pilot_run

    def other(*arguments: object) -> dict[str, torch.Tensor]:
        return {name: 1.3 * mean for name, mean in look(*arguments).items()}

    module.pilot_run = other


def outcome(folder: Path) -> dict[str, bytes]:
    """Every file that a run leaves, without times; none is missing, none is there in addition."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".log" and path.parent.name not in ("csv", ".hydra")
    }
    if "dictionary.json" in found:
        mined = json.loads(found["dictionary.json"])
        for time_of_day in TIMES:
            found["index.html"] = found["index.html"].replace(mined[time_of_day].encode(), b"")
            del mined[time_of_day]
        del mined["summary"]["seconds"]
        found["dictionary.json"] = json.dumps(mined).encode()
        found["index.html"] = re.sub(rb"mined in [\d.]+ s", b"", found["index.html"])
    return found
