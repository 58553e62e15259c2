"""Published weights on the Hugging Face hub, through this project's own downloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_url, try_to_load_from_cache

from rosetta_lab.models.checkpoints.cache import sha256_of
from rosetta_lab.models.checkpoints.download import fetch


def fetch_from_hub(repository: str, names: Sequence[str]) -> tuple[Path, str]:
    """Path and SHA-256 of a file of a repository.

    Args:
        repository: such as ``timm/resnet50.tv_in1k``.
        names: of files that would do, best first. Any that the hub's own library has downloaded
            already is taken; otherwise the first is downloaded.

    Raises:
        RosettaError: see :func:`rosetta_lab.models.checkpoints.resolve`.
    """
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached), sha256_of(Path(cached))
    return fetch(hf_hub_url(repository, names[0]))
