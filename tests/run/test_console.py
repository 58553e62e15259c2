"""``rosetta-lab COMMAND``."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = [sys.executable, "-c", "from rosetta_lab.run.console import main; main()"]


@pytest.mark.slow
def test_it_is_the_module() -> None:
    done = subprocess.run([*START, "bench", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("Usage: python -m rosetta_lab.bench")


def test_help_names_every_command_and_a_mistake_too() -> None:
    told = subprocess.run([*START, "--help"], capture_output=True, text=True)
    wrong = subprocess.run([*START, "mien"], capture_output=True, text=True)
    for text in (told.stdout, wrong.stderr):
        assert all(
            x in text for x in ("ablate", "bench", "diff", "edit", "invert", "mine", "visualize")
        )
    assert wrong.returncode == 1 and wrong.stderr.startswith("mien: there is no such command.")
