"""What happens at the end of a sweep of inversions: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rosetta_lab.compare.report import compare_runs
from rosetta_lab.run.sweep import AtSweepEnd


class CollectSweep(AtSweepEnd):
    """Compares the runs of a sweep at its end: tables and a page in the sweep's folder."""

    def collect(self, folder: Path, config: DictConfig) -> None:
        """Compare the runs that have results."""
        found = config.get("reference")
        reference: Any = OmegaConf.to_container(found) if found else None
        compare_runs(folder, [folder], reference=reference)
