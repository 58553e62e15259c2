"""Set units to their mean and see what is lost: ``python -m rosetta_lab.ablate dictionary=RUN``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.ablate.page import write_ablation
from rosetta_lab.ablate.results import Row, rows_of
from rosetta_lab.ablate.run import ablate_generator, ablate_models
from rosetta_lab.ablate.tables import ablation_text, write_tables
from rosetta_lab.ablate.units import choose
from rosetta_lab.dictionary.mined import load_mined_models, with_generator
from rosetta_lab.errors import say
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.terminal import opening
from rosetta_lab.run.trainer import make_trainer, one_device


@entry_point("ablate")
def main(cfg: DictConfig) -> list[Row]:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)
    with one_device(trainer) as device:
        found = load_mined_models(cfg.dictionary, device, cfg.trust_sources)
        mined = with_generator(found) if found.dictionary.of_generator else None
        chosen = choose(found, cfg.draws, cfg.seed, cfg.match)
        own = found.dictionary.reference.name
        models = found.models(name for name in chosen if mined is None or name != own)
        opening(
            f"Ablating the units of {len(found.dictionary.neurons)} Rosetta neurons of {own}, "
            f"{cfg.draws} draws of others beside them",
            device,
            folder,
        )
        lost = ablate_models(cfg, mined, models, chosen)
        pictures: dict[str, Tensor] = {}
        if mined is not None:
            cfg = mined.filled_in(cfg)
            lost[own], pictures = ablate_generator(cfg, mined, models, chosen[own])
    rows = [
        row
        for name, losses in lost.items()
        for row in rows_of(name, chosen[name], losses, cfg.resamples, cfg.level, cfg.seed)
    ]
    write_tables(folder, rows, chosen)
    page = write_ablation(folder, rows, chosen, pictures, cfg, found.dictionary)
    means = {f"{r.model}/{r.figure}/{r.arm}": r.lost.mean for r in rows if r.lost is not None}
    for logger in trainer.loggers:
        logger.log_metrics(means)
        logger.finalize("success")
    say(ablation_text(rows, chosen, cfg.level))
    say(f"Look at it: {page.resolve()}")
    return rows


if __name__ == "__main__":
    main()
