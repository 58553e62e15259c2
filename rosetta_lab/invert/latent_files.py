"""Latents in safetensors files, and what tells for which generator and space they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rosetta_lab.errors import RosettaError, check_choice, printable
from rosetta_lab.files import load_tensors
from rosetta_lab.invert.latent_code import SPACES, Space, mapped_shape
from rosetta_lab.models.base import Generator

RESULTS, LATENT = "results", "latent.safetensors"  # RUN/results/ID/latent.safetensors
_SPACE, _GENERATOR = "space", "generator"
_LATENT, _CLASSES = _READ = "latent", "class_weights"


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
    generator: Generator,
    path: Path,
    space: Space | None = None,
    key: str = "latent.file",
    unsaid: Space | None = None,
) -> StoredLatents:
    """Latents of a safetensors file, such as an inversion's.

    Args:
        generator: whose latents they should be.
        path: with ``latent`` (N, ...) and, maybe, ``class_weights`` (N, classes).
        space: of the latents; None for what the file says, or else their shape.
        key: the option that named the file, for messages.
        unsaid: their space where neither tells it.

    Raises:
        RosettaError: no such file, or it holds no latents of this generator, or does not tell of
            which space they are.
    """
    name = f"{key}={path}"
    path = path.expanduser()
    try:
        stored, notes = load_tensors(path)
    except RosettaError as error:
        raise RosettaError(f"{key}={error}") from None
    if _LATENT not in stored:
        raise RosettaError(
            f"{name}: it holds {printable(', '.join(sorted(stored))) or 'nothing'}.\n"
            "Expected a tensor 'latent', as in an inversion's latent.safetensors."
        )
    if not stored[_LATENT].is_floating_point():
        raise RosettaError(
            f"{name}: latents are no whole numbers, these are {stored[_LATENT].dtype}.\n"
            "Store them as floating-point numbers."
        )
    latent = _numbers(generator, stored[_LATENT], f"{name}: latent")
    said = notes.get(_SPACE)
    if space and said and space != said:
        raise RosettaError(
            f"{name}: space={space}, but these are latents of {printable(said)}.\n"
            "Leave space= out, or choose another file."
        )
    found = _space_of(generator, latent, space or said, unsaid, name)
    if (theirs := notes.get(_GENERATOR)) and theirs != (generator.sha256 or theirs):
        raise RosettaError(
            f"{name}: these latents are for a generator with other weights.\n"
            "Choose the dictionary= of the generator that they are for."
        )
    c = stored.get(_CLASSES)
    return StoredLatents(
        latent, None if c is None else _class_weights(generator, c, len(latent), name), found
    )


def _numbers(generator: Generator, stored: Tensor, name: str) -> Tensor:
    """A tensor of a file in the generator's precision."""
    like = next(generator.parameters())
    found = stored.to(like)
    if not found.isfinite().all():
        raise RosettaError(
            f"{name}: not all of it are finite numbers.\nName a file with latents that are."
        )
    return found


def _class_weights(generator: Generator, stored: Tensor, count: int, name: str) -> Tensor:
    """Class weights of a file, after checking that there are as many as latents and classes."""
    weights = _numbers(generator, stored, f"{name}: class_weights")
    expected = (count, generator.num_classes)
    if tuple(weights.shape) != expected:
        raise RosettaError(
            f"{name}: class_weights are {tuple(weights.shape)}, expected {expected} for "
            "its latents and this generator's classes.\nChoose the dictionary= of their generator."
        )
    if bool((weights < 0).any()) or not bool((weights.sum(dim=1) > 0).all()):
        raise RosettaError(
            f"{name}: class_weights are negative, or all 0 for an image.\n"
            "Expected weights of at least 0, such as a 1 for one class."
        )
    return weights


def shape_in(generator: Generator, space: Space) -> tuple[int, ...]:
    """Shape of the latent of one image in a space."""
    if space == "z":
        return (generator.z_dim,)
    mapped = tuple(mapped_shape(generator))
    return mapped if space == "w+" else mapped[-1:]


def _space_of(
    generator: Generator, latent: Tensor, said: str | None, unsaid: Space | None, name: str
) -> Space:
    """The space of latents, after checking that they have its shape.

    Raises:
        RosettaError: they have not, or could be of several spaces.
    """
    shapes = {space: shape_in(generator, space) for space in SPACES}
    if said is not None:
        check_choice("space", said, SPACES)
    fitting = [
        space
        for space, shape in shapes.items()
        if latent.shape[1:] == shape and len(latent) and said in (None, space)
    ]
    if not fitting:
        asked = {space: shape for space, shape in shapes.items() if said in (None, space)}
        listed = " or ".join(f"(N, {', '.join(map(str, s))}) for {k}" for k, s in asked.items())
        raise RosettaError(
            f"{name}: its latents are {tuple(latent.shape)}, this generator's are {listed}.\n"
            "Choose their space=, or the dictionary= of the generator that they are for."
        )
    if said is None and unsaid in fitting:
        return unsaid
    different = [s for s in fitting if s != "w+" or shapes["w+"] != shapes["w"]]
    if said is None and (len(different) > 1 or tuple(latent.shape) == shapes["w+"]):
        raise RosettaError(
            f"{name}: latents {tuple(latent.shape)} could be of several spaces of this generator.\n"
            f"Say space={' or space='.join(different)}; one latent of w+ is (1, slots, width)."
        )
    return fitting[0]
