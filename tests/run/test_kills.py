"""Runs that are killed at any moment: the same command again ends in the same result."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from apart import outcome, start, sums_of_every_batch, warm_up
from toy_runs import EDIT, INVERT, MINE

RUNS = {
    "mine": ("mine", *MINE, "num_images=60", "trainer.enable_progress_bar=false"),
    "mine in passes": (
        *("mine", *MINE, "num_images=60", "trainer.enable_progress_bar=false"),
        *("row_blocks=2", "save_tables=false"),
    ),
    "invert": ("invert", *INVERT),
    "edit": ("edit", *EDIT),
}
KILLS = 20


def run(name: str, folder: Path, kill_after: float | None = None) -> int | None:
    """Run a command in ``folder/run``, with the cache beside it, and its exit code."""
    folder.mkdir(exist_ok=True)
    process = start(
        *(*RUNS[name], "hydra.run.dir=run"),
        cwd=folder,
        before=sums_of_every_batch,
        said=folder / "said",
        ROSETTA_CACHE=str(folder / "cache"),
    )
    process.join(kill_after)
    if kill_after is not None:
        process.kill()
        process.join()
    return process.exitcode


def check_kills(name: str, moments: list[float], folder: Path) -> None:
    """Kill a run at moments between its start, 0, and its end, 1."""
    warm_up()
    began = time.monotonic()
    assert run(name, folder / "whole") == 0, (folder / "whole" / "said").read_text()
    length = time.monotonic() - began
    expected = outcome(folder / "whole" / "run")
    assert len(expected) > 5
    for number, moment in enumerate(moments):
        killed = folder / str(number)
        run(name, killed, moment * length)
        assert run(name, killed) == 0, (moment, (killed / "said").read_text())
        found = outcome(killed / "run")
        assert found.keys() == expected.keys(), moment
        assert [key for key in found if found[key] != expected[key]] == [], moment
        if name.startswith("mine"):
            left = [p.name for p in (killed / "cache" / "mining").iterdir() if p.name[0] != "."]
            kept = [p.name for p in (folder / "whole/cache/mining").iterdir()]
            assert sorted(left) == sorted(kept), moment


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine in passes", "edit"])
def test_killed_once(name: str, tmp_path: Path) -> None:
    check_kills(name, [0.6], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_twenty_moments(name: str, tmp_path: Path) -> None:
    source = random.Random(name)
    check_kills(name, [source.random() for _ in range(KILLS)], tmp_path)
