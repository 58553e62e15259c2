"""Join two generators: ``python -m rosetta_lab.bridge dictionaries=[RUN,RUN] transfer=8``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rosetta_lab.bridge.joined import Bridge, build_bridge
from rosetta_lab.bridge.kept import Kept, keeping
from rosetta_lab.bridge.overlaps import overlaps, two_dictionaries
from rosetta_lab.bridge.page import write_bridge
from rosetta_lab.bridge.tables import bridge_text, kept_text, overlap_text, write_tables
from rosetta_lab.bridge.transfer import Transferred, arms_of, transfer
from rosetta_lab.dictionary.mined import Mined, load_mined
from rosetta_lab.errors import say
from rosetta_lab.models.load import load_models
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.trainer import make_trainer, one_device


@entry_point("bridge")
def main(cfg: DictConfig) -> list[Kept]:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)
    first, second = two_dictionaries(cfg.dictionaries)
    found, bridge = overlaps(first, second), build_bridge(first, second, cfg.max_fdr)
    say(overlap_text(first.reference.name, second.reference.name, found))
    say(bridge_text(bridge))
    with one_device(trainer) as device:
        one, other = (load_mined(x, device, cfg.trust_sources) for x in cfg.dictionaries)
        transferred = transfers(cfg, bridge, one, other)
        judge = None
        if cfg.get("judge") is not None:
            judge = load_models({"judge": cfg.judge}, cfg.seed)["judge"].to(device)
        kept = [
            row
            for done in transferred
            for row in keeping(done, judge, cfg.resamples, cfg.level, cfg.seed)
        ]
        write_tables(folder, bridge, found, kept)
        page = write_bridge(folder, bridge, (one, other), found, transferred, kept, cfg)
    figures = {f"{r.source}/{r.figure}/{r.arm}": r.value.mean for r in kept if r.value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(figures)
        logger.finalize("success")
    if kept:
        say(kept_text(kept, cfg.level))
    say(f"Look at it: {page.resolve()}")
    return kept


def transfers(cfg: DictConfig, bridge: Bridge, one: Mined, other: Mined) -> list[Transferred]:
    """Images of either generator as the other makes them; none where nothing joins them."""
    if not cfg.transfer or not len(bridge.accepted.pairs):
        return []
    return [
        transfer(cfg, *ends, arms_of(bridge, cfg.pairs, cfg.seed, back=back))
        for back, ends in ((False, (one, other)), (True, (other, one)))
    ]


if __name__ == "__main__":
    main()
