"""Latents in safetensors files, and what tells for which generator and space they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.invert.latent_code import SPACES, Space, mapped_shape
from rosetta_lab.models.base import Generator

RESULTS, LATENT = "results", "latent.safetensors"  # RUN/results/ID/latent.safetensors
_SPACE, _GENERATOR = "space", "generator"


@dataclass
class StoredLatents:
    """Latents of a file: (N, ...) in a space; class weights (N, classes) where it has some."""

    latent: Tensor
    class_weights: Tensor | None
    space: Space


def metadata(generator: Generator, space: Space) -> dict[str, str]:
    """What to write beside latents, so that nobody takes them for others of the same shape."""
    return {_SPACE: space, _GENERATOR: generator.sha256 or ""}


def read_latents(
    generator: Generator, path: Path, space: Space | None = None, key: str = "latent.file"
) -> StoredLatents:
    """Latents of a safetensors file, such as an inversion's.

    Args:
        generator: whose latents they should be.
        path: with ``latent`` (N, ...) and, maybe, ``class_weights`` (N, classes).
        space: of the latents; None for what the file says, or else their shape.
        key: the option that named the file, for messages.

    Raises:
        RosettaError: no such file, or it holds no latents of this generator.
    """
    try:
        with safe_open(path, "pt") as file:
            notes, names = file.metadata() or {}, sorted(file.keys())
            stored = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise RosettaError(
            f"{key}={path}: cannot be read ({error}).\nName a safetensors file of latents."
        ) from None
    if "latent" not in stored:
        raise RosettaError(
            f"{key}={path}: it holds {', '.join(names) or 'nothing'}.\n"
            "Expected a tensor 'latent', as in an inversion's latent.safetensors."
        )
    like = next(generator.parameters())
    latent = stored["latent"].to(like)
    c = stored["class_weights"].to(like) if "class_weights" in stored else None
    found = space or notes.get(_SPACE) or _space_of(latent, generator)
    check_choice("space", found, SPACES)
    checked = cast(Space, found)
    expected = shape_in(generator, checked)
    if latent.shape[1:] != expected:
        raise RosettaError(
            f"{key}={path}: latents of {checked} are {expected} for this generator, "
            f"these are {tuple(latent.shape[1:])}.\n"
            "Choose their space= or the dictionary= of the generator that they are for."
        )
    if (theirs := notes.get(_GENERATOR)) and theirs != (generator.sha256 or theirs):
        raise RosettaError(
            f"{key}={path}: these latents are for a generator with other weights.\n"
            "Choose the dictionary= of the generator that they are for."
        )
    return StoredLatents(latent, c, checked)


def shape_in(generator: Generator, space: Space) -> tuple[int, ...]:
    """Shape of the latent of one image in a space."""
    if space == "z":
        return (generator.z_dim,)
    mapped = tuple(mapped_shape(generator))
    return mapped if space == "w+" else mapped[-1:]


def _space_of(latent: Tensor, generator: Generator) -> Space:
    if latent.dim() == 3:
        return "w+"
    return "z" if latent.shape[1:] == (generator.z_dim,) else "w"
