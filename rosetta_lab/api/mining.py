"""Mining from Python: models by their names, as networks, or both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from rosetta_lab.api.dictionary import Dictionary
from rosetta_lab.api.images import Given, Pictures, as_images
from rosetta_lab.api.objects import as_generator, as_model, default_layers, held
from rosetta_lab.api.options import configured
from rosetta_lab.data.inputs import GivenImages, Inputs
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.run import run
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.images import largest_input
from rosetta_lab.models.load import (
    apply_overrides,
    load_inputs,
    load_latents,
    load_models,
    load_observer,
    load_source,
)
from rosetta_lab.models.observer import GeneratedImages, Observer, ShownImages
from rosetta_lab.run.app import quiet_lightning
from rosetta_lab.run.trainer import make_trainer

GENERATOR = "generator"  # what one without a name is called
Networks = Mapping[str, nn.Module]
Globs = Mapping[str, Sequence[str]]


def mine(
    generator: str | nn.Module | None = None,
    models: Sequence[str] | Networks | None = None,
    *,
    images: Given | None = None,
    layers: Globs | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> Dictionary:
    """Mine Rosetta neurons.

    Args:
        generator: a name of ``conf/gen``, or a network that makes images of z, see
            :func:`rosetta_lab.api.objects.as_generator`; None for that of the embedded zoo, or
            with ``images``.
        models: names of ``conf/disc``, or networks by name, see
            :func:`rosetta_lab.api.objects.as_model`; None for the embedded zoo.
        images: real ones, see :func:`rosetta_lab.api.images.as_images`, in place of a generator's;
            the first model is then the reference.
        layers: globs over module names by model; of networks, by default, those of
            :func:`rosetta_lab.api.objects.default_layers`.
        folder: where the run writes its dictionary and its page; None for a temporary one.
        options: keys of ``python -m rosetta_lab.mine``, such as ``num_images=400`` and ``k=5``.

    Raises:
        RosettaError: there is no such model, layer or key, or nothing to look at.
    """
    if generator is not None and images is not None:
        raise RosettaError(
            "mine: images are generated or given, not both.\nLeave out generator= or images=."
        )
    options = {"trainer.enable_progress_bar": False, "logger": None, **options}
    if isinstance(generator, str):
        options["gen"] = generator
    if models is not None and not isinstance(models, Mapping):
        options["disc"] = list(models)
    objects = isinstance(generator, nn.Module) or isinstance(models, Mapping) or images is not None
    if objects:
        options["cache"] = False  # what is typed into a notebook has no digest
    cfg = configured("mine", **options)
    if objects:
        observer, inputs = _of_objects(cfg, generator, models, images, layers or {})
    else:
        cfg.layers = OmegaConf.create(dict(layers)) if layers else cfg.layers
        cfg = apply_overrides(cfg)
        observer = load_observer(cfg)
        inputs = load_inputs(cfg, observer)
    place = Path(tempfile.mkdtemp(prefix="rosetta_lab_") if folder is None else folder)
    place.mkdir(parents=True, exist_ok=True)
    quiet_lightning()
    record = run(cfg, observer, inputs, make_trainer(cfg, place), place)
    if record is None:
        raise RosettaError("Of several processes, only the first one has a result.")
    networks = dict(observer.models.items())
    own = observer.source.generator if isinstance(observer.source, GeneratedImages) else None
    return Dictionary(held(record, place, networks, own, torch.device("cpu")))


def _of_objects(
    cfg: DictConfig,
    generator: str | nn.Module | None,
    models: Sequence[str] | Networks | None,
    images: Given | None,
    layers: Globs,
) -> tuple[Observer, Inputs]:
    """The models and what they are shown; the config gets what it tells of them."""
    if cfg.control == "untrained":
        raise RosettaError(
            "control=untrained: how to make these networks anew is not known.\n"
            "Mine a second time, with networks that were not trained."
        )
    source: GeneratedImages | ShownImages
    with open_dict(cfg):
        if images is not None:
            cfg.gen = cfg.psi = cfg.classes = None
            source = ShownImages()
        elif isinstance(generator, nn.Module):
            own = as_generator(generator)
            globs = list(layers.get(GENERATOR) or _layers_of(own))
            latent = {"distribution": "normal"}
            cfg.gen = {"name": GENERATOR, "layers": globs, "latent": latent, "latent_psi": 1.0}
            source = GeneratedImages(own, globs, GENERATOR, cfg.psi)
        else:
            loaded = load_source(cfg)
            assert isinstance(loaded, GeneratedImages)
            source = loaded
        if isinstance(models, Mapping):
            side = source.generator.resolution if isinstance(source, GeneratedImages) else None
            looking: dict[str, DiscriminativeModel] = {
                name: as_model(name, network, layers.get(name), resolution=side)
                for name, network in models.items()
            }
            cfg.disc = {}
        else:
            looking = load_models(cfg.disc, cfg.seed)
    if isinstance(source, GeneratedImages):
        return Observer(source, looking), load_latents(cfg, source.generator)
    shown = Pictures(as_images(images, largest_input(looking.values())))
    observer = Observer(source, looking, next(iter(looking)))
    return observer, GivenImages(shown, cfg.num_images).checked()


def _layers_of(generator: Generator) -> list[str]:
    like = next(generator.parameters())
    z = torch.zeros(1, generator.z_dim, device=like.device)
    c = generator.one_hot(torch.zeros(1, dtype=torch.long, device=like.device))
    return default_layers(generator, lambda: generator(z, c), GENERATOR)
