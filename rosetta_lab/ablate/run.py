"""Running an ablation on the images and the latents that a config asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.ablate.losses import NOTHING, SCALE, ImageLosses, Losses, ModelLosses, joined
from rosetta_lab.ablate.units import Chosen
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.problem import TargetBatches
from rosetta_lab.invert.setup import load_perceptual
from rosetta_lab.invert.sources import reference
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.images import largest_input, load_targets


def ablate_models(
    cfg: DictConfig,
    mined: Mined | None,
    models: Mapping[str, DiscriminativeModel],
    chosen: Mapping[str, Chosen],
) -> dict[str, Losses]:
    """What every model loses on the images, by name.

    Without a generator, images are as large as the models want them, and labels tell nothing.

    Raises:
        RosettaError: none of the images can be read.
    """
    size = largest_input(models.values()) if mined is None else mined.generator.resolution
    targets = load_targets(cfg, size)
    classes = 0 if mined is None else mined.generator.num_classes
    every = {name: ModelLosses(model, chosen[name], classes) for name, model in models.items()}
    found: dict[str, list[Losses]] = {name: [] for name in models}
    for batch in _shown(cfg, TargetBatches(targets, cfg.batch_size), "models"):
        if batch.ids:  # those that can be read
            for name, losses in every.items():
                found[name].append(losses(batch))
    if not any(found.values()):
        raise RosettaError(f"None of the {len(targets)} images can be read.\nName others: images=.")
    lost = {name: joined(parts) for name, parts in found.items()}
    for name, losses in every.items():
        if losses.images > 1:
            lost[name]["similarity"][SCALE] = losses.between_images().cpu()[None, None]
    return lost


def ablate_generator(
    cfg: DictConfig,
    mined: Mined,
    models: Mapping[str, DiscriminativeModel],
    chosen: Chosen,
) -> tuple[Losses, dict[str, Tensor]]:
    """What the images of other latents than the mined ones lose.

    Returns:
        The losses, those of garments only where most images show one, and some of the images
        (n, 3, R, R) in [0, 1]: intact, and by arm.
    """
    distance = load_perceptual(cfg.perceptual).to(mined.device)
    classifier = mined.classifier(cfg.classifier, models)
    losses = ImageLosses(mined.generator, chosen, cfg.psi, distance, classifier)
    sources = reference(mined.generator, cfg.latents, "z", **mined.prior(cfg.psi))
    batches = _shown(cfg, sources.parts(cfg.batch_size), "generator")
    found = losses.told(joined([losses(batch) for batch in batches]))
    shown = {"intact": NOTHING, **{arm: draws[0] for arm, draws in chosen.arms.items()}}
    some = sources.first(cfg.pictures)
    return found, {arm: losses.images(some, units).cpu() for arm, units in shown.items()}


def _shown(cfg: DictConfig, batches: Any, what: str) -> Iterable[Any]:
    """Batches, with a progress bar unless the config turns it off."""
    progress = cfg.trainer.enable_progress_bar
    return tqdm(batches, f"Ablating {what}", len(batches), leave=False, disable=not progress)
