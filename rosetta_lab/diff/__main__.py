"""What one model has and another lacks: ``python -m rosetta_lab.diff disc=[NAME,NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.diff.page import collect_maps, write_difference
from rosetta_lab.diff.run import Difference, compare, mining_config
from rosetta_lab.diff.tables import difference_text, write_tables
from rosetta_lab.errors import say
from rosetta_lab.mine.outcome import checked_inputs
from rosetta_lab.models.load import load_observer
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.trainer import make_trainer


@entry_point("diff")
def main(cfg: DictConfig) -> Difference | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    cfg = mining_config(cfg)
    observer = load_observer(cfg)
    inputs = cast(GivenImages, checked_inputs(cfg, observer))
    trainer = make_trainer(cfg, folder)
    found = compare(cfg, observer, inputs, trainer)
    if found is None:
        return None
    write_tables(folder, found)
    page = write_difference(folder, found, *collect_maps(found, observer, inputs, cfg), cfg)
    shares = {f"{a}/{b}": one.share for (a, b), one in found.coverage.items()}
    for logger in trainer.loggers:
        logger.log_metrics(shares)
        logger.finalize("success")
    say(difference_text(found))
    say(f"Look at it: {page.resolve()}")
    return found


if __name__ == "__main__":
    main()
