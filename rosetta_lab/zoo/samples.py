"""A grid of a generator's samples, one column per class: ``python -m rosetta_lab.zoo.samples``."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig
from torchvision.utils import make_grid

from rosetta_lab.data.images import write_image
from rosetta_lab.models.load import load_generator, load_latents
from rosetta_lab.run.app import entry_point


@entry_point("zoo_samples")
def main(cfg: DictConfig) -> None:
    generator = load_generator(cfg.gen, cfg.seed)
    latents = load_latents(cfg, generator)
    batch = latents.batch(range(len(latents)))
    with torch.no_grad():
        images = generator(batch.z, generator.one_hot(batch.label), cfg.psi)
    columns = len(latents.classes) or cfg.rows
    path = Path(cfg.output)
    write_image(make_grid(generator.to_unit_range(images), nrow=columns), path)
    print(path)


if __name__ == "__main__":
    main()
