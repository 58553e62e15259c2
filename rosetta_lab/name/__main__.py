"""Name a dictionary's concepts: ``python -m rosetta_lab.name dictionary=RUN vocabulary=FILE``."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import load_mined_models
from rosetta_lab.dictionary.names import Name, save_names
from rosetta_lab.errors import check_count, say
from rosetta_lab.files import SHIPPED
from rosetta_lab.mine.page.names import show_names
from rosetta_lab.models.images import largest_input, load_targets
from rosetta_lab.models.text import TextImageModel
from rosetta_lab.name.heat import halves, look
from rosetta_lab.name.known import checks
from rosetta_lab.name.naming import Namer, names_of
from rosetta_lab.name.page import write_names
from rosetta_lab.name.tables import names_text, write_tables
from rosetta_lab.name.words import load_vocabulary, nonsense
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.shared import is_unpacked
from rosetta_lab.run.trainer import make_trainer, one_device


@entry_point("name")
def main(cfg: DictConfig) -> list[Name]:
    folder = Path(HydraConfig.get().runtime.output_dir)
    check_count("crops", cfg.crops)
    check_count("lists", cfg.lists)
    trainer = make_trainer(cfg, folder, bar=False)
    with one_device(trainer) as device:
        mined = load_mined_models(cfg.dictionary, device, cfg.trust_sources)
        text: TextImageModel = instantiate(cfg.text).to(device)
        vocabulary = load_vocabulary(cfg.vocabulary, text)
        targets = load_targets(cfg, largest_input([text.model]))
        progress = cfg.trainer.enable_progress_bar
        shown = look(mined, targets, cfg.batch_size, progress=progress)
        lists = nonsense(text, vocabulary.captions, cfg.lists, cfg.seed)
        namer = Namer(shown, text, vocabulary, lists, cfg.seed, cfg.batch_size)
        own, others = halves(len(shown.images), cfg.seed)
        scored = {"strongest": namer.strongest(cfg.crops, own)}
        scored["shuffled"] = namer.at_random(cfg.crops)
    names, shuffled = (
        names_of(found.named(), vocabulary, cfg.max_chance) for found in scored.values()
    )
    checked = checks(shown, scored, vocabulary, others, cfg.crops, cfg.max_chance)
    write_tables(folder, names, shuffled, checked)
    theirs = mined.folder in SHIPPED.values() or is_unpacked(mined.folder)
    for place in {folder} if theirs else {folder, mined.folder}:
        if place.is_dir():
            save_names(place, mined.dictionary, cfg.text.model.weights, names)
            show_names(place, mined.dictionary)
    page = write_names(folder, names, shuffled, checked, shown, scored["strongest"], mined, cfg)
    for logger in trainer.loggers:
        logger.log_metrics({"named": sum(name.name is not None for name in names)})
        logger.finalize("success")
    say(names_text(names, shuffled, checked))
    say(f"Look at it: {page.resolve()}")
    return names


if __name__ == "__main__":
    main()
