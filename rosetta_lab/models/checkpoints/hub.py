"""Published weights on the Hugging Face hub, through this project's own downloads and readers."""

from __future__ import annotations

from collections.abc import Sequence

from huggingface_hub import hf_hub_url, try_to_load_from_cache

from rosetta_lab.models.checkpoints.cache import cache_dir
from rosetta_lab.models.checkpoints.convert import Weights, load_weights
from rosetta_lab.models.checkpoints.download import cached_path
from rosetta_lab.models.checkpoints.transfer import NotThereError


def load_from_hub(repository: str, names: Sequence[str], elsewhere: str | None = None) -> Weights:
    """Weights from a file of a repository.

    Args:
        repository: such as ``timm/resnet50.tv_in1k``.
        names: of files that would do, best first. Any that the hub's own library or we have
            downloaded already is taken; otherwise the first that the hub has.
        elsewhere: a URL for when the hub has none of them.

    Raises:
        RosettaError: see :func:`rosetta_lab.models.checkpoints.load_weights`.
    """
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return load_weights(cached)
    urls = [hf_hub_url(repository, name) for name in names] + ([elsewhere] if elsewhere else [])
    refused: list[NotThereError] = []
    for url in sorted(urls, key=lambda url: not cached_path(url, cache_dir()).is_file()):
        try:
            return load_weights(url)
        except NotThereError as error:
            refused.append(error)
    raise refused[0]
