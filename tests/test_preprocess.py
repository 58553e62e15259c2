"""Preprocessing against the libraries' own transforms."""

import dataclasses

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.preprocess import Preprocess

TIMM = (
    "resnet50.tv_in1k",
    "vit_base_patch16_224.dino",
    "vit_base_patch16_224.mae",
    "convnext_tiny.fb_in1k",
)


def photo(height: int, width: int) -> tuple[Image.Image, torch.Tensor]:
    """A smooth coloured picture with an edge, as PIL sees it and as (1, 3, H, W) in [0, 1]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [np.sin(9 * x + 4 * y), np.cos(7 * y), (x > 0.4) * 2.0 - 1.0]
    pixels = (np.stack(channels, axis=2) * 127 + 128).astype(np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    return Image.fromarray(pixels), tensor


@pytest.mark.parametrize("name", TIMM)
def test_timm_normalisation_is_timms_own(name: str) -> None:
    cfg = timm.get_pretrained_cfg(name).to_dict()
    preprocess = Preprocess.from_timm(cfg)
    picture, tensor = photo(*preprocess.size)
    config = resolve_data_config(pretrained_cfg=cfg) | {"crop_pct": 1.0}  # nothing is cropped here
    torch.testing.assert_close(
        preprocess(tensor)[0], create_transform(**config)(picture), atol=1e-5, rtol=0
    )
    assert preprocess.interpolation == config["interpolation"]
    assert preprocess.size == config["input_size"][1:]


def test_open_clip_normalisation_is_open_clips_own() -> None:
    with torch.device("meta"):
        model, _, transform = open_clip.create_model_and_transforms("RN50", device="meta")
    preprocess = Preprocess.from_open_clip(model.visual.preprocess_cfg)
    picture, tensor = photo(*preprocess.size)
    torch.testing.assert_close(preprocess(tensor)[0], transform(picture), atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(64, 48), (200, 300)])
def test_resizing_agrees_with_pil(interpolation: str, size: tuple[int, int]) -> None:
    picture, tensor = photo(128, 160)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(picture.resize(size[::-1], method[interpolation])) / 255.0
    ours = Preprocess(size, interpolation)(tensor)[0].permute(1, 2, 0).numpy()  # type: ignore[arg-type]
    assert ours.shape == (*size, 3)
    assert np.abs(ours - expected).max() < 1.6 / 255.0  # PIL rounds to bytes after each axis


def test_plain_values() -> None:
    preprocess = Preprocess(32, mean=[0.5, 0.5, 0.5])  # type: ignore[arg-type]
    values = preprocess.to_dict()
    assert values["size"] == [32, 32]
    assert Preprocess(**values) == preprocess
    with pytest.raises(dataclasses.FrozenInstanceError):
        preprocess.size = (1, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": (4, 4, 4)}, {"interpolation": "nearest"}, {"std": (1, 0, 1)}]
)
def test_mistakes_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(RosettaError, match=next(iter(wrong))):
        Preprocess(**{"size": 8, **wrong})  # type: ignore[arg-type]
