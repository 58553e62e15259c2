"""Compares a generator with everything that a golden file recorded of the reference's."""

from __future__ import annotations

import re
from typing import Any, Protocol

import torch
from torch import Tensor

from rosetta_lab.models.base import Generator

TOLERANCE = 1e-4  # of the standard deviation of what is expected


class Recorded(Protocol):
    """Tensors and metadata of a golden file."""

    tensors: dict[str, Tensor]

    def json(self, key: str) -> Any: ...


def deviation(got: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the standard deviation of what is expected."""
    assert got.shape == expected.shape
    return float((got.cpu() - expected).abs().max() / expected.std())


def inputs(generator: Generator, golden: Recorded) -> tuple[Tensor, Tensor | None]:
    """The recorded z and c, on the generator's device."""
    device = next(generator.parameters()).device
    c = golden.tensors.get("in/c")
    return golden.tensors["in/z"].to(device), None if c is None else c.to(device)


def arguments(golden: Recorded, key: str) -> dict[str, Any]:
    """Truncation arguments behind an output such as ``image_psi07_cutoff``; psi is 1 if unnamed."""
    digits = re.search(r"_psi(\d)(\d*)", key)
    found: dict[str, Any] = {"psi": float(f"{digits[1]}.{digits[2]}") if digits else 1.0}
    if key.endswith("_cutoff"):
        found["cutoff"] = golden.json("run")["truncation_cutoff"]
    return found


@torch.no_grad()
def check_outputs(generator: Generator, golden: Recorded) -> None:
    """Every latent and every image, at every psi and cutoff, with noise and without."""
    z, c = inputs(generator, golden)
    names = [name for name in golden.tensors if name.startswith("out/")]
    assert len(names) >= 3
    for name in names:
        key = name.removeprefix("out/")
        if key.startswith("w"):
            got = generator.map(z, c, **arguments(golden, key))
        elif key.endswith("_nonoise"):
            got = generator.synthesis(generator.map(z, c), "none")
        else:
            got = generator(z, c, **arguments(golden, key))
        assert deviation(got, golden.tensors[name]) <= TOLERANCE, name


@torch.no_grad()
def layer_outputs(generator: Generator, golden: Recorded) -> dict[str, Tensor]:
    """What every module puts out at psi 1, in the order in which they run.

    A block of StyleGAN2 stands for the image so far.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor | tuple[Tensor, Tensor]) -> None:
        outputs[name] = output if isinstance(output, Tensor) else output[1]

    handles = [
        module.register_forward_hook(lambda _m, _x, output, name=name: keep(name, output))
        for name, module in generator.named_modules()
    ]
    generator(*inputs(generator, golden))
    for handle in handles:
        handle.remove()
    return outputs


def check_layers(outputs: dict[str, Tensor], golden: Recorded) -> None:
    """Every recorded layer, in the reference's order, and StyleGAN2's images on the way.

    Args:
        outputs: by the reference's names, as :func:`layer_outputs` gives them.
        golden: what to compare with.
    """
    order = golden.json("act_order")
    assert [name for name in outputs if name in set(order)] == order
    expected = {name: golden.tensors[f"act/{name}"] for name in order}
    assert len(expected) == sum(name.startswith("act/") for name in golden.tensors)
    for name, tensor in golden.tensors.items():
        if name.startswith("extra/"):
            expected[name.removeprefix("extra/").removesuffix(".img")] = tensor
    for name, tensor in expected.items():
        assert deviation(outputs[name], tensor) <= TOLERANCE, name
