"""Find images by their Rosetta activations: ``python -m rosetta_lab.retrieve dictionary=RUN``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.dictionary.mined import load_mined_models
from rosetta_lab.errors import RosettaError, say
from rosetta_lab.models.images import largest_input, load_targets
from rosetta_lab.retrieve.known import Known
from rosetta_lab.retrieve.page import write_retrieval
from rosetta_lab.retrieve.results import Row, neighbours_of, precision_text, rows_of, write_table
from rosetta_lab.retrieve.vectors import cards_of, image_vectors
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.trainer import make_trainer, one_device


@entry_point("retrieve")
def main(cfg: DictConfig) -> list[Row]:
    folder = Path(HydraConfig.get().runtime.output_dir)
    trainer = make_trainer(cfg, folder, bar=False)
    with one_device(trainer) as device:
        mined = load_mined_models(cfg.dictionary, device, cfg.trust_sources)
        models = mined.models(cards_of(mined))
        inputs = GivenImages(load_targets(cfg, largest_input(models.values())), cfg.num_images)
        if len(inputs.checked()) <= cfg.nearest:
            raise RosettaError(
                f"nearest={cfg.nearest}: there are only {len(inputs)} images.\n"
                "Use more images, or fewer nearest ones."
            )
        known = Known()
        batches = shown(inputs, known, cfg)
        vectors = image_vectors(mined, models, batches, cfg.cells, cfg.draws, cfg.seed)
    near = neighbours_of(vectors, cfg.nearest)
    rows = rows_of(vectors, near, known.alike(), cfg.resamples, cfg.level, cfg.seed)
    write_table(folder, rows)
    page = write_retrieval(folder, inputs, near, rows, len(mined.dictionary.neurons), cfg)
    for logger in trainer.loggers:
        logger.log_metrics({f"{row.kind}/{row.vectors}/{row.alike}": row.mean for row in rows})
        logger.finalize("success")
    say(precision_text(rows, cfg.nearest, cfg.level))
    say(f"Look at it: {page.resolve()}")
    return rows


def shown(inputs: GivenImages, known: Known, cfg: DictConfig) -> Iterator[Tensor]:
    """The images in batches; what is known of them is gathered on the way."""
    starts = range(0, len(inputs), cfg.batch_size)
    progress = cfg.trainer.enable_progress_bar
    for start in tqdm(starts, "Looking", leave=False, disable=not progress):
        targets = [inputs.targets[n] for n in inputs.numbers[start : start + cfg.batch_size]]
        for target in targets:
            known.add(target)
        yield torch.stack([target.image for target in targets])


if __name__ == "__main__":
    main()
