"""``rosetta-lab COMMAND ...`` is ``python -m rosetta_lab.COMMAND ...``."""

from __future__ import annotations

import os
import sys

import rosetta_lab
from rosetta_lab.files import PACKAGE


def commands() -> list[str]:
    """Names of the commands."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__main__.py"))


def main() -> None:
    """Become the command that the first argument names."""
    known = commands()
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-V", "--version"):
        print(f"rosetta-lab {rosetta_lab.__version__}")
    elif word in ("-h", "--help"):
        print(f"Usage: rosetta-lab {{{','.join(known)}}} [key=value ...]")
        print("Each has a --help of its own.")
    elif word not in known:
        sys.exit(f"{word}: there is no such command.\nChoose from {', '.join(known)}.")
    else:
        os.execv(sys.executable, [sys.executable, "-m", f"rosetta_lab.{word}", *sys.argv[2:]])
