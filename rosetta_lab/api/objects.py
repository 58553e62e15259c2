"""Models that a user has as objects: any networks, without a configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from rosetta_lab.dictionary.mined import Mined, MinedModels
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.load import state_hash
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.units import resolve_layers

log = logging.getLogger("rosetta_lab")
OBJECT = "an object in Python"
TRANSFORMER = "blocks.*.mlp.act"  # the paper's units of a vision transformer, in timm's words


class ObjectGenerator(Generator):
    """Any network that makes images of z.

    Args:
        network: takes z (N, z_dim), or z (N, z_dim, 1, 1) where it begins with a convolution, and
            returns images (N, 3, R, R).
        z_dim: width of z.
        pixel_range: that the images nominally have.
    """

    def __init__(
        self, network: nn.Module, z_dim: int, pixel_range: tuple[float, float] = (-1.0, 1.0)
    ) -> None:
        first = next((m for m in network.modules() if not list(m.children())), network)
        spatial = isinstance(first, nn.Conv2d | nn.ConvTranspose2d)
        like = next(network.parameters())
        z = torch.zeros(1, z_dim, device=like.device, dtype=like.dtype)
        with torch.no_grad():
            images = network.eval()(z[:, :, None, None] if spatial else z)
        super().__init__(z_dim, 0, images.shape[-1], pixel_range)
        self.network, self.spatial = network.requires_grad_(False), spatial
        self.source, self.sha256 = OBJECT, state_hash(network)
        self.shown(images)

    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z, shrunk by ``psi`` towards its mean, which is 0."""
        return z * psi

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        """See :class:`Generator`."""
        images: Tensor = self.network(latent[:, :, None, None] if self.spatial else latent)
        return images


def as_generator(
    network: nn.Module, z_dim: int | None = None, pixel_range: tuple[float, float] = (-1.0, 1.0)
) -> Generator:
    """A network that makes images as a generator of this project.

    Args:
        network: a :class:`Generator`, which is returned as it is, or any network of z.
        z_dim: width of z; None for the network's own ``z_dim``, ``latent_dim`` or ``nz``.
        pixel_range: that the images nominally have.

    Raises:
        RosettaError: the width of z cannot be told, or what it makes are no images.
    """
    if isinstance(network, Generator):
        return network.eval().requires_grad_(False)
    own = (getattr(network, name, None) for name in ("z_dim", "latent_dim", "nz"))
    width = z_dim or next((value for value in own if isinstance(value, int)), None)
    if width is None:
        raise RosettaError(
            f"{type(network).__name__}: how wide its latent z is cannot be told.\n"
            "Pass generator=rl.as_generator(network, z_dim=...)."
        )
    return ObjectGenerator(network, width, pixel_range)


def as_model(
    name: str,
    network: nn.Module,
    layers: Iterable[str] | None = None,
    preprocess: Preprocess | None = None,
    resolution: int | None = None,
) -> DiscriminativeModel:
    """A network that looks at images as a discriminative model of this project.

    Args:
        name: what messages call it.
        network: a :class:`DiscriminativeModel`, which is returned as it is, or any network of
            images (N, 3, H, W).
        layers: globs over module names; None for :func:`default_layers`.
        preprocess: how it wants its images; None for what timm's or open_clip's config of it says.
            A network that has none is shown images as they are, in [0, 1], and that is said.
        resolution: height and width in pixels of these.

    Raises:
        RosettaError: a glob matches nothing, or no layer puts out maps.
    """
    if isinstance(network, DiscriminativeModel):
        return network.eval().requires_grad_(False)
    if preprocess is None:
        preprocess = _own_preprocess(network)
    if preprocess is None:
        side = resolution or 224
        log.warning(
            "%s says nothing of its preprocessing: it is shown images as they are, in [0, 1], of "
            "%d px.\nrl.as_model(name, network, preprocess=...) says how else.", name, side,
        )  # fmt: skip
        preprocess = Preprocess((side, side))
    like = next(network.parameters(), torch.zeros(()))
    images = torch.zeros(1, 3, *preprocess.size, device=like.device)
    if layers is None:
        layers = default_layers(network.eval(), lambda: network(images), name)
    model = DiscriminativeModel(network, preprocess, layers, OBJECT, state_hash(network))
    resolve_layers(network, model.layers, name)
    return model


def _own_preprocess(network: nn.Module) -> Preprocess | None:
    known = getattr(network, "pretrained_cfg", None)
    if isinstance(known, Mapping) and {"input_size", "mean", "std"} <= known.keys():
        return Preprocess.from_timm(known)
    known = getattr(getattr(network, "visual", network), "preprocess_cfg", None)
    if isinstance(known, Mapping) and {"size", "mean", "std"} <= known.keys():
        return Preprocess.from_open_clip(known)
    return None


@torch.no_grad()
def default_layers(network: nn.Module, run: Callable[[], object], name: str) -> list[str]:
    """The paper's kind of layers of a network that nothing is known of.

    ``blocks.*.mlp.act`` of a vision transformer; else, for every size of maps, the last module that
    puts out maps of this size, as the stages of a ResNet are, but no images of three channels.

    Args:
        network: any.
        run: runs it.
        name: what messages call it.

    Raises:
        RosettaError: no module puts out maps.
    """
    try:
        return resolve_layers(network, [TRANSFORMER], name)
    except RosettaError:
        pass
    sizes: dict[str, tuple[int, ...]] = {}
    twice: set[str] = set()

    def note(layer: str, output: Any) -> None:
        twice.update([layer] if layer in sizes else [])
        sizes.pop(layer, None)  # its place is that of its last call
        maps = isinstance(output, Tensor) and output.dim() == 4 and output.shape[1] > 3
        sizes[layer] = tuple(output.shape[2:]) if maps else ()

    hooks = [
        module.register_forward_hook(lambda _, __, output, layer=layer: note(layer, output))
        for layer, module in network.named_modules()
        if layer
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    last = {
        size: layer
        for layer, size in sizes.items()
        if size and max(size) > 1 and layer not in twice
    }
    if not last:
        raise RosettaError(
            f"{name}: no module puts out maps (N, C, H, W).\n"
            f"Name layers: layers={{'{name}': [...]}}."
        )
    return sorted(last.values(), key=list(sizes).index)


@dataclass(kw_only=True)
class HeldModels(MinedModels):
    """A mining run of models that are at hand.

    Attributes:
        held: the discriminative models by name.
    """

    held: Mapping[str, DiscriminativeModel]

    def models(self, names: Iterable[str]) -> dict[str, DiscriminativeModel]:
        """See :class:`MinedModels`.

        Raises:
            RosettaError: there is no such model.
        """
        unknown = [name for name in names if name not in self.held]
        if unknown:
            raise RosettaError(
                f"{unknown[0]}: this model is not at hand.\n"
                "Pass it: rl.load(folder, models={NAME: network})."
            )
        return {name: self.held[name].to(self.device) for name in names}


@dataclass(kw_only=True)
class Held(HeldModels, Mined):
    """The same with a generator."""

    def classifier(
        self, name: str | None, loaded: Mapping[str, DiscriminativeModel] | None = None
    ) -> DiscriminativeModel | None:
        """See :class:`Mined`."""
        classes = self.generator.num_classes
        names: Sequence[str] = list(self.held) if name is None else [name]
        fitting = (n for n in names if classes and self.held[n].num_classes == classes)
        return next((self.held[n] for n in fitting), None)


def held(
    record: RosettaDictionary,
    folder: Path,
    models: Mapping[str, nn.Module],
    generator: Generator | None,
    device: torch.device,
) -> HeldModels:
    """A dictionary with models that are at hand, the generator among them or not."""
    gen = record.config.get("gen") or {}
    config = OmegaConf.create(
        {
            "gen": {"latent": gen.get("latent", {"distribution": "normal"})},
            "disc": {},
            "seed": record.seed,
            "psi": record.config.get("psi") or 1.0,
            "classes": record.config.get("classes"),
        }
    )
    found: dict[str, Any] = {"dictionary": record, "folder": folder, "config": config}
    found |= {"device": device, "held": models}
    return HeldModels(**found) if generator is None else Held(**found, generator=generator)
