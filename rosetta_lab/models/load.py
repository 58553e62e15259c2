"""From configs to models and data."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, Protocol, cast

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, ListConfig, open_dict
from torch import nn

from rosetta_lab.data.inputs import GivenImages, Inputs
from rosetta_lab.data.latents import Latents
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import content_digest
from rosetta_lab.models.base import Generator
from rosetta_lab.models.checkpoints import build, load_weights, made
from rosetta_lab.models.checkpoints.told import open_arguments
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.images import (
    check_images,
    entries_of,
    largest_input,
    load_targets,
    reference_of,
)
from rosetta_lab.models.observer import GeneratedImages, Observer, ShownImages
from rosetta_lab.run.configs import plain

log = logging.getLogger("rosetta_lab")


class Maker(Protocol):
    """Makes what an entry of a config describes: the user's own, or that of others.

    See :class:`rosetta_lab.models.registry.Kinds` for that of others.
    """

    def find(self, target: str) -> type:
        """The class that a ``_target_`` names."""

    def make(self, entry: Any, **more: Any) -> Any:
        """The object, with more options of the caller's."""


class ByHydra:
    """Makes what the user's own configs and command line describe, whatever that is."""

    def find(self, target: str) -> type:
        """See :class:`Maker`."""
        return get_class(target)

    def make(self, entry: Any, **more: Any) -> Any:
        """See :class:`Maker`. What is added stays outside of Hydra, which would act upon it."""
        return instantiate(entry, _partial_=True)(**more)


def load_generator(cfg: DictConfig, seed: int = 0, maker: Maker | None = None) -> Generator:
    """The generator of a ``conf/gen`` entry.

    Args:
        cfg: ``network`` (a ``_target_`` and its arguments) and ``weights`` (a source that
            :func:`rosetta_lab.models.checkpoints.load_weights` takes, or ``random``); perhaps
            ``sha256``, what the file must have.
        seed: of random weights.
        maker: of the network; None where the config is the user's own.

    Raises:
        RosettaError: the weights are of another network than ``network`` describes.
    """
    maker = maker or ByHydra()
    with naming("gen"):
        # Before the network is built: where there is no file, that takes long for nothing.
        weights = None
        if cfg.weights != "random":
            weights = load_weights(cfg.weights, sha256=cfg.get("sha256"))
    told: dict[str, Any] = {}
    if weights is not None and weights.config:
        kind, given = maker.find(cfg.network._target_), plain(cfg.network)
        told = open_arguments(kind, given, weights.config, weights.source)
    torch.manual_seed(seed)
    make = partial(maker.make, cfg.network, **told)
    generator: Generator
    if weights is None:  # of others' sizes nothing accounts for
        generator = make() if isinstance(maker, ByHydra) else made(make)
    else:
        generator = build(make, weights)
        generator.source, generator.sha256 = weights.source, weights.sha256
    return generator.eval().requires_grad_(False)


def load_models(
    cfg: Mapping[str, DictConfig], seed: int = 0, maker: Maker | None = None
) -> dict[str, DiscriminativeModel]:
    """The discriminative models of ``conf/disc`` entries, by name; ``maker`` as for a generator."""
    maker = maker or ByHydra()
    models: dict[str, DiscriminativeModel] = {}
    for name, entry in cfg.items():
        torch.manual_seed(seed)
        with naming(f"disc.{name}"):
            models[name] = maker.make(entry).eval().requires_grad_(False)
    return models


@contextmanager
def naming(entry: str) -> Iterator[None]:
    """Let messages within say ``gen.weights=PATH`` or the like, not just ``weights=PATH``.

    What gets the files does not know whose they are.
    """
    try:
        yield
    except (RosettaError, InstantiationException) as error:
        # Hydra wraps what a constructor raises.
        mistake = error if isinstance(error, RosettaError) else error.__cause__
        if not isinstance(mistake, RosettaError):
            raise
        text = str(mistake).replace("weights=PATH", f"{entry}.weights=PATH")
        raise RosettaError(text) from error


def apply_overrides(cfg: DictConfig) -> DictConfig:
    """A copy with ``weights=``, ``pretrained=`` and ``layers=`` carried into the models' entries.

    ``layers=reference`` stands for the ``reference_layers`` of every entry that has some: what the
    published reference code recorded.

    A model whose entry has no ``weights`` keeps what it has.

    Raises:
        RosettaError: there is no discriminative model; ``layers`` names a model that is not part of
            the run, or is something else; ``weights`` is something else than null or random; see
            :func:`check_images`, too.
    """
    if not cfg.get("disc"):
        raise RosettaError(
            "disc=[]: there is no model to look at the images.\n"
            "Name at least one, such as disc=[resnet_fashion]."
        )
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.gen = cfg.get("gen")  # gen=null leaves no key
    for name, entry in cfg.disc.items():
        if not isinstance(entry, Mapping):
            raise RosettaError(
                f"disc.{name}={entry}: expected a model (_target_ and its arguments).\n"
                f"Pass ~disc.{name} to leave it out."
            )
    check_images(cfg)
    entries = entries_of(cfg)
    if cfg.weights not in (None, "random"):
        name = next(iter(cfg.disc), "NAME")
        raise RosettaError(
            f"weights={cfg.weights}: expected null or random, since every model has its own.\n"
            f"For one model's weights, pass gen.weights=PATH or disc.{name}.weights=PATH."
        )
    layers = cfg.layers or {}
    if layers == "reference":
        layers = {n: e.reference_layers for n, e in entries.items() if "reference_layers" in e}
        if not layers:
            raise RosettaError(
                f"layers=reference: none of {', '.join(entries)} has reference_layers.\n"
                "Leave layers=null for their own choice."
            )
    if not isinstance(layers, Mapping):
        raise RosettaError(
            f"layers={layers}: expected 'reference' or globs by model, such as "
            f"layers='{{{next(iter(entries))}: [...]}}'."
        )
    with open_dict(cfg):
        for name, globs in layers.items():
            if name not in entries:
                raise RosettaError(
                    f"layers: there is no model '{name}' in this run.\n"
                    f"Choose from {', '.join(entries)}."
                )
            entries[name].layers = [globs] if isinstance(globs, str) else globs
    if cfg.weights == "random":
        cfg = random_weights(cfg)
    elif not cfg.pretrained:
        cfg = random_weights(cfg, "disc")
    entries = entries_of(cfg)
    random = [name for name, entry in entries.items() if entry.get("weights") == "random"]
    if random:
        log.warning("RANDOM WEIGHTS (%s): a test of the code, not a result.", ", ".join(random))
    return cfg


def random_weights(cfg: DictConfig, *kinds: Literal["gen", "disc"]) -> DictConfig:
    """A copy of a run's config in which models have nothing to load.

    What is made without ``weights`` stays as it is.

    Args:
        cfg: of the run.
        kinds: of models; none for all of them.
    """
    cfg = cfg.copy()
    if cfg.gen is not None and ("gen" in kinds or not kinds):
        cfg.gen = randomized(cfg.gen)
    if "disc" in kinds or not kinds:
        for name, entry in cfg.disc.items():
            cfg.disc[name] = randomized(entry)
    return cfg


def randomized(entry: DictConfig) -> DictConfig:
    """A copy of a model's config with random weights, unless what makes it takes no ``weights``."""
    entry = entry.copy()
    if "weights" in entry:
        entry.weights = "random"
    if isinstance(entry.get("model"), DictConfig):  # of one on top of another
        entry.model = randomized(entry.model)
    return entry


def load_observer(cfg: DictConfig) -> Observer:
    """The source of images, discriminative models and their layers, from a run's config."""
    source = load_source(cfg)
    return Observer(source, load_models(cfg.disc, cfg.seed), reference_of(cfg))


def load_source(cfg: DictConfig) -> GeneratedImages | ShownImages:
    """What makes a run's images: its generator, or nothing where they are given."""
    if cfg.gen is None:
        return ShownImages()
    generator = load_generator(cfg.gen, cfg.seed)
    recorded = reference_of(cfg) == cfg.gen.name
    return GeneratedImages(generator, cfg.gen.layers if recorded else None, cfg.gen.name, cfg.psi)


def load_inputs(cfg: DictConfig, observer: Observer) -> Inputs:
    """What a run's config asks its models to be shown: latents, or given images.

    Images are squares, as large as the model wants them that wants them largest.
    """
    if isinstance(observer.source, GeneratedImages):
        return load_latents(cfg, observer.source.generator)
    models = cast(Iterable[DiscriminativeModel], observer.models.values())
    return GivenImages(load_targets(cfg, largest_input(models)), cfg.num_images)


def load_latents(cfg: DictConfig, generator: Generator) -> Latents:
    """The latents that a run's config asks for."""
    classes: Sequence[int] | int | None = cfg.classes
    if isinstance(classes, ListConfig):
        classes = list(classes)
    return Latents(
        num_images=cfg.num_images,
        seed=cfg.seed,
        z_dim=generator.z_dim,
        num_classes=generator.num_classes,
        classes=classes,
        **cfg.gen.latent,
    )


def state_hash(module: nn.Module) -> str:
    """SHA-256 over the names and values of a module's parameters and buffers."""
    return content_digest(module.state_dict())
