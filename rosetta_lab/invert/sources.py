"""Latents of generated or stored images: seeds, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rosetta_lab.data.latents import sample_z
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.latent_code import Space, check_class
from rosetta_lab.invert.latent_files import read_latents
from rosetta_lab.models.base import Generator


@dataclass
class Sources:
    """Images to edit, as latents.

    Attributes:
        ids: names, which also seed random starts.
        latent: in the space of the edit: (N, z_dim), (N, D) or (N, slots, D).
        c: class weights (N, classes), None for an unconditional generator.
        pictures: what they were inverted from (N, 3, R, R) in [0, 1]; None for generated images.
    """

    ids: list[str]
    latent: Tensor
    c: Tensor | None
    pictures: Tensor | None = None

    def first(self, images: int) -> Sources:
        """The first so many of them."""
        c, pictures = (None if x is None else x[:images] for x in (self.c, self.pictures))
        return Sources(self.ids[:images], self.latent[:images], c, pictures)

    def parts(self, size: int) -> list[Sources]:
        """All of them in batches of so many."""
        spans = [slice(start, start + size) for start in range(0, len(self.ids), size)]
        c, pictures = self.c, self.pictures
        return [
            Sources(
                self.ids[s],
                self.latent[s],
                None if c is None else c[s],
                None if pictures is None else pictures[s],
            )
            for s in spans
        ]


@torch.no_grad()
def in_space(
    generator: Generator, space: Space, z: Tensor, c: Tensor | None, psi: float = 1.0
) -> Tensor:
    """z (N, z_dim) as a latent of a space."""
    if space == "z":
        return z
    latent = generator.map(z, c, psi)
    if space == "w" and latent.dim() == 3:
        return latent[:, 0]
    return latent


Label = int | Literal["random"] | None


def from_seeds(
    generator: Generator,
    seeds: Sequence[int],
    label: Label = None,
    space: Space = "z",
    psi: float = 1.0,
    distribution: Mapping[str, Any] | None = None,
    classes: Sequence[int] = (),
) -> Sources:
    """The first latent of every seed's stream.

    Args:
        generator: fixed.
        seeds: one for each image.
        label: class of all; None: ``classes`` in turn, ``random``: any of them, by the seed.
        space: of the latents.
        psi: truncation while mapping z.
        distribution: of z, see :func:`rosetta_lab.data.latents.sample_z`.
        classes: to choose from; none for all.

    Raises:
        RosettaError: there is no such class.
    """
    like = next(generator.parameters())
    z = torch.stack([sample_z(s, 0, generator.z_dim, **(distribution or {})) for s in seeds])
    c, count = None, generator.num_classes
    if count:
        some = classes or range(count)
        if label == "random":
            labels = [some[int(sample_z(s, 1, 1)[0].abs() * 1e6) % len(some)] for s in seeds]
        else:
            if label is not None:
                check_class("latent.label", label, count, "random")
            labels = [some[s % len(some)] if label is None else int(label) for s in seeds]
        c = one_hot(torch.tensor(labels), count).to(like)
    names = [f"seed_{seed}" for seed in seeds]
    return Sources(names, in_space(generator, space, z.to(like), c, psi), c)


def from_file(
    generator: Generator, path: Path, space: Space | None = None
) -> tuple[Sources, Space]:
    """Latents of a safetensors file, such as an inversion's.

    Args:
        generator: fixed.
        path: see :func:`rosetta_lab.invert.latent_files.read_latents`; z of a class-conditional
            generator needs ``class_weights``.
        space: of the latents; None for what the file says.

    Raises:
        RosettaError: no such file, or it holds no latents of this generator.
    """
    stored = read_latents(generator, path, space)
    if stored.class_weights is None and stored.space == "z" and generator.num_classes:
        raise RosettaError(
            f"latent.file={path}: z of a class-conditional generator needs its class.\n"
            f"Add a tensor 'class_weights' (N, {generator.num_classes})."
        )
    count = len(stored.latent)
    names = [f"latent_{i}" for i in range(count)]
    if count == 1:
        names = [path.expanduser().resolve().parent.name or path.stem]
    return Sources(names, stored.latent, stored.class_weights), stored.space


def reference(generator: Generator, count: int, space: Space, **prior: Any) -> Sources:
    """Random latents of all classes, in a space: they show what units do at all.

    ``prior`` are ``psi``, ``distribution`` and ``classes`` of :func:`from_seeds`.
    """
    return from_seeds(generator, range(10_000, 10_000 + count), None, space, **prior)
