"""What all tests share: a cache of their own, no network, one thread."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import omegaconf._utils
import pytest
import torch
import yaml
from hydra._internal.hydra import Hydra
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from rosetta_lab.data.fashion.scenes import find_fashion_mnist
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder

# In the background of a shell SIGINT is ignored, also by what is started there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # sums in the same order here and in any process that a test starts
# The same examples in every run, whatever the speed of the machine.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("same")
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache folder for this run; no login, no hub. Subprocesses inherit all of it."""
    cache = tmp_path_factory.mktemp("cache")
    dataset = cache_folder() / "FashionMNIST"  # where Debian has no package, downloaded only once
    dataset.mkdir(parents=True, exist_ok=True)
    (cache / "FashionMNIST").symlink_to(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSETTA_CACHE", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets
        yield


@pytest.fixture(scope="session", autouse=True)
def configs_read_in_c() -> Iterator[None]:
    """Hydra reads some forty configs several times per command; libyaml gives the same, sooner."""
    with pytest.MonkeyPatch.context() as patch:
        quick = SimpleNamespace(**vars(yaml) | {"SafeLoader": yaml.CSafeLoader})
        patch.setattr(omegaconf._utils, "yaml", quick)
        yield


@pytest.fixture(scope="session", autouse=True)
def modes_without_composing() -> Iterator[None]:
    """Hydra composes a whole config to read its ``hydra.mode``, which no config of ours sets."""

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> None:
        assert not any("hydra.mode" in word for word in overrides)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", mode)
        yield


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """Folder with Fashion-MNIST's idx files; a test that needs real garments asks for it."""
    try:
        return find_fashion_mnist()
    except RosettaError as error:
        pytest.fail(f"This test needs Fashion-MNIST. {error}", pytrace=False)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Headless Chromium, the same for all tests."""
    browser, server = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not server:
        pytest.fail("These tests need Chromium: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(server))
    found.set_script_timeout(120)
    yield found
    found.quit()
