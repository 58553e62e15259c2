"""The reference of models: complete, true to the configs, and committed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
from omegaconf import OmegaConf

from rosetta_lab.files import asset_root
from rosetta_lab.models.document import document, read_cards

GROUPS = ["gen", "disc", "perceptual"]
CONF = asset_root() / "conf"
PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def members(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("*.yaml")}


@pytest.mark.slow
def test_the_committed_page_is_what_the_configs_give() -> None:
    text = document()
    assert text == PAGE.read_text(), "run: python -m rosetta_lab.models.document > docs/models.md"
    headings = re.findall(r"^### `(\w+)=\[?(\w+)\]?`$", text, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) == {(group, name) for group in GROUPS for name in members(group)}


def test_perceptual_distances_are_told_with_what_they_download() -> None:
    text = PAGE.read_text()
    vgg = text[text.index("### `perceptual=lpips_vgg`") :].split("### ")[1]
    assert "`https://download.pytorch.org/models/vgg16-397923af.pth`" in vgg
    assert "at most 256 px; mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225)" in vgg
    assert "`3`, `8`, `15`, `22`, `29`" in vgg


@pytest.mark.parametrize("group", GROUPS)
def test_every_model_has_a_card(group: str) -> None:
    assert read_cards().keys() == set(GROUPS)
    assert set(read_cards()[group]) == members(group)
    for name, card in read_cards()[group].items():
        assert card.keys() == {"title", "citation", "source", "licence"}, name
        assert all(card.values()), name
        assert re.search(r"\b(19|20)\d\d\. arXiv:\d{4}\.\d{4,5}$", card["citation"]), name


def test_licences_are_those_that_timm_publishes() -> None:
    checked = 0
    for name, card in read_cards()["disc"].items():
        entry = OmegaConf.load(CONF / "disc" / f"{name}.yaml")
        if entry.weights == "pretrained":
            published = timm.get_pretrained_cfg(entry.architecture)
            assert card["licence"].lower() == published.license, name
            assert card["source"].endswith(published.hf_hub_id), name
            checked += 1
    assert checked >= 5
