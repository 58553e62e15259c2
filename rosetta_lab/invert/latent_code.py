"""Latents to optimise: their space, where they start, and how they become a generator's input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from rosetta_lab.data.latents import sample_z
from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.models.base import Generator
from rosetta_lab.models.recording import Kept, OnMap


def check_class(key: str, label: object, classes: int, *words: str) -> None:
    """Raise a RosettaError unless a label is the number of a class."""
    if not classes:
        raise RosettaError(f"{key}={label}, but the generator has no classes.\nLeave {key} out.")
    if not str(label).isdecimal() or int(str(label)) >= classes:
        raise RosettaError(
            f"{key}={label}: expected 0 to {classes - 1}, the name of a class where the dictionary "
            f"knows it, or {' or '.join(words)}."
        )


Space = Literal["z", "w", "w+"]
SPACES: tuple[Space, ...] = ("z", "w", "w+")
MEAN_SAMPLES = 10_000  # behind a mean latent, as StyleGAN2's projector takes them
REST = 0.05  # of the weight, that all classes share when one is optimised: none starts at 0
_CHUNK = 1_000  # samples that are mapped at a time
_COVERED = 0.999  # of the probability: the classes that a mean latent is made of have so much


class LatentCode(nn.Module):
    """The latents of a batch of images, as parameters.

    Args:
        generator: fixed.
        space: ``z``; ``w``, one vector for all slots of the synthesis network; ``w+``, one vector
            for each slot. A family without slots has the same w and w+.
        value: where to start: (N, z_dim) for z, else what :meth:`Generator.map` puts out, with or
            without its dimension of slots.
        c: class weights (N, classes); z of a class-conditional generator needs them.
        psi: truncation: of the mapping for z, and of families that want it for the synthesis too.
        optimize_class: make the class weights a softmax of parameters as well, which starts at 0.95
            of ``c``, however many classes there are.

    Attributes:
        value: the latents, a parameter (N, D) or (N, slots, D).
        anchor: where they started, or what :attr:`anchor` was set to: the regulariser's origin.

    Raises:
        RosettaError: there is no such space, or no class in it that could be optimised.
    """

    anchor: Tensor
    c: Tensor | None

    def __init__(
        self,
        generator: Generator,
        space: Space,
        value: Tensor,
        c: Tensor | None = None,
        psi: float = 1.0,
        optimize_class: bool = False,
    ) -> None:
        super().__init__()
        check_choice("space", space, SPACES)
        if space == "w" and value.dim() == 3:
            value = value.mean(dim=1)
        self.space: Space = space
        self.psi = psi
        self.value = nn.Parameter(value.detach().clone())
        self.register_buffer("anchor", value.detach().clone())
        self.register_buffer("c", c)
        self.class_logits: nn.Parameter | None = None
        if optimize_class:
            check_class_optimizable(generator, space)
            assert c is not None
            given = c / c.sum(dim=1, keepdim=True)
            self.class_logits = nn.Parameter(
                given.lerp(torch.ones_like(c) / c.shape[1], REST).log()
            )
        self._generator = [generator]  # in a list: the generator is not a part of the code

    def __len__(self) -> int:
        return len(self.value)

    @property
    def generator(self) -> Generator:
        """The network that the latents are for."""
        return self._generator[0]

    @property
    def class_weights(self) -> Tensor | None:
        """Class weights (N, classes), as they are now."""
        return self.c if self.class_logits is None else self.class_logits.softmax(dim=1)

    def forward(self) -> Tensor:
        """What :meth:`Generator.synthesize` takes."""
        if self.space == "z":
            return self.generator.map(self.value, self.class_weights, self.psi)
        if self.space == "w":
            return spread_over_slots(self.value, slots(self.generator))
        return self.value

    def images(self) -> Tensor:
        """Images (N, 3, R, R) with 0 for black and 1 for white, not clamped."""
        return self.generator.shown(self.generator.synthesize(self(), self.psi))

    def maps(self, layers: Sequence[str], on_map: OnMap[Kept] | None = None) -> dict[str, Kept]:
        """What the generator's layers do, see :meth:`Generator.maps`."""
        return self.generator.maps(self(), layers, on_map, self.psi)

    def images_and_maps(
        self, layers: Sequence[str], on_map: OnMap[Kept] | None = None
    ) -> tuple[Tensor, dict[str, Kept]]:
        """:meth:`images` and :meth:`maps`, from one pass."""
        output, maps = self.generator.output_and_maps(self(), layers, on_map, self.psi)
        return self.generator.shown(output), maps


def check_class_optimizable(generator: Generator, space: Space) -> None:
    """Raise a RosettaError unless the class is an input beside latents of this space."""
    if space != "z" or not generator.num_classes:
        why = "the generator has no classes" if space == "z" else f"{space} holds the class already"
        raise RosettaError(
            f"optimize_class=true, but {why}.\n"
            "Choose space=z and a class-conditional generator, or optimize_class=false."
        )


def slots(generator: Generator) -> int | None:
    """How many vectors the synthesis network takes; None for a family without slots."""
    mapped = mapped_shape(generator)
    return mapped[0] if len(mapped) == 2 else None


def default_start(generator: Generator, space: Space) -> str:
    """Where a search begins unless told otherwise: at the ``mean`` of the prior, or ``random``.

    Where w is z, or in z where only its direction counts, the mean is 0: no image is there, and
    perhaps no gradient.
    """
    z = random_z(generator, ["w"], 0)
    nowhere = torch.equal(_mapped(generator, z), z) or (space == "z" and generator.z_direction_only)
    return "random" if nowhere else "mean"


def mapped_shape(generator: Generator) -> torch.Size:
    """Shape of what the mapping puts out for one image: (slots, D), or (D,) without slots."""
    parameter = next(generator.parameters())
    z = torch.zeros(1, generator.z_dim, device=parameter.device, dtype=parameter.dtype)
    return _mapped(generator, z).shape[1:]


@torch.no_grad()
def _mapped(generator: Generator, z: Tensor) -> Tensor:
    """w of z (1, z_dim), of the first class where there are some."""
    c = None
    if generator.num_classes:
        c = z.new_zeros(1, generator.num_classes)
        c[:, 0] = 1.0
    return generator.map(z, c)


def spread_over_slots(w: Tensor, count: int | None) -> Tensor:
    """Vectors (N, D) to (N, slots, D), the same for each slot; as they are without slots."""
    return w if count is None else w[:, None].expand(-1, count, -1)


def seed_of(seed: int, name: str) -> int:
    """A seed for one image, from its name: the same in every batch, order and process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:6], "big")


def random_z(generator: Generator, names: list[str], seed: int, **distribution: object) -> Tensor:
    """A random z for each image (N, z_dim), see :func:`rosetta_lab.data.latents.sample_z`."""
    z = [sample_z(seed_of(seed, name), 0, generator.z_dim, **distribution) for name in names]  # type: ignore[arg-type]
    return torch.stack(z).to(next(generator.parameters()))


class MeanLatents:
    """Means over many samples of what a generator's mapping puts out, by class.

    Args:
        generator: whose mapping.
        samples: behind every mean.
        psi: truncation of the mapping.
        seed: of the samples.
        distribution: of z, see :func:`rosetta_lab.data.latents.sample_z`.
    """

    def __init__(
        self,
        generator: Generator,
        samples: int = MEAN_SAMPLES,
        psi: float = 1.0,
        seed: int = 0,
        **distribution: object,
    ) -> None:
        self.generator, self.samples, self.psi, self.seed = generator, samples, psi, seed
        self.distribution = distribution
        self._means: dict[int | None, Tensor] = {}

    @cached_property
    def z(self) -> Tensor:
        """The samples (samples, z_dim), the same for every class."""
        names = [str(i) for i in range(self.samples)]
        return random_z(self.generator, names, self.seed, **self.distribution)

    @torch.no_grad()
    def of_class(self, label: int | None) -> Tensor:
        """Mean of one class, or of an unconditional generator: (D,)."""
        if label not in self._means:
            total = torch.zeros((), dtype=torch.float64, device=self.z.device)
            for z in self.z.split(_CHUNK):
                c = None
                if label is not None:
                    c = z.new_zeros(len(z), self.generator.num_classes)
                    c[:, label] = 1.0
                latent = self.generator.map(z, c, self.psi)
                latent = latent[:, 0] if latent.dim() == 3 else latent
                total = total + latent.double().sum(dim=0)
            self._means[label] = (total / self.samples).to(self.z)
        return self._means[label]

    def weighted(self, c: Tensor | None, count: int) -> Tensor:
        """Mean latents for ``count`` images, weighted by class weights c (N, classes): (N, D).

        Of every image's classes, the most likely that have 99.9 % of the weight together count.
        """
        if c is None:
            return self.of_class(None).expand(count, -1)
        return torch.stack([self._mix(row) for row in c])

    def in_space(self, space: Space, c: Tensor | None, count: int) -> Tensor:
        """What latents are held near: the mean of their prior, in a space.

        Returns:
            zeros (N, z_dim) for z, (N, D) for w, (N, slots, D) for w+.
        """
        if space == "z":
            return next(self.generator.parameters()).new_zeros(count, self.generator.z_dim)
        w = self.weighted(c, count)
        return spread_over_slots(w, slots(self.generator)) if space == "w+" else w

    def _mix(self, row: Tensor) -> Tensor:
        weights, labels = row.sort(descending=True)
        before = weights.cumsum(dim=0) - weights  # what the more likely classes have
        count = int((before < _COVERED * row.sum()).sum())
        means = torch.stack([self.of_class(label) for label in labels[:count].tolist()])
        return (weights[:count] / weights[:count].sum()) @ means
