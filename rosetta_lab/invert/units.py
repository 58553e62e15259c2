"""Where target maps come from: models that look at images, or the generator itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.dictionary.pairs import Pairs, blocks_of_layers, reference_units
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import Statistics, load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import (
    Agreement,
    Normalization,
    TargetMaps,
    standardize,
)
from rosetta_lab.functional.resize import Size
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.units import UnitIndex


class RosettaUnits(nn.Module):
    """Looks at images with the models of a dictionary and says what the generator should do.

    Args:
        dictionary: with the layers' shapes.
        folder: its run folder, for the statistics.
        models: by name, at least those that ``pairs`` names.
        pairs: see :func:`matched_pairs`.
        normalization: see :mod:`rosetta_lab.functional.agreement`.
    """

    def __init__(
        self,
        dictionary: RosettaDictionary,
        folder: Path,
        models: Mapping[str, DiscriminativeModel],
        pairs: Mapping[str, Tensor],
        normalization: Normalization = "cosine",
    ) -> None:
        super().__init__()
        self.models = nn.ModuleDict({name: models[name] for name in pairs})
        self.normalization: Normalization = normalization
        self.units = dictionary.reference.units
        self.statistics = {
            name: load_statistics(folder, name, dictionary.discriminative[name].layers)
            for name in pairs
        }
        self.generator_statistics = load_statistics(
            folder, dictionary.reference.name, dictionary.reference.layers
        )
        self.sizes = {layer.name: layer.size for layer in dictionary.reference.layers}
        self.blocks = {
            name: blocks_of_layers(self.units, dictionary.discriminative[name].units, rows)
            for name, rows in pairs.items()
        }

    @torch.no_grad()
    def targets(self, images: Tensor) -> list[TargetMaps]:
        """What the matched units see in images (N, 3, H, W) in [0, 1]."""
        targets = []
        for name, blocks in self.blocks.items():
            model = self.models[name]
            assert isinstance(model, DiscriminativeModel)
            maps = model.maps(images, [layer for _, layer in blocks], partial(self._see, name))
            for (own, layer), (rows, columns) in blocks.items():
                targets.append(TargetMaps(own, rows, maps[layer][:, columns].contiguous()))
        return targets

    def _see(self, name: str, layer: str, maps: Tensor) -> Tensor:
        return standardize(maps, *self.statistics[name][layer])

    def agreement(self, targets: Sequence[TargetMaps]) -> Agreement:
        """The activation loss's inside, for these targets."""
        return Agreement(targets, self.generator_statistics, self.sizes, self.normalization)


def own_units(mined: Mined, chosen: Tensor, normalization: Normalization = "cosine") -> OwnUnits:
    """Units of the generator as their own targets."""
    card = mined.dictionary.reference
    return OwnUnits(
        mined.generator,
        card.units,
        chosen,
        load_statistics(mined.folder, card.name, card.layers),
        {layer.name: layer.size for layer in card.layers},
        normalization,
    )


def target_units(cfg: DictConfig, mined: Mined, pairs: Pairs, normalization: Normalization) -> Any:
    """Where the target maps of pairs come from; None for no pairs."""
    if not sum(map(len, pairs.values())):
        return None
    if cfg.origin == "generator":
        return own_units(mined, reference_units(pairs), normalization)
    if cfg.origin != "models":
        raise RosettaError(f"origin={cfg.origin}: expected generator or models.")
    models = mined.models(pairs)
    units = RosettaUnits(mined.dictionary, mined.folder, models, pairs, normalization)
    return SeenUnits(units.to(mined.device))


class OwnUnits:
    """Units of the generator as their own targets: what they do on the source image.

    Args:
        generator: fixed.
        units: the numbers of its units.
        chosen: numbers of the units to use (U,).
        statistics: of its layers over the mined images.
        sizes: of its layers' maps.
        normalization: see :mod:`rosetta_lab.functional.agreement`.
    """

    def __init__(
        self,
        generator: Generator,
        units: UnitIndex,
        chosen: Tensor,
        statistics: Statistics,
        sizes: Mapping[str, Size],
        normalization: Normalization = "cosine",
    ) -> None:
        self.generator, self.statistics, self.sizes = generator, statistics, sizes
        self.normalization: Normalization = normalization
        channels: dict[str, list[int]] = {}
        for number in chosen.tolist():
            unit = units[number]
            channels.setdefault(unit.layer, []).append(unit.channel)
        self.channels = {layer: torch.tensor(own) for layer, own in channels.items()}

    @torch.no_grad()
    def targets(self, code: LatentCode, pictures: Tensor | None = None) -> list[TargetMaps]:
        """What the units do for these latents, standardised, whatever they were inverted from."""
        return list(code.maps(list(self.channels), self._target).values())

    def _target(self, layer: str, maps: Tensor) -> TargetMaps:
        channels = self.channels[layer]
        mean, var = (x.to(maps)[channels] for x in self.statistics[layer])
        return TargetMaps(layer, channels, standardize(maps[:, channels], mean, var))

    def agreement(self, targets: Sequence[TargetMaps]) -> Agreement:
        """The activation loss's inside, for these targets."""
        return Agreement(targets, self.statistics, self.sizes, self.normalization)


class SeenUnits:
    """Units of models that look at the source image, as targets of the generator's matched units.

    Args:
        units: the models and the matches.
    """

    def __init__(self, units: RosettaUnits) -> None:
        self.units = units

    @torch.no_grad()
    def targets(self, code: LatentCode, pictures: Tensor | None = None) -> list[TargetMaps]:
        """What the models' units do, standardised: on the pictures that the latents were inverted
        from (N, 3, R, R) in [0, 1], or on the latents' own images where there are none."""
        seen = code.images().clamp(0.0, 1.0) if pictures is None else pictures
        return self.units.targets(seen)

    def agreement(self, targets: Sequence[TargetMaps]) -> Agreement:
        """The activation loss's inside, for these targets."""
        return self.units.agreement(targets)
