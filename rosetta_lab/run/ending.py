"""How a run ends that is asked to end: with a word, and without a traceback."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from hydra.core.hydra_config import HydraConfig

RESUMED = ("mine", "invert", "edit")  # commands that have ``resume=``


def end_when_asked(command: str) -> None:
    """From now on, Ctrl-C and SIGTERM end the process with the code 128 + their number.

    Lightning only takes note of SIGTERM and finishes the batch, which may take hours. Asked a
    second time, the process ends at once.

    Args:
        command: ``python -m rosetta_lab.<command>``.
    """

    def end(number: int, _: FrameType | None) -> None:
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, signal.SIG_DFL)
        print(f"\n{_farewell(command, signal.Signals(number).name)}", file=sys.stderr, flush=True)
        sys.exit(128 + number)

    for asked in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(asked) is not signal.SIG_IGN:  # as nohup and a shell's & have it
            signal.signal(asked, end)


def _farewell(command: str, asked: str) -> str:
    again = f"python -m rosetta_lab.{command}"
    if HydraConfig.initialized() and command in RESUMED:
        folder = HydraConfig.get().runtime.output_dir
        return (
            f"Ended by {asked}; what was finished until now is whole.\n"
            f"Go on with {again} resume={folder}"
        )
    return f"Ended by {asked}; no file is half written.\nBegin again with {again}"
