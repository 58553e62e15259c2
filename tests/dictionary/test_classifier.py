"""Which of a run's models tells the generator's classes apart: one that says so."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from toy import TenClasses, TenWide

from rosetta_lab.dictionary.mined import Mined, load_mined
from rosetta_lab.errors import RosettaError

TIMM = "rosetta_lab.models.discriminative.timm.TimmModel"
CLIP = {
    "_target_": "rosetta_lab.models.discriminative.open_clip.OpenClipModel",
    "architecture": "ViT-B-32",
    "weights": "random",
    "layers": ["visual.transformer.resblocks.*"],
    "preprocess": {"size": 32},
    "model_kwargs": {
        "embed_dim": 10,  # as wide as the ten classes
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16},
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
    },
}
FEATURES = {
    "_target_": TIMM,
    "architecture": "vit_tiny_patch16_224",
    "weights": "random",
    "layers": ["blocks.*"],
    "preprocess": {"size": 32},
    "model_kwargs": {
        "img_size": 32, "embed_dim": 10, "depth": 1, "num_heads": 2, "num_classes": 0
    },
}  # fmt: skip


@pytest.fixture
def mined() -> Mined:
    found = load_mined("embedded")
    own = found.config.disc.resnet_fashion
    with open_dict(found.config):
        found.config.disc = {"clip": CLIP, "features": FEATURES, "resnet_fashion": own}
    return found


def test_an_embedding_of_equal_width_is_no_classifier(mined: Mined) -> None:
    chosen = mined.classifier(None)
    assert chosen is not None and chosen.num_classes == 10
    assert chosen.source == mined.config.disc.resnet_fashion.weights
    for name in ("clip", "features"):
        with pytest.raises(RosettaError, match=rf"classifier={name}: .*logits of 10 classes.*\n"):
            mined.classifier(name)
    entries: DictConfig = OmegaConf.masked_copy(mined.config.disc, ["clip", "features"])
    mined.config.disc = entries
    assert mined.classifier(None) is None


def test_a_class_of_one_s_own_says_what_it_puts_out(
    mined: Mined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSETTA_PLUGINS", "toy.TenWide,toy.TenClasses")
    with open_dict(mined.config):
        mined.config.disc = {
            name: {"_target_": f"toy.{name}", "weights": "random"}
            for name in ("TenWide", "TenClasses")
        }
    loaded = {"TenWide": TenWide(), "TenClasses": TenClasses()}
    assert mined.classifier(None, loaded) is loaded["TenClasses"]
