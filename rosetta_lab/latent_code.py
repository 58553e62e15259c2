"""Latents to optimise: their space, where they start, and how they become a generator's input."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor, nn

from rosetta_lab.data.latents import sample_z
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator

Space = Literal["z", "w", "w+"]
SPACES: tuple[Space, ...] = ("z", "w", "w+")
MEAN_SAMPLES = 10_000  # behind a mean latent, as StyleGAN2's projector takes them
_CHUNK = 1_000
_NEGLIGIBLE = 1e-3  # probability below which a class does not count for a mean latent


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
        optimize_class: make the class weights a softmax of parameters as well (z only).

    Attributes:
        value: the latents, a parameter (N, D) or (N, slots, D).
        anchor: where they started, or what :attr:`anchor` was set to: the regulariser's origin.
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
        if space not in SPACES:
            raise RosettaError(f"space={space}: expected one of {', '.join(SPACES)}.")
        if space == "w" and value.dim() == 3:
            value = value.mean(dim=1)
        self.space: Space = space
        self.psi = psi
        self.value = nn.Parameter(value.detach().clone())
        self.register_buffer("anchor", value.detach().clone())
        self.register_buffer("c", c)
        self.class_logits: nn.Parameter | None = None
        if optimize_class and c is not None and space == "z":
            self.class_logits = nn.Parameter((c + 1e-2).log())
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
        low, high = self.generator.pixel_range
        return (self.generator.synthesize(self(), self.psi) - low) / (high - low)


def slots(generator: Generator) -> int | None:
    """How many vectors the synthesis network takes; None for a family without slots."""
    parameter = next(generator.parameters())
    z = torch.zeros(1, generator.z_dim, device=parameter.device, dtype=parameter.dtype)
    c = None
    if generator.num_classes:
        c = z.new_zeros(1, generator.num_classes)
        c[:, 0] = 1.0
    with torch.no_grad():
        latent = generator.map(z, c)
    return latent.shape[1] if latent.dim() == 3 else None


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

    @torch.no_grad()
    def of_class(self, label: int | None) -> Tensor:
        """Mean of one class, or of an unconditional generator: (D,)."""
        if label not in self._means:
            generator = self.generator
            total: Tensor | None = None
            for start in range(0, self.samples, _CHUNK):
                count = min(_CHUNK, self.samples - start)
                names = [str(i) for i in range(start, start + count)]
                z = random_z(generator, names, self.seed, **self.distribution)
                c = None
                if label is not None:
                    c = z.new_zeros(count, generator.num_classes)
                    c[:, label] = 1.0
                latent = generator.map(z, c, self.psi)
                latent = latent[:, 0] if latent.dim() == 3 else latent
                part = latent.double().sum(dim=0)
                total = part if total is None else total + part
            assert total is not None
            self._means[label] = (total / self.samples).to(next(generator.parameters()))
        return self._means[label]

    def weighted(self, c: Tensor | None, count: int) -> Tensor:
        """Mean latents for ``count`` images, weighted by class weights c (N, classes): (N, D)."""
        if c is None:
            return self.of_class(None).expand(count, -1)
        return torch.stack([self._mix(row) for row in c])

    def in_space(self, space: Space, c: Tensor | None, count: int) -> Tensor:
        """What a latent that nothing is known of is held near: the prior's mean in a space.

        Returns:
            zeros (N, z_dim) for z, (N, D) for w, (N, slots, D) for w+.
        """
        if space == "z":
            return next(self.generator.parameters()).new_zeros(count, self.generator.z_dim)
        w = self.weighted(c, count)
        return spread_over_slots(w, slots(self.generator)) if space == "w+" else w

    def _mix(self, row: Tensor) -> Tensor:
        likely = (row >= _NEGLIGIBLE).nonzero().flatten().tolist()
        weights = row[likely] / row[likely].sum()
        return weights @ torch.stack([self.of_class(label) for label in likely])
