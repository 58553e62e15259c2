"""What is printed: the first lines of a run, and tables that are no wider than the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from rosetta_lab.errors import say
from rosetta_lab.run.processes import is_first

UNKNOWN = 100  # columns of text, where there is no terminal
GAP = 2  # columns between two cells


def width() -> int:
    """Columns of the terminal."""
    usual = 80 if sys.stdout.isatty() else UNKNOWN
    return max(40, shutil.get_terminal_size((usual, 24)).columns)


def opening(doing: str, device: torch.device | str | None, folder: Path) -> None:
    """Say what a run does, where it works and where it writes, before it begins.

    Args:
        doing: what, of how many: ``Inverting 8 images through stylegan2_fashion, 500 steps``.
        device: that it works on; None where it needs none.
        folder: that it writes into.
    """
    if is_first():
        where = "" if device is None else f", on {_called(torch.device(device))}"
        say(f"{doing}{where}\nInto {folder.resolve()}")


def _called(device: torch.device) -> str:
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}"


def table(rows: Sequence[Sequence[str]], columns: int | None = None) -> str:
    """A table in lines: the first column to the left, others to the right.

    Where it is wider than the terminal, its columns stand in several blocks, one under another,
    each with the first column.

    Args:
        rows: cells, the heads first; short rows end with empty ones.
        columns: of the terminal; None for the one there is. Where there is none, as in a file, a
            table is as wide as it has to be.
    """
    if columns is None:
        looked_at = sys.stdout.isatty() or "COLUMNS" in os.environ
        columns = width() if looked_at else sys.maxsize
    most = max(map(len, rows))
    cells = [[*row, *[""] * (most - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    blocks: list[list[int]] = [[]]
    used = widths[0]
    for place in range(1, most):
        if blocks[-1] and used + GAP + widths[place] > columns:
            blocks.append([])
            used = widths[0]
        blocks[-1].append(place)
        used += GAP + widths[place]
    return "\n\n".join("\n".join(_line(row, widths, block) for row in cells) for block in blocks)


def _line(row: Sequence[str], widths: Sequence[int], block: Sequence[int]) -> str:
    others = "".join(" " * GAP + row[place].rjust(widths[place]) for place in block)
    return f"{row[0]:<{widths[0]}}{others}".rstrip()
