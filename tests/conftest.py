"""What all tests share: a cache of their own, no network, two threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rosetta_lab.data.fashion_scenes import find_fashion_mnist
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder

torch.set_num_threads(2)


@pytest.fixture(scope="session", autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache folder for this run; no login, no hub. Subprocesses inherit all of it."""
    cache = tmp_path_factory.mktemp("cache")
    dataset = cache_folder() / "FashionMNIST"  # where Debian has no package, downloaded only once
    dataset.mkdir(parents=True, exist_ok=True)
    (cache / "FashionMNIST").symlink_to(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSETTA_CACHE", str(cache))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """Folder with Fashion-MNIST's idx files; a test that needs real garments asks for it."""
    try:
        return find_fashion_mnist()
    except RosettaError as error:
        pytest.fail(f"This test needs Fashion-MNIST. {error}", pytrace=False)
