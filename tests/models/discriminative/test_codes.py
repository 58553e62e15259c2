"""Codes of a layer as units: by hand, against scipy's NNLS, in every layout; wrong files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import nnls
from torch import Tensor, nn
from toy import ToyModel

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.codes import (
    AlongUnits,
    CodedModel,
    Encoder,
    NotNegative,
)
from rosetta_lab.models.discriminative.timm import TimmModel


def noise(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file({"weight": noise(8, 5), "bias": noise(8, seed=1)}, tmp_path / "codes.safetensors")
    return tmp_path / "codes.safetensors"


def test_codes_of_an_encoder_by_hand() -> None:
    weight, bias, x = noise(9, 4), noise(9, seed=1), noise(5, 6, 4, seed=2)
    expected = np.maximum(x.numpy() @ weight.numpy().T + bias.numpy(), 0.0)
    assert np.allclose(Encoder(weight, bias)(x).detach(), expected, atol=1e-5)
    kept = Encoder(weight, bias, top_k=3)(x).detach().numpy()
    order = np.argsort(-expected, axis=-1)
    for place in np.ndindex(5, 6):
        largest = order[place][:3]
        assert np.allclose(kept[place][largest], expected[place][largest], atol=1e-5)
        assert np.count_nonzero(kept[place]) <= 3


def test_codes_that_are_not_negative_are_those_of_scipy() -> None:
    dictionary, x = noise(4, 12).abs(), noise(8, 12, seed=1).abs()
    found = NotNegative(dictionary)(x).detach()
    for row, codes in zip(x, found, strict=True):
        expected, _ = nnls(dictionary.t().double().numpy(), row.double().numpy())
        assert np.allclose(codes, expected, atol=1e-3)
    assert bool((found == 0).any())  # where the bound holds


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 5, 3, 5), 1), ((2, 5, 4, 5), 3), ((2, 7, 5), 2), ((2, 5, 5), 2)]
)
def test_codes_stay_in_the_layout(shape: tuple[int, ...], axis: int) -> None:
    x, codes = noise(*shape), AlongUnits(Encoder(noise(6, 5), noise(6)), axis)
    found = codes(x)
    assert found.shape == tuple(6 if a == axis else size for a, size in enumerate(shape))
    expected = codes.codes(x.movedim(axis, -1)).movedim(-1, axis)
    assert torch.equal(found, expected)


def test_a_layer_of_other_units(file: Path) -> None:
    with pytest.raises(RosettaError, match=r"codes of 5 units, and copy has 3.\nChoose the layer"):
        CodedModel(ToyModel(), "copy", str(file))


def test_a_models_maps_are_the_codes_of_its_layer(file: Path) -> None:
    plain, images = ToyModel(), torch.rand(3, 3, 8, 8)
    model = CodedModel(ToyModel(), "mix", str(file))
    before = plain.maps(images, ["mix"])["mix"]  # (3, 5, h, w)
    expected = torch.einsum("uc,nchw->nuhw", noise(8, 5), before) + noise(8, seed=1)[:, None, None]
    found = model.maps(images, ["mix.codes", "mix.layer"])
    assert model.layers == ("mix.codes",)
    assert torch.allclose(found["mix.codes"], expected.relu(), atol=1e-5)
    assert torch.equal(found["mix.layer"], before)
    assert torch.equal(model(images), plain(images))
    assert len(model.sha256) == 64 and str(file.name) in model.source


def test_tokens_of_a_transformer(tmp_path: Path) -> None:
    """Codes of tokens are folded like tokens; class tokens are dropped."""
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2}
    size = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    made = TimmModel("vit_tiny_patch16_224", "random", ["blocks.1"], size, options)
    images = torch.rand(2, 3, 32, 32)
    before = made.maps(images, ["blocks.1"])["blocks.1"]  # (2, 12, 4, 4)
    save_file({"dictionary": noise(3, 12).abs()}, tmp_path / "parts.safetensors")
    model = CodedModel(made, "blocks.1", str(tmp_path / "parts.safetensors"))
    found = model.maps(images, ["blocks.1.codes"])["blocks.1.codes"]
    expected = NotNegative(noise(3, 12).abs())(before.movedim(1, -1)).movedim(-1, 1)
    assert found.shape == (2, 3, 4, 4)
    assert torch.allclose(found, expected, atol=1e-4)


def test_random_directions_are_a_control() -> None:
    torch.manual_seed(0)
    model = CodedModel(ToyModel(), "mix", "random", top_k=2)
    maps = model.maps(torch.rand(2, 3, 8, 8), ["mix.codes"])["mix.codes"]
    assert maps.shape[:2] == (2, 20) and int((maps > 0).sum(dim=1).max()) <= 2
    fewer = CodedModel(ToyModel(), "mix", "random", units=7)
    assert fewer.maps(torch.rand(2, 3, 8, 8), ["mix.codes"])["mix.codes"].shape[1] == 7


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": noise(8, 5)},
        {"weight": noise(8, 5), "bias": noise(7)},
        {"weight": noise(8, 5), "bias": noise(8) / 0.0},
        {"dictionary": noise(8)},
        {"dictionary": torch.ones(8, 5, dtype=torch.int64)},
    ],
)
def test_files_that_are_none(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "codes.safetensors")
    with pytest.raises(RosettaError, match=r"expected weight \(U, C\).*\n.*under these names"):
        CodedModel(ToyModel(), "mix", str(tmp_path / "codes.safetensors"))


def test_a_layer_that_is_not_there(file: Path) -> None:
    for layer in ("nothing", "mix.7", "mix.0.weight"):
        with pytest.raises(RosettaError, match=f"layer={layer}: the network has no such layer"):
            CodedModel(ToyModel(), layer, str(file))
    assert isinstance(ToyModel().network.mix, nn.Sequential)
