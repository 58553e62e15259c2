"""timm's and open_clip's published weights come through the project's own downloads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import hub
from rosetta_lab.models.discriminative.open_clip import OpenClipModel, fetch_tag
from rosetta_lab.models.discriminative.timm import TimmModel

TINY = "test_resnet.r160_in1k"  # timm's own, for tests
SMALL_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What the network has, by URL; anything else is a failure."""
    files: dict[str, Path] = {}
    monkeypatch.setattr(hub, "fetch", lambda url: (files[url], "0" * 64))
    return files


def test_timm(downloads: dict[str, Path], tmp_path: Path) -> None:
    saved = TimmModel(TINY, "random", ["layer1"])
    save_file(saved.network.state_dict(), tmp_path / "model.safetensors")
    url = f"https://huggingface.co/timm/{TINY}/resolve/main/model.safetensors"
    downloads[url] = tmp_path / "model.safetensors"
    loaded = TimmModel(TINY, "pretrained", ["layer1"])
    for name, value in saved.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert (loaded.source, loaded.sha256) == (f"timm://{TINY}", "0" * 64)
    assert loaded.preprocess == saved.preprocess
    headless = TimmModel(TINY, "pretrained", ["layer1"], None, {"num_classes": 0})
    assert torch.equal(headless.network.conv1[0].weight, saved.network.conv1[0].weight)


def test_open_clip(downloads: dict[str, Path], tmp_path: Path) -> None:
    saved = OpenClipModel("RN50", "random", ["visual.layer1"], None, SMALL_CLIP)
    save_file(saved.network.state_dict(), tmp_path / "clip.safetensors")
    url = "https://huggingface.co/timm/resnet50_clip.openai/resolve/main/"
    downloads[url + "open_clip_model.safetensors"] = tmp_path / "clip.safetensors"
    loaded = OpenClipModel("RN50", "openai", ["visual.layer1"], None, SMALL_CLIP)
    for name, value in saved.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name
    assert (loaded.source, loaded.sha256) == ("open_clip://RN50/openai", "0" * 64)
    assert loaded.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)
    assert loaded.preprocess.interpolation == "bicubic"


def test_tags_name_a_file_or_a_repository(
    downloads: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads["https://huggingface.co/a/b/resolve/main/c.bin"] = tmp_path
    assert fetch_tag({"hf_hub": "a/b/c.bin"})[0] == tmp_path
    fetched: list[str] = []
    module = "rosetta_lab.models.discriminative.open_clip.fetch"
    monkeypatch.setattr(module, lambda url: (fetched.append(url), tmp_path))
    fetch_tag({"url": "https://example.org/w.pt"})
    assert fetched == ["https://example.org/w.pt"]


def test_what_the_hub_has_downloaded_is_not_downloaded_again(
    downloads: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache folder as huggingface_hub lays it out."""
    repository = tmp_path / "models--timm--x"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (snapshot / "pytorch_model.bin").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    path, digest = hub.fetch_from_hub("timm/x", ["model.safetensors", "pytorch_model.bin"])
    assert path.read_bytes() == b"weights"
    assert digest == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize(
    ("kind", "architecture", "weights", "url"),
    [
        (TimmModel, "vit_base_patch16_224.mae", "pretrained", "timm/vit_base_patch16_224.mae/"),
        (OpenClipModel, "RN50", "openai", "timm/resnet50_clip.openai/"),
    ],
)
def test_offline(
    kind: type, architecture: str, weights: str, url: str, tmp_path: Path, monkeypatch
) -> None:
    """The message names the URL, the cache folder and the way out."""
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    with pytest.raises(RosettaError, match=f"https://huggingface.co/{url}") as error:
        kind(architecture, weights, ["layer1"])
    assert str(tmp_path) in str(error.value)
    assert "weights=PATH" in str(error.value)


def test_an_architecture_without_weights() -> None:
    with pytest.raises(RosettaError, match="timm has no weights for resnet50t"):
        TimmModel("resnet50t", "pretrained", ["layer1"])
