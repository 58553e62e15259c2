"""Images of one generator inverted into another by nothing but joined units.

What the units of the one do on an image is what their partners in the other are asked to do. No
pixel of the image, no class and no discriminative model takes part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from rosetta_lab.bridge.joined import Bridge, random_partners
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.dictionary.pairs import blocks_of_layers
from rosetta_lab.dictionary.statistics import Statistics, load_statistics
from rosetta_lab.functional.agreement import Agreement, TargetMaps, standardize
from rosetta_lab.invert.latent_code import LatentCode, MeanLatents
from rosetta_lab.invert.objective import Objective
from rosetta_lab.invert.optimise import optimise
from rosetta_lab.invert.sources import Sources, from_seeds

BRIDGE, RANDOM, DECOYS = "bridge", "random", "decoys"
ARMS = {BRIDGE: "bridge", RANDOM: "random partners", DECOYS: "decoys"}
FIRST_SEED = 10_000  # of sources: mining counts its latents from the dictionary's seed


@dataclass
class Transferred:
    """Images of one generator and what they become in another.

    Attributes:
        source: name of the generator that made the images.
        target: of the other.
        ids: of the images.
        images: made by the source (N, 3, R, R) in [0, 1], as all images.
        start: what every optimisation began with (1, 3, R, R), made by the target.
        results: of every arm, made by the target.
        pairs: how many each arm had.
    """

    source: str
    target: str
    ids: list[str]
    images: Tensor
    start: Tensor
    results: dict[str, Tensor]
    pairs: dict[str, int]


class PairedUnits:
    """Units of one generator as targets of another's.

    Args:
        source: whose units say what to do.
        target: whose units are to do it.
        pairs: numbers of units, source and target (P, 2).
    """

    def __init__(self, source: Mined, target: Mined, pairs: Tensor) -> None:
        self.source, self.card = source, target.dictionary.reference
        own = source.dictionary.reference
        blocks = blocks_of_layers(self.card.units, own.units, pairs.flip(1))
        self.blocks = blocks
        self.seen = _statistics(source)
        self.statistics = _statistics(target)

    @torch.no_grad()
    def targets(self, sources: Sources, psi: float) -> list[TargetMaps]:
        """What the source's units do for these latents (of w), standardised over its dictionary."""
        code = LatentCode(self.source.generator, "w", sources.latent, sources.c, psi)
        layers = list(dict.fromkeys(layer for _, layer in self.blocks))
        maps = code.maps(layers, lambda layer, x: standardize(x, *self.seen[layer]))
        return [
            TargetMaps(own, rows, maps[layer][:, columns].contiguous())
            for (own, layer), (rows, columns) in self.blocks.items()
        ]

    def agreement(self, targets: list[TargetMaps]) -> Agreement:
        """The activation loss's inside."""
        sizes = {layer.name: layer.size for layer in self.card.layers}
        return Agreement(targets, self.statistics, sizes)


def _statistics(mined: Mined) -> Statistics:
    card = mined.dictionary.reference
    return load_statistics(mined.folder, card.name, card.layers)


def arms_of(bridge: Bridge, limit: int | None, seed: int, *, back: bool) -> dict[str, Tensor]:
    """The pairs (P, 2) of every arm, source and target: as many as the bridge has, if there are.

    Args:
        bridge: the strongest accepted joins are its own arm, the strongest of decoys another.
        limit: at most so many.
        seed: of the random partners.
        back: from the second generator to the first.
    """
    own = bridge.pairs(back, limit)
    units = (bridge.first if back else bridge.second).reference.units
    decoys = bridge.decoys.pairs[: len(own)]
    return {
        BRIDGE: own,
        RANDOM: random_partners(own, units, seed),
        DECOYS: decoys.flip(1) if back else decoys,
    }


def transfer(
    cfg: DictConfig, source: Mined, target: Mined, arms: Mapping[str, Tensor]
) -> Transferred:
    """Transfer images of one generator into another, in every arm.

    All arms begin with the same latents, and know no class: a class-conditional generator begins
    with the average of all.

    Args:
        cfg: the run's.
        source: makes the images.
        target: takes them.
        arms: pairs of units (P, 2), source and target.
    """
    psi = float(source.config.psi)
    seeds = range(FIRST_SEED + cfg.skip, FIRST_SEED + cfg.skip + cfg.transfer)
    sources = from_seeds(source.generator, seeds, None, "w", **source.prior(psi))
    with torch.no_grad():
        images = LatentCode(source.generator, "w", sources.latent, sources.c, psi).images()
    name, other = (mined.dictionary.reference.name for mined in (source, target))
    lr = target.filled_in(OmegaConf.create({"lr": cfg.lr})).lr
    found: dict[str, list[Tensor]] = {}
    for arm, pairs in arms.items():
        units = PairedUnits(source, target, pairs)
        for part in sources.parts(cfg.batch_size):
            agreement = units.agreement(units.targets(part, psi))
            done = optimise(
                (
                    start_of(target, part.ids, cfg.seed),
                    Objective({"activation": 1.0, "latent_l2": cfg.alpha}, agreement=agreement),
                ),
                cfg.steps,
                lr,
                progress=cfg.trainer.enable_progress_bar,
                title=f"{name} to {other}, {ARMS[arm]}",
            )
            found.setdefault(arm, []).append(done.images.cpu())
    with torch.no_grad():
        starts = start_of(target, sources.ids[:1], cfg.seed).images()
    return Transferred(
        name,
        other,
        sources.ids,
        images.clamp(0.0, 1.0).cpu(),
        starts.clamp(0.0, 1.0).cpu(),
        {arm: torch.cat(parts) for arm, parts in found.items()},
        {arm: len(pairs) for arm, pairs in arms.items()},
    )


@torch.no_grad()
def start_of(target: Mined, ids: list[str], seed: int) -> LatentCode:
    """Latents in w that know nothing of the images: the mean, of all classes alike."""
    generator, psi = target.generator, float(target.config.psi)
    classes = generator.num_classes
    like = next(generator.parameters())
    c = like.new_full((len(ids), classes), 1.0 / classes) if classes else None
    how = target.distribution(psi)
    means = MeanLatents(generator, psi=psi, seed=seed, **how)
    return LatentCode(generator, "w", means.in_space("w", c, len(ids)), c, psi)
