"""Preprocessing against the libraries' own transforms."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from omegaconf import OmegaConf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform, resolve_data_config

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.discriminative.timm import TimmModel
from rosetta_lab.models.preprocess import Preprocess

ENTRIES = {
    path.stem: OmegaConf.load(path) for path in sorted((asset_root() / "conf/disc").glob("*.yaml"))
}
# Models that take their preprocessing from the published config; DINOv2 all but the size.
TIMM = [n for n, entry in ENTRIES.items() if entry.weights == "pretrained"]
OPEN_CLIP = [
    n for n in ENTRIES if "OpenClip" in ENTRIES[n]._target_ and "preprocess" not in ENTRIES[n]
]
STEP = 1.6 / 255.0  # PIL rounds to bytes after each axis


def photo(height: int, width: int) -> tuple[Image.Image, torch.Tensor]:
    """A smooth coloured picture with an edge, as PIL sees it and as (1, 3, H, W) in [0, 1]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [np.sin(9 * x + 4 * y), np.cos(7 * y), (x > 0.4) * 2.0 - 1.0]
    pixels = (np.stack(channels, axis=2) * 127 + 128).astype(np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    return Image.fromarray(pixels), tensor


def assert_same(preprocess: Preprocess, theirs: Callable[[Image.Image], Any], side: int) -> None:
    """On a square picture, of which nothing is cropped."""
    picture, tensor = photo(side, side)
    expected = theirs(picture)
    std = torch.tensor(preprocess.std)[:, None, None]
    difference = (preprocess(tensor)[0] - expected) * std  # as of values in [0, 1]
    assert expected.shape[1:] == preprocess.size
    assert difference.abs().max() < (1e-5 if side == preprocess.size[0] else STEP)


def test_the_papers_models_are_compared() -> None:
    assert {"resnet50", "dino_vit", "dino_vit_small_p8", "mae", "dinov2"} < set(TIMM)
    assert OPEN_CLIP == ["clip"]


@pytest.mark.parametrize("side", [128, 224, 256, 600])
@pytest.mark.parametrize("name", TIMM)
def test_timm_preprocessing_is_timms_own(name: str, side: int) -> None:
    entry = ENTRIES[name]
    cfg = timm.get_pretrained_cfg(entry.architecture).to_dict()
    explicit = entry.get("preprocess")
    preprocess = Preprocess(**explicit) if explicit else Preprocess.from_timm(cfg)
    size = {"input_size": (3, *preprocess.size)} if explicit else {}
    config = resolve_data_config(size, pretrained_cfg=cfg) | {"crop_pct": 1.0}
    assert config["input_size"][1:] == preprocess.size
    assert_same(preprocess, create_transform(**config), side)


@pytest.mark.parametrize("side", [128, 224, 256, 600])
@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clip_preprocessing_is_open_clips_own(name: str, side: int) -> None:
    architecture, tag = ENTRIES[name].architecture, ENTRIES[name].weights
    published = open_clip.get_pretrained_cfg(architecture, tag)
    with torch.device("meta"):
        model = open_clip.create_model(architecture, device="meta", force_preprocess_cfg=published)
    theirs = image_transform_v2(
        PreprocessCfg(
            size=224,
            **{key: published[key] for key in ("mean", "std", "interpolation", "resize_mode")},
        ),
        is_train=False,
    )
    assert_same(Preprocess.from_open_clip(model.visual.preprocess_cfg), theirs, side)


@pytest.mark.parametrize("size", [32, [48, 32]])
def test_a_network_of_another_size_gets_images_of_that_size(size: Any) -> None:
    options = {"img_size": size, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = TimmModel("vit_tiny_patch16_224", "random", ["blocks.*"], None, options)
    height, width = (size, size) if isinstance(size, int) else size
    assert model.preprocess.size == (height, width)
    assert model.preprocess.mean == tuple(model.network.pretrained_cfg["mean"])
    maps = model.maps(torch.rand(1, 3, 20, 20), ["blocks.0"])["blocks.0"]
    assert maps.shape[2:] == (height // 16, width // 16)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(64, 48), (200, 300)])
def test_resizing_agrees_with_pil(interpolation: str, size: tuple[int, int]) -> None:
    picture, tensor = photo(128, 160)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(picture.resize(size[::-1], method[interpolation])) / 255.0
    ours = Preprocess(size, interpolation)(tensor)[0].permute(1, 2, 0).numpy()  # type: ignore[arg-type]
    assert ours.shape == (*size, 3)
    assert np.abs(ours - expected).max() < STEP


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
