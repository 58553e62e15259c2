"""The reference of all models and perceptual distances, made from their configs.

    python -m rosetta_lab.models.document > docs/models.md

Nothing is downloaded: networks are built without memory, preprocessing is what the libraries
publish with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from rosetta_lab.files import asset_root
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.load import apply_overrides, randomized
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.units import Layer, resolve_layers

HEADING = """\
# Models

Every generator (`gen=NAME`), every discriminative model (`disc=[NAME,...]`) and every perceptual
distance of inversions (`perceptual=NAME`) that is one name on the command line. Made from the
configs by `python -m rosetta_lab.models.document > docs/models.md`.
"""


def read_cards() -> dict[str, dict[str, dict[str, str]]]:
    """Title, citation, source and licence of every model, by config group and name."""
    record: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / "cards.yaml"))
    return dict(record)


def document() -> str:
    """The whole page, in Markdown."""
    known = read_cards()
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        generators = [generator_section(name, card) for name, card in known["gen"].items()]
        cfg = composed(f"disc=[{','.join(known['disc'])}]")
        observer = observer_without_memory(cfg)
        shapes = shapes_without_memory(cfg, observer)
        models = [
            model_section(name, card, cfg, observer.models[name], shapes[name])  # type: ignore[arg-type]
            for name, card in known["disc"].items()
        ]
        distances = [perceptual_section(name, card) for name, card in known["perceptual"].items()]
    sections = [
        *("## Generators", *generators),
        *("## Discriminative models", *models),
        *("## Perceptual distances", *distances),
    ]
    return "\n\n".join([HEADING.rstrip(), *sections]) + "\n"


def composed(*overrides: str) -> DictConfig:
    """A run's config with its overrides applied."""
    return apply_overrides(compose("plan", list(overrides)))


def generator_section(name: str, card: dict[str, str]) -> str:
    """One generator."""
    cfg = composed(f"gen={name}", "disc=[resnet_fashion]")
    observer = observer_without_memory(cfg)
    generator = observer.generator
    rows = {
        "weights": f"`{cfg.gen.weights}`",
        "latents": latents(cfg, generator),
        "units": units(cfg.gen.layers, shapes_without_memory(cfg, observer)[name]),
    }
    if "reference_layers" in cfg.gen:
        globs = cfg.gen.reference_layers
        observer.source.layers[name] = resolve_layers(generator, globs, name)
        shapes = shapes_without_memory(cfg, observer)[name]
        rows["`layers=reference`"] = units(globs, shapes)
    return section(f"gen={name}", card, rows)


def model_section(
    name: str,
    card: dict[str, str],
    cfg: DictConfig,
    model: DiscriminativeModel,
    layers: Sequence[Layer],
) -> str:
    """One discriminative model."""
    entry = cfg.disc[name]
    weights = entry.weights
    if "://" not in weights:
        weights = f"{entry['_target_'].split('.')[-2]}: {entry.architecture}, {weights}"
    rows = {
        "weights": f"`{weights}`",
        "preprocessing": f"{resizing(model.preprocess)}; {colours(model.preprocess)}",
        "units": units(model.layers, layers),
    }
    return section(f"disc=[{name}]", card, rows)


def perceptual_section(name: str, card: dict[str, str]) -> str:
    """One perceptual distance: published LPIPS, or its formula on a model of the zoo."""
    entry = compose("invert", [f"perceptual={name}"]).perceptual
    published = "model" not in entry
    bare = entry if published else entry.model  # what has the weights
    with torch.device("meta"):
        random = randomized(bare)
        distance: Any = instantiate(random) if published else instantiate(entry, model=random)
    preprocess = distance.preprocess if published else distance.model.preprocess
    size = f"at most {entry.max_size} px" if published else resizing(preprocess)
    rows = {
        "weights": f"`{bare.weights}`",
        "preprocessing": f"{size}; {colours(preprocess)}",
        "layers": ", ".join(f"`{layer}`" for layer in distance.layers),
    }
    return section(f"perceptual={name}", card, rows)


def resizing(preprocess: Preprocess) -> str:
    """To which size, and how."""
    height, width = preprocess.size
    how = f"{preprocess.interpolation}{', antialiased' if preprocess.antialias else ''}"
    return f"{height} x {width} px, {how}"


def colours(preprocess: Preprocess) -> str:
    """What is subtracted, and what is divided by."""
    mean, std = (
        ", ".join(f"{v:.4g}" for v in values) for values in (preprocess.mean, preprocess.std)
    )
    return f"mean ({mean}), std ({std})"


def section(heading: str, card: dict[str, str], rows: dict[str, str]) -> str:
    """Heading, title, and a table."""
    facts = {"source": card["source"], "licence": card["licence"], "cite": card["citation"]}
    table = [f"| {key} | {value} |" for key, value in (rows | facts).items()]
    return "\n".join([f"### `{heading}`", "", card["title"], "", "| | |", "|---|---|", *table])


def latents(cfg: DictConfig, generator: Generator) -> str:
    """How z is drawn, the classes, and psi."""
    how: dict[str, Any] = dict(cfg.gen.latent)
    drawn = "standard normal"
    if how["distribution"] == "truncated_normal":
        drawn += f" truncated to [-{how['bound']:g}, {how['bound']:g}]"
    if "scale" in how:
        drawn += ", times psi"
    classes = f"; {generator.num_classes:,} classes" if generator.num_classes else ""
    return f"{generator.z_dim}, {drawn}{classes}; psi {cfg.gen.latent_psi:g}"


def units(globs: Sequence[str], layers: Sequence[Layer]) -> str:
    """How many, in which layers, at which sizes."""
    total = sum(layer.channels for layer in layers)
    sizes = sorted({layer.size for layer in layers})
    reach = [f"{height} x {width}" for height, width in dict.fromkeys((sizes[0], sizes[-1]))]
    named = ", ".join(f"`{glob}`" for glob in globs)
    maps = " to ".join(reach)
    return f"{total:,} in {len(layers)} layers, maps of {maps}: {named}"


if __name__ == "__main__":
    print(document(), end="")
