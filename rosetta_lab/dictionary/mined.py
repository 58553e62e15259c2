"""What a mining run left, ready to be used: its dictionary, generator and models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.load import load_generator, load_models
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.run.configs import follow_moves

EMBEDDED = PACKAGE / "zoo" / "dictionary"
LR = 0.1  # of inversions through a generator whose config names none


@dataclass
class Mined:
    """A mining run.

    Attributes:
        dictionary: what it found.
        folder: where it is.
        config: ``gen`` and ``disc`` entries, ``seed`` and so on.
        generator: on the device asked for.
    """

    dictionary: RosettaDictionary
    folder: Path
    config: DictConfig
    generator: Generator
    device: torch.device

    @property
    def latent(self) -> dict[str, Any]:
        """How z is distributed, see :func:`rosetta_lab.data.latents.sample_z`."""
        return {str(key): value for key, value in self.config.gen.latent.items()}

    def filled_in(self, cfg: DictConfig) -> DictConfig:
        """A copy with the generator's own ``lr`` and the mining run's ``psi`` in place of null."""
        own = {"lr": self.config.gen.get("lr", LR), "psi": self.config.psi}
        cfg = cfg.copy()
        for key in own.keys() & cfg.keys():
            if cfg[key] is None:
                cfg[key] = own[key]
        return cfg

    def class_number(self, label: Any) -> Any:
        """The number of a class of this name; what is no class's name, as it is."""
        names = list(self.config.gen.get("class_names") or ())
        return names.index(label) if label in names else label

    def classifier(
        self, name: str | None, loaded: Mapping[str, DiscriminativeModel] | None = None
    ) -> DiscriminativeModel | None:
        """A model of the run that tells the generator's classes apart.

        Args:
            name: its name; None for the first with as many outputs as there are classes.
            loaded: models that need not be loaded again.

        Returns:
            None for a generator without classes, or where ``name`` is None and no model fits.

        Raises:
            RosettaError: the run had no such model, or its outputs are not the classes' logits.
        """
        classes, entries = self.generator.num_classes, self.config.disc
        if not classes:
            return None
        for candidate in list(entries) if name is None else [name]:
            if candidate not in entries or output_count(entries[candidate]) == classes:
                return (loaded or {}).get(candidate) or self.models([candidate])[candidate]
        if name is None:
            return None
        raise RosettaError(
            f"classifier={name}: it does not put out the logits of {classes} classes.\n"
            "Choose another one, or null for the first model that does."
        )

    def models(self, names: Iterable[str]) -> dict[str, DiscriminativeModel]:
        """Discriminative models of the run, by name.

        Raises:
            RosettaError: the run had no such model.
        """
        entries = {}
        for name in names:
            if name not in self.config.disc:
                raise RosettaError(
                    f"{name}: the dictionary's run has no such model.\n"
                    f"Choose from {', '.join(self.config.disc)}."
                )
            entries[name] = self.config.disc[name]
        return {n: m.to(self.device) for n, m in load_models(entries, self.config.seed).items()}


@torch.no_grad()
def output_count(entry: DictConfig) -> int:
    """How many numbers a model puts out for an image; 0 for maps. Its weights are not needed."""
    random = {"weights": "random"} if "weights" in entry else {}
    with torch.device("meta"):
        model: DiscriminativeModel = instantiate(entry, **random).eval()
        found = model(torch.zeros(1, 3, *model.preprocess.size))
    return found.shape[1] if found.dim() == 2 else 0


def dictionary_folder(source: str | Path) -> Path:
    """Folder of a mining run, or of the one that comes with the package (``embedded``)."""
    return EMBEDDED if str(source) == "embedded" else Path(source).expanduser()


def load_mined(source: str | Path, device: torch.device | str = "cpu") -> Mined:
    """Load a mining run.

    Args:
        source: its folder, or ``embedded`` for the one that comes with the package.
        device: for the models.

    Raises:
        RosettaError: there is no dictionary, or its configuration asks for something that is
            neither a generator nor a discriminative model.
    """
    folder = dictionary_folder(source)
    dictionary = RosettaDictionary.load(folder)
    config = follow_moves(OmegaConf.create(dictionary.config))
    check_targets(config.gen, Generator)
    check_targets(config.disc, DiscriminativeModel, Preprocess)
    generator = load_generator(config.gen, config.seed).to(device)
    return Mined(dictionary, folder, config, generator, torch.device(device))


def check_targets(config: Any, *kinds: type) -> None:
    """Let a configuration from outside make nothing but objects of these classes.

    Raises:
        RosettaError: a ``_target_`` is something else.
    """
    for name in _targets(config):
        try:
            found: Any = get_class(name)
        except Exception:  # whatever importing it raises
            found = None
        if found is None or not issubclass(found, kinds):
            raise RosettaError(
                f"The configuration asks for '{name}', which is not a "
                f"{' or '.join(kind.__name__ for kind in kinds)}; refused.\n"
                "Install the package that it comes from, or use another file."
            )


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, DictConfig):
        for key, value in config.items():
            if key == "_target_":
                yield str(value)
            yield from _targets(value)
    elif isinstance(config, ListConfig):
        for value in config:
            yield from _targets(value)
