"""Where inversions and edits begin: seeds, and files of latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_generator import generator  # noqa: F401  a fixture
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.sources import from_file, from_seeds, in_space

# The fixtures of the toy generator are imported by name.
# ruff: noqa: F811


def test_seeds_have_names_classes_and_latents_of_their_own(generator) -> None:
    together = from_seeds(generator, [7, 4, 1007])
    assert together.ids == ["seed_7", "seed_4", "seed_1007"]
    assert together.c.argmax(dim=1).tolist() == [7 % 3, 4 % 3, 1007 % 3]
    assert torch.equal(from_seeds(generator, [4]).latent, together.latent[1:2])
    one, two = (from_seeds(generator, range(40), "random") for _ in range(2))
    assert torch.equal(one.c, two.c) and set(one.c.argmax(dim=1).tolist()) == {0, 1, 2}
    wide = from_seeds(generator, [4], 2, "w+", psi=0.5)
    assert torch.equal(wide.latent, generator.map(together.latent[1:2], wide.c, 0.5))
    assert torch.equal(in_space(generator, "w", together.latent[1:2], wide.c, 0.5),
                       wide.latent[:, 0])  # fmt: skip
    with pytest.raises(RosettaError, match="expected 0 to 2"):
        from_seeds(generator, [4], 3)


def test_files_of_latents_tell_their_space(generator, tmp_path: Path) -> None:
    path = tmp_path / "one" / "latent.safetensors"
    path.parent.mkdir()
    wide = from_seeds(generator, [0], 0, "w+").latent.shape[1:]
    for space, shape in (("z", (8,)), ("w", (12,)), ("w+", wide)):
        save_file({"latent": torch.ones(1, *shape), "class_weights": torch.eye(3)[:1]}, path)
        sources, found = from_file(generator, path)
        assert (found, sources.ids) == (space, ["one"])
        assert sources.latent.dtype == torch.float64
    save_file({"latent": torch.ones(2, 12)}, path)
    assert from_file(generator, path)[0].ids == ["latent_0", "latent_1"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, "cannot be read"),
        ({}, "holds nothing"),
        ({"w": torch.ones(1)}, "it holds w"),
        (
            {"latent": torch.ones(1, 5)},
            r"are \(1, 5\), this generator's are \(N, 8\) for z or \(N, 12\)",
        ),
        ({"latent": torch.ones(1, 3, 12)}, r"\(N, 4, 12\) for w\+"),
        ({"latent": torch.ones(1, 8)}, "needs its class"),
    ],
)
def test_files_without_latents_are_refused(
    generator, tensors: dict[str, Tensor] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "latent.safetensors"
    if tensors is None:
        path.write_bytes(b"not a safetensors file")
    else:
        save_file(tensors, path)
    with pytest.raises(RosettaError, match=message):
        from_file(generator, path)
