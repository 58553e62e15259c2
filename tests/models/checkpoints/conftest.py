"""What the tests of downloads share: a server that misbehaves, and an empty cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, file_server

from rosetta_lab.models.checkpoints import transfer


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; online; retries without delay."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("ROSETTA_OFFLINE", raising=False)
    monkeypatch.setattr(transfer, "BACKOFF", 0.0)
    return tmp_path / "cache"
