"""The adapters: every shipped config, and tokens folded to maps."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from cases import first
from hydra.utils import instantiate
from omegaconf import OmegaConf
from open_clip import factory
from open_clip.pretrained import _PRETRAINED, _pcfg
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.discriminative.open_clip import OpenClipModel
from rosetta_lab.models.discriminative.timm import TimmModel, plain
from rosetta_lab.models.units import resolve_layers

CONFIGS = sorted((asset_root() / "conf" / "disc").glob("*.yaml"))
SMALL = {"img_size": (32, 64), "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def random_model(path: Path) -> DiscriminativeModel:
    config = OmegaConf.load(path)
    config.weights = "random"
    with torch.device("meta"):
        model: DiscriminativeModel = instantiate(config)
    return model


@pytest.mark.parametrize("path", first(8, CONFIGS), ids=lambda path: path.stem)
def test_config_instantiates_and_its_layers_give_maps(path: Path) -> None:
    model = random_model(path)
    assert path.read_text().startswith(f"# @package disc.{path.stem}\n")
    layers = resolve_layers(model.network, model.layers, path.stem)
    with torch.device("meta"):
        found = model.maps(torch.zeros(2, 3, 64, 64), layers)
    assert list(found) == layers
    for maps in found.values():
        assert maps.dim() == 4 and maps.shape[0] == 2
        assert maps.shape[1] > 1 and max(maps.shape[2:]) < model.preprocess.size[0]


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("clip", "mae")]


@pytest.mark.parametrize("name", ["resnet50", "resnet_fashion", "clip_fashion", *LARGE])
def test_layers_are_taken_after_the_activation(name: str) -> None:
    """The last thing that happens to a unit is ReLU or GELU: no value below GELU's minimum."""
    config = OmegaConf.load(asset_root() / "conf" / "disc" / f"{name}.yaml")
    config.weights = "random"
    torch.manual_seed(0)
    model: DiscriminativeModel = instantiate(config)
    layer = resolve_layers(model.network, model.layers, name)[0]
    with torch.no_grad():
        maps = model.maps(torch.rand(1, 3, 64, 64), [layer])[layer]
    assert -0.171 < maps.min() <= 0.0 < maps.max()


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"reg_tokens": 3}),
        ("vit_tiny_r_s16_p8_224", {"patch_size": 2}),  # convolutions come before the patches
    ],
)
def test_timm_tokens_fold_as_timm_folds_them(architecture: str, options: dict[str, int]) -> None:
    kwargs = {**SMALL, "num_classes": 0, **options}
    model = TimmModel(architecture, "random", ["blocks.*"], {"size": [32, 64]}, kwargs)
    images = torch.rand(2, 3, 32, 64)
    network: Any = model.network
    expected = network.forward_intermediates(
        model.preprocess(images), output_fmt="NCHW", intermediates_only=True
    )
    found = model.maps(images, ["blocks.0", "blocks.1"])
    for ours, maps in zip(found.values(), expected, strict=True):
        assert ours.shape == (2, 24, 4, 8)
        torch.testing.assert_close(ours, maps)


def test_a_planted_blob_is_found_at_its_place() -> None:
    """A patch that alone is bright is the only one to change in the map of the embedding."""
    model = TimmModel(
        "vit_tiny_patch16_224", "random", ["patch_embed"], {"size": [32, 64]}, dict(SMALL)
    )
    images = torch.zeros(1, 3, 32, 64)
    images[:, :, 16:24, 40:48] = 1.0  # row 2, column 5
    maps = model.maps(images, ["patch_embed"])["patch_embed"]
    changed = (maps - maps[:, :, :1, :1]).abs().sum(dim=(0, 1))  # (4, 8)
    assert changed.nonzero().tolist() == [[2, 5]]


def test_open_clip_transformer_folds_as_open_clip_does() -> None:
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1}
    model = OpenClipModel(
        "ViT-B-32",
        "random",
        ["visual.transformer.resblocks.*"],
        {"size": 32},
        {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text},
    )
    images = torch.rand(2, 3, 32, 32)
    visual: Any = model.network.visual
    expected = visual.forward_intermediates(
        model.preprocess(images), output_fmt="NCHW", intermediates_only=True
    )["image_intermediates"]
    layer = "visual.transformer.resblocks.1"
    embedding, maps = model.output_and_maps(images, [layer])
    assert embedding.shape == (2, 8)
    torch.testing.assert_close(maps[layer], expected[1])


@pytest.mark.parametrize("quick", [True, False])
def test_the_gelu_of_an_open_clip_tag(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI's tags have weights for QuickGELU, whatever the architecture's config says."""
    config = {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "ViT-tiny.json").write_text(json.dumps(config | {"quick_gelu": not quick}))
    (tmp_path / "ViT-tiny-theirs.json").write_text(json.dumps(config | {"quick_gelu": quick}))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {})
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [tmp_path])
    factory._rescan_model_configs()
    theirs = open_clip.create_model("ViT-tiny-theirs").eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.mul_(3.0)  # far from the origin, where both GELUs are alike
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    tag = _pcfg(f"file://{tmp_path / 'theirs.safetensors'}", quick_gelu=quick)
    monkeypatch.setitem(_PRETRAINED, "ViT-tiny", {"openai": tag})

    ours = OpenClipModel("ViT-tiny", "openai", ["visual.transformer.resblocks.*"])
    kind = QuickGELU if quick else torch.nn.GELU
    gelus = [m for name, m in ours.network.named_modules() if name.endswith("gelu")]
    assert len(gelus) == 3 and all(isinstance(m, kind) for m in gelus)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.encode_image(ours.preprocess(images))
        torch.testing.assert_close(ours(images), expected)
    other = OpenClipModel("ViT-tiny", str(tmp_path / "theirs.safetensors"), ["visual"])
    with torch.no_grad():  # of a file, only the architecture can tell
        assert (other(images) - expected).abs().max() > 1e-3


def test_tokens_that_are_no_grid_are_refused() -> None:
    model = TimmModel("vit_tiny_patch16_224", "random", ["norm"], {"size": [32, 64]}, dict(SMALL))
    with pytest.raises(RosettaError, match="head"):
        model.to_map("head", torch.zeros(2, 31, 24))


def test_weights_from_a_file(tmp_path: Path) -> None:
    options = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_width": 8}
    saved = TimmModel("resnet18", "random", ["layer1"], None, options)
    save_file(saved.network.state_dict(), tmp_path / "small.safetensors")
    loaded = TimmModel("resnet18", str(tmp_path / "small.safetensors"), ["layer1"], None, options)
    for name, value in saved.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert "small.safetensors" in loaded.source and len(loaded.sha256 or "") == 64
    assert saved.source == "random"
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("kind", [TimmModel, OpenClipModel])
def test_an_unknown_architecture_is_named(kind: Any) -> None:
    with pytest.raises(RosettaError, match="resnet5000"):
        kind("resnet5000", "random", ["layer1"])


def test_open_clip_does_not_warn_of_missing_weights(caplog: pytest.LogCaptureFixture) -> None:
    """They follow, or are to be random, and then the run itself says so."""
    entry = OmegaConf.load(asset_root() / "conf" / "disc" / "clip_fashion.yaml")
    instantiate(entry)
    instantiate(OmegaConf.merge(entry, {"weights": "random"}))
    assert "No pretrained weights" not in caplog.text
    open_clip.create_model("RN50", **plain(entry.model_kwargs))
    assert "No pretrained weights" in caplog.text  # the filter is gone
