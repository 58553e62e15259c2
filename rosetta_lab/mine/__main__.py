"""Mine Rosetta neurons: ``python -m rosetta_lab.mine gen=NAME disc=[NAME,...]``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import say
from rosetta_lab.mine.outcome import checked_inputs
from rosetta_lab.mine.run import run
from rosetta_lab.mine.summary import summary_table
from rosetta_lab.models.load import apply_overrides, load_observer
from rosetta_lab.pages.document import PAGE_NAME
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.terminal import opening
from rosetta_lab.run.trainer import make_trainer


@entry_point("mine", optional=["gen"])
def main(cfg: DictConfig) -> RosettaDictionary | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    cfg = apply_overrides(cfg)
    observer = load_observer(cfg)
    inputs = checked_inputs(cfg, observer)
    trainer = make_trainer(cfg, folder)
    opening(
        f"Mining {observer.reference} against {', '.join(observer.others)}: "
        f"{len(inputs):,} images, K={cfg.k}",
        trainer.strategy.root_device,
        folder,
    )
    dictionary = run(cfg, observer, inputs, trainer, folder)
    if dictionary is not None:
        say(summary_table(dictionary))
        say(f"Look at it: {(folder / PAGE_NAME).resolve()}")
    return dictionary


if __name__ == "__main__":
    main()
