"""Comparing runs: tables, a page, and a table to print."""

from __future__ import annotations

from pathlib import Path

from rosetta_lab.compare.comparison import Comparison, compare
from rosetta_lab.compare.page import write_comparison
from rosetta_lab.compare.runs import ComparedRun, find_baselines, read_arms
from rosetta_lab.compare.tables import comparison_text, write_tables
from rosetta_lab.dictionary.mined import dictionary_folder
from rosetta_lab.dictionary.schema import RosettaDictionary, class_names
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.run.shared import is_shared


def compare_runs(
    folder: Path,
    runs: list[Path],
    *,
    baseline: str | None = None,
    reference: dict[str, dict[str, float]] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare runs; write the tables and the page, print the table.

    Args:
        folder: to write to.
        runs: folders of runs or of sweeps.
        baseline: see :func:`rosetta_lab.compare.runs.find_baselines`.
        reference: figures that others measured: name of a row to figures by name.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.
    """
    arms = read_arms(runs)
    comparison = compare(arms, find_baselines(arms, baseline), resamples, level, seed)
    write_tables(folder, comparison)
    page = write_comparison(
        folder, comparison, known_class_names(arms), reference, level, resamples
    )
    say(comparison_text(comparison, reference or {}, level))
    say(f"Look at it: {page.resolve()}")
    return comparison


def known_class_names(arms: list[ComparedRun]) -> list[str] | None:
    """Names of the classes, where the first run's dictionary is still there and has them."""
    try:
        source = str(arms[0].cfg.get("dictionary"))
        if is_shared(source):  # a run may be anybody's: nothing is fetched because it says so
            return None
        folder = dictionary_folder(source)
        return class_names(RosettaDictionary.load(folder).config)
    except RosettaError:  # moved or removed since: the numbers will do
        return None
