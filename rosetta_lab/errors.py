"""The one exception type that stands for a mistake the user can mend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class RosettaError(Exception):
    """Carries a message of one or two lines: what was wrong, what was expected, what to do.

    Entry points print it without a traceback and exit with a code other than 0.
    """


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
