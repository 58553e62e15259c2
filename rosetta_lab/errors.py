"""What the user is told: mistakes that can be mended, and text that a terminal only shows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SAID = logging.getLogger("rosetta_lab.said")  # what was printed, for a run's log file alone
SAID.propagate = False
SAID.addHandler(logging.NullHandler())


def visible(text: object) -> str:
    """Text without characters that a terminal acts upon, which names in others' files may hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: object, length: int = 200) -> str:
    """A stranger's text in a message: a short line that a terminal only shows."""
    line = " ".join(str(text)[: length + 1].split())
    return visible(line[:length]) + ("..." if len(line) > length else "")


def say(text: object) -> None:
    """Print for people, see :func:`visible`; a run's log file has it, too."""
    print(visible(text), flush=True)
    SAID.info("%s", text)


class RosettaError(Exception):
    """Carries a message of one or two lines: what was wrong, what was expected, what to do.

    Entry points print it without a traceback and exit with a code other than 0.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


@contextmanager
def advising(argument: str) -> Iterator[None]:
    """Name the argument that does it here in errors that advise to pass ``weights=PATH``.

    Raises:
        RosettaError: as the block's, also where another exception was made of it.
    """
    try:
        yield
    except Exception as error:
        mistake = error if isinstance(error, RosettaError) else error.__cause__
        if not isinstance(mistake, RosettaError):
            raise
        raise RosettaError(re.sub(r"(?<![\w.])weights=PATH", argument, str(mistake))) from error


def check_choice(key: str, value: object, choices: Iterable[str]) -> None:
    """Raise a RosettaError unless a value is one of the choices."""
    listed = list(choices)
    if value not in listed:
        raise RosettaError(
            f"{key}={value}: there is no such choice.\nChoose from {', '.join(listed)}."
        )


def check_count(key: str, value: object) -> None:
    """Raise a RosettaError unless a value is a whole number from 1 on."""
    if not isinstance(value, int) or value < 1:
        raise RosettaError(f"{key}={value}: expected a whole number from 1 on.")
