"""What happens at the end of a sweep: ``hydra.callbacks`` in a configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.compare import compare_runs
from rosetta_lab.errors import RosettaError

log = logging.getLogger("rosetta_lab")


class CollectSweep(Callback):
    """Compares the runs of a sweep at its end: tables and a page in the sweep's folder."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write what the jobs came to."""
        folder = Path(config.hydra.sweep.dir)
        found = config.get("reference")
        reference: Any = OmegaConf.to_container(found) if found else None
        try:
            compare_runs(folder, [folder], reference=reference)
        except RosettaError as error:  # a sweep of one job, or of failed ones
            log.warning("Nothing to compare in %s: %s", folder, error)
