"""Which of many cases every run tries; the others are slow ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """A case for slow runs alone."""
    return pytest.param(*values, marks=pytest.mark.slow)


def first(number: int, cases: Iterable[Any]) -> list[Any]:
    """The cases, of which every run tries so many; each a tuple where it has several values."""
    found = list(cases)
    return found[:number] + [
        slow(*case) if isinstance(case, tuple) else slow(case) for case in found[number:]
    ]


def in_turn(cases: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    """Every case with every other; in every run each case meets one of them, the next in turn."""
    found = []
    for number, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        for place, other in enumerate(others):
            here = place == number % len(others)
            found.append(pytest.param(*values, other) if here else slow(*values, other))
    return found
