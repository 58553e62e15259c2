"""Classes go by their names where a generator's config has them."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from rosetta_lab.data.fashion.scenes import CLASSES
from rosetta_lab.data.latents import caption
from rosetta_lab.files import asset_root

FASHION = sorted((asset_root() / "conf" / "gen").glob("*_fashion.yaml"))


@pytest.mark.parametrize("path", FASHION, ids=lambda path: path.stem)
def test_names_are_those_of_the_data(path) -> None:
    assert tuple(OmegaConf.load(path).class_names) == CLASSES


def test_captions() -> None:
    assert caption(3, 7, CLASSES) == "image 3, sneaker"
    assert caption(3, 7, None) == "image 3, class 7"
    assert caption(3, None, None) == "image 3"
