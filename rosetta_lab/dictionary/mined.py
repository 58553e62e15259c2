"""What a mining run left, ready to be used: its dictionary, generator and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from torch import Tensor

from rosetta_lab.data.latents import Latents
from rosetta_lab.dictionary.schema import FILE_NAME, ModelCard, RosettaDictionary
from rosetta_lab.errors import RosettaError, advising, printable
from rosetta_lab.files import SHIPPED
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.load import load_generator, load_models
from rosetta_lab.models.options import Text, refusing
from rosetta_lab.models.registry import DISCRIMINATIVE, GENERATORS, check_sources
from rosetta_lab.models.units import INPUT_SUFFIX, Layer
from rosetta_lab.run.configs import plain, unresolved
from rosetta_lab.run.foreign import TARGET, Strict, check_closed, check_record, check_values
from rosetta_lab.run.shared import dictionary_place

EMBEDDED = SHIPPED["embedded"]
MINE_AGAIN = "weights=PATH to a new rosetta_lab.mine"  # what a dictionary names is not replaced
LR = 0.1  # of inversions through a generator whose config names none
MOST_CLASSES = 1 << 15
MOST_VALUES = 40_000  # of all models' entries, which take a while to become a config
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]


class Lenient(Strict, extra="ignore"):
    """What others wrote, of which only what is known is used."""


class LatentEntry(Lenient):
    """How z is distributed, see :func:`rosetta_lab.data.latents.sample_z`."""

    distribution: Literal["normal", "truncated_normal"] = "normal"
    bound: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    scale: Finite | None = None


class GeneratorEntry(Lenient):
    """A ``gen`` entry, as a run wrote it."""

    name: Text = ""
    network: dict[Text, Any]
    weights: Text
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    latent: LatentEntry
    lr: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    class_names: Annotated[list[Text], Field(max_length=MOST_CLASSES)] | None = None


class MinedConfig(Lenient):
    """What a mining run's config tells whoever uses its dictionary."""

    gen: GeneratorEntry | None = None
    disc: dict[Text, dict[Text, Any]]
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
    psi: Finite | None = None
    classes: Annotated[list[int], Field(max_length=MOST_CLASSES)] | int | None = None


@dataclass
class MinedModels:
    """A mining run's models that look at images.

    Attributes:
        dictionary: what it found.
        folder: where it is.
        config: ``disc`` and perhaps ``gen`` entries, ``seed``, ``psi`` and ``classes``: checked,
            without ``${...}``.
        device: of the models.
        trust_sources: whether weights may be fetched that no config of the user's own names.
    """

    dictionary: RosettaDictionary
    folder: Path
    config: DictConfig
    device: torch.device
    trust_sources: bool = False

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
        check_sources(map(unresolved, entries.values()), self.trust_sources)
        with refusing("The dictionary's model"), advising(f"disc.NAME.{MINE_AGAIN}"):
            models = load_models(entries, self.config.seed, DISCRIMINATIVE)
        cards = dict(self.dictionary.discriminative)
        if not self.dictionary.of_generator:
            cards[self.dictionary.reference.name] = self.dictionary.reference
        for name, model in models.items():
            check_weights(model, cards.get(name))
            check_layers(model.to(self.device), cards[name])
        return models


@dataclass(kw_only=True)
class Mined(MinedModels):
    """A mining run whose reference is its generator, which is on the device asked for."""

    generator: Generator

    def images(self, count: int, seed: int, psi: float) -> Latents:
        """Latents of other images of the kind that was mined: of these classes, at some psi.

        Raises:
            RosettaError: the generator has no such classes.
        """
        z_dim, classes = self.generator.z_dim, self.generator.num_classes
        mined = plain(self.config.get("classes"))
        return Latents(count, seed, z_dim, classes, mined, **self.distribution(psi))

    def distribution(self, psi: float) -> dict[str, Any]:
        """How z is distributed at a psi, see :func:`rosetta_lab.data.latents.sample_z`.

        Where psi was the scale of the mined z (BigGAN), it is the scale.
        """
        found = {str(key): value for key, value in self.config.gen.latent.items()}
        return found | ({"scale": psi} if found.get("scale") == self.config.psi else {})

    def prior(self, psi: float) -> dict[str, Any]:
        """What :func:`rosetta_lab.invert.sources.from_seeds` draws latents like the mined with."""
        return {
            "psi": psi,
            "distribution": self.distribution(psi),
            "classes": self.images(1, 0, psi).classes,
        }

    def filled_in(self, cfg: DictConfig) -> DictConfig:
        """A copy with the generator's own ``lr`` and the mining run's ``psi`` in place of null."""
        own = {"lr": self.config.gen.get("lr") or LR, "psi": self.config.psi}
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
            name: its name; None for the first that has as many classes.
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
            if candidate not in entries or class_count(entries[candidate]) == classes:
                return (loaded or {}).get(candidate) or self.models([candidate])[candidate]
        if name is None:
            return None
        raise RosettaError(
            f"classifier={name}: it does not put out the logits of {classes} classes.\n"
            "Choose another one, or null for the first model that does."
        )


@torch.no_grad()
def class_count(entry: DictConfig) -> int:
    """Of how many classes a model puts out the logits. Its weights are not needed."""
    bare = unresolved(entry)
    bare |= {"weights": "random"} if "weights" in bare else {}
    with torch.device("meta"), refusing("The dictionary's model"):
        model: DiscriminativeModel = DISCRIMINATIVE.make(bare)
        return model.num_classes


def dictionary_folder(source: str | Path) -> Path:
    """Folder of a mining run, see :func:`dictionary_place`; ``embedded`` comes with the package."""
    return SHIPPED.get(str(source)) or dictionary_place(source)


def load_mined(
    source: str | Path, device: torch.device | str = "cpu", trust_sources: bool = False
) -> Mined:
    """Load a mining run, which may be anybody's: its configuration is data.

    Args:
        source: its folder, or ``embedded`` or another of ``SHIPPED``, which come along.
        device: for the models.
        trust_sources: fetch weights from wherever it says.

    Raises:
        RosettaError: there is no dictionary, or not a generator's, or its configuration asks for
            something that is neither a generator nor a discriminative model, or for weights that
            would be fetched, or that are not those of the mining run.
    """
    return with_generator(load_mined_models(source, device, trust_sources))


def with_generator(found: MinedModels) -> Mined:
    """A mining run with its generator, see :func:`load_mined`."""
    dictionary, config = found.dictionary, found.config
    if not dictionary.of_generator or not {"gen", "psi"} <= config.keys():
        raise RosettaError(
            f"{printable(str(found.folder))}: this dictionary has no generator to make images with:"
            f" its reference is {printable(dictionary.reference.name)}.\n"
            "Mine one with gen=NAME, and without reference=."
        )
    with refusing("The dictionary's generator"), advising(f"gen.{MINE_AGAIN}"):
        generator = load_generator(config.gen, config.seed, GENERATORS).to(found.device)
    check_weights(generator, dictionary.reference)
    check_layers(generator, dictionary.reference)
    mined = Mined(**vars(found), generator=generator)
    mined.images(1, 0, config.psi)  # tells now which classes there are not
    return mined


def load_mined_models(
    source: str | Path, device: torch.device | str = "cpu", trust_sources: bool = False
) -> MinedModels:
    """Load a mining run as :func:`load_mined`, without its generator, which it need not have."""
    folder = dictionary_folder(source)
    dictionary = RosettaDictionary.load(folder)
    found = {key: dictionary.config.get(key) for key in MinedConfig.model_fields}
    models = {"gen": found["gen"], "disc": found["disc"]}
    check_values(models, f"{FILE_NAME}: config", MOST_VALUES)
    check_closed(models, f"{FILE_NAME}: config")
    checked = check_record(MinedConfig, found, f"{FILE_NAME}: config")
    config = OmegaConf.create(checked.model_dump(exclude_none=True))
    if checked.gen is not None:
        check_sources([checked.gen.model_dump()], trust_sources)
        GENERATORS.find(checked.gen.network.get(TARGET))
    for entry in checked.disc.values():  # before anything is loaded
        DISCRIMINATIVE.find(entry.get(TARGET))
    return MinedModels(dictionary, folder, config, torch.device(device), trust_sources)


@torch.no_grad()
def check_layers(model: Generator | DiscriminativeModel, card: ModelCard) -> None:
    """See that a model's layers are those that a dictionary was mined with.

    Raises:
        RosettaError: one is not there, or has other units or maps.
    """
    root = model if isinstance(model, Generator) else model.network
    known = {name for name, _ in root.named_modules()}
    unknown = [x.name for x in card.layers if x.name.removesuffix(INPUT_SUFFIX) not in known]
    if unknown:
        raise _other_layers(card, f"'{unknown[0]}' is not there")
    found = layers_of(model, [layer.name for layer in card.layers])
    for layer, own in zip(card.layers, found, strict=True):
        if layer != own:
            raise _other_layers(
                card,
                f"'{layer.name}' has {own.channels} maps of {own.height} x {own.width}, "
                f"expected {layer.channels} of {layer.height} x {layer.width}",
            )


def _other_layers(card: ModelCard, what: str) -> RosettaError:
    return RosettaError(
        f"{printable(card.name)}: its layers are not those that the dictionary was mined with: "
        f"{printable(what)}.\nThe dictionary is damaged, or the class has changed: mine again."
    )


def layers_of(model: Generator | DiscriminativeModel, names: Sequence[str]) -> list[Layer]:
    """A model's layers of these names, with their units and the sizes of their maps."""
    like = next(model.parameters())

    def seen(name: str, maps: Tensor) -> Layer:
        return Layer(name, *maps.shape[1:])

    if isinstance(model, Generator):
        first = torch.zeros(1, dtype=torch.long, device=like.device)
        latent = model.map(like.new_zeros(1, model.z_dim), model.one_hot(first))
        found = model.maps(latent, names, seen)
    else:
        found = model.maps(like.new_zeros(1, 3, *model.preprocess.size), names, seen)
    return [found[name] for name in names]


def check_weights(model: Generator | DiscriminativeModel, card: ModelCard | None) -> None:
    """See that a model has the weights that a dictionary was mined with.

    Raises:
        RosettaError: it has others.
    """
    then, now = (card.weights.get("sha256") if card else None) or "", model.sha256 or ""
    if card is None or then != now:
        name = card.name if card else "a model"
        raise RosettaError(
            f"{printable(name)}: its weights are not those that the dictionary was mined with "
            f"(SHA-256 {now[:12] or 'none'}, expected {printable(then[:12]) or 'none'}).\n"
            "Put the file of then back, or mine again."
        )
