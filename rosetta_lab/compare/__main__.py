"""Compare runs of inversions: ``python -m rosetta_lab.compare runs=[FOLDER,...]``.

Or two dictionaries: ``python -m rosetta_lab.compare dictionaries=[RUN,RUN]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.compare.comparison import Comparison
from rosetta_lab.compare.dictionaries import compare_dictionaries
from rosetta_lab.compare.report import compare_runs
from rosetta_lab.errors import say
from rosetta_lab.files import path_of
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.terminal import opening


@entry_point("compare")
def main(cfg: DictConfig) -> Comparison | Path:
    if cfg.dictionaries:
        page = compare_dictionaries(
            Path(HydraConfig.get().runtime.output_dir), [str(source) for source in cfg.dictionaries]
        )
        say(f"Look at it: {page.resolve()}")
        return page
    reference: Any = OmegaConf.to_container(cfg.reference) if cfg.reference else {}
    folder = Path(HydraConfig.get().runtime.output_dir)
    opening(f"Comparing {len(cfg.runs)} folders of runs", None, folder)
    return compare_runs(
        folder,
        [path_of(folder) for folder in cfg.runs],
        baseline=cfg.baseline,
        reference=reference,
        resamples=cfg.resamples,
        level=cfg.level,
        seed=cfg.seed,
    )


if __name__ == "__main__":
    main()
