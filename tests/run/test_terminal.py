"""What is printed: tables that fit, and a log file that has all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import call
from hypothesis import given
from hypothesis import strategies as some
from inversion_fixtures import write_run

from rosetta_lab.run.help import help_text
from rosetta_lab.run.options import choices, config_of, explained
from rosetta_lab.run.terminal import table, width

CELL = some.text("abc 1.", min_size=1, max_size=12).map(lambda text: text.replace(" ", "_"))
HELPED = ["mine", "invert", "edit", "visualize", "compare", "ablate", "plan", "bench_mining"]


@given(some.lists(some.lists(CELL, min_size=1, max_size=9), min_size=1, max_size=5))
def test_no_table_is_wider_than_the_terminal_and_no_cell_is_lost(rows: list[list[str]]) -> None:
    lines = table(rows, 40).splitlines()
    assert all(len(line) <= 40 for line in lines)
    words = " ".join(lines).split()
    for cell in {cell for row in rows for cell in row}:
        assert words.count(cell) >= sum(row.count(cell) for row in rows)


def test_columns_stand_below_their_heads() -> None:
    rows = [["run", "neurons", "q"], ["a", "12", "0.5"], ["longer", "7"]]
    assert table(rows, 80).splitlines() == [
        "run     neurons    q", "a            12  0.5", "longer        7",
    ]  # fmt: skip


@pytest.mark.parametrize("columns", ["60", "140"])
@pytest.mark.parametrize("command", HELPED)
def test_help_explains_every_option(
    command: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert width() == int(columns)
    lines = help_text(command, "What it does.").splitlines()
    assert lines[0] == "What it does." or command == "plan"
    examples = lines.index("Examples")
    assert lines[examples + 1].startswith("  python -m rosetta_lab.")
    told = "".join("".join(lines).split())
    for option in explained(config_of(command)):
        assert f"{option.key.split('@')[0]}={''.join(option.value.split())}" in told
        assert "".join(option.comment.split()) in told
        if option.group:
            assert ",".join(choices(option.key)) in told
    assert all(len(line) <= int(columns) for line in lines if "python -m" not in line)


@pytest.mark.parametrize(
    "words", [["bench", "--help"], ["compare", "-h"], ["bench", "mining", "-h"]]
)
def test_help_of_every_command(words: list[str], tmp_path: Path) -> None:
    done = call(words[0], *words[1:], cwd=tmp_path)
    assert done.returncode == 0 and not list(tmp_path.iterdir())
    assert f"python -m rosetta_lab.{words[0]}" in done.stdout


def test_the_log_file_has_what_was_printed(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path / name, ["one", "two"], lambda place: {"psnr": 9.0}, [f"alpha={name}"])
    done = call("compare", "runs=[a,b]", "resamples=9", "hydra.run.dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first == "Comparing 2 folders of runs" and second == f"Into {tmp_path / 'out'}"
    logged = (tmp_path / "out" / "compare.log").read_text(encoding="utf-8")
    for line in done.stdout.splitlines():
        assert line in logged
    assert done.stdout.count("Look at it:") == 1 == logged.count("Look at it:")
