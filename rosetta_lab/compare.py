"""Compare runs of inversions: ``python -m rosetta_lab.compare runs=[FOLDER,...]``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.comparing import Arm, Comparison, compare, find_baselines, read_arms
from rosetta_lab.config import entry_point
from rosetta_lab.dictionary import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.mined import dictionary_folder
from rosetta_lab.report.comparison import write_comparison
from rosetta_lab.report.comparison_tables import comparison_text, write_tables
from rosetta_lab.report.inversions import class_names

log = logging.getLogger("rosetta_lab")


@entry_point("compare")
def main(cfg: DictConfig) -> Comparison:
    reference: Any = OmegaConf.to_container(cfg.reference) if cfg.reference else {}
    return compare_runs(
        Path(HydraConfig.get().runtime.output_dir),
        [Path(folder) for folder in cfg.runs],
        baseline=cfg.baseline,
        reference=reference,
        resamples=cfg.resamples,
        level=cfg.level,
        seed=cfg.seed,
    )


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
        baseline: see :func:`rosetta_lab.comparing.find_baselines`.
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
    print(comparison_text(comparison, reference or {}, level))
    print(f"Look at it: {page.resolve()}")
    return comparison


def known_class_names(arms: list[Arm]) -> list[str] | None:
    """Names of the classes, where the first run's dictionary is still there and has them."""
    try:
        folder = dictionary_folder(str(arms[0].cfg.get("dictionary")))
        return class_names(RosettaDictionary.load(folder).config)
    except RosettaError:  # moved or removed since: the numbers will do
        return None


if __name__ == "__main__":
    main()
