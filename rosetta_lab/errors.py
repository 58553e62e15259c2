"""The one exception type that stands for a mistake the user can mend."""

from __future__ import annotations

from collections.abc import Iterable


class RosettaError(Exception):
    """Carries a message of one or two lines: what was wrong, what was expected, what to do.

    Entry points print it without a traceback and exit with a code other than 0.
    """


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
