"""Published weights on the Hugging Face hub: its own library fetches them, our readers read them.

The library keeps files in folders of its own making, here below our cache folder, under the SHA-256
of their contents, and follows ``HF_TOKEN`` and ``HF_ENDPOINT``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder
from rosetta_lab.models.checkpoints.convert import load_weights
from rosetta_lab.models.checkpoints.download import cached_path
from rosetta_lab.models.checkpoints.transfer import TRANSIENT, WAY_OUT, NotThereError
from rosetta_lab.models.checkpoints.weights import Weights
from rosetta_lab.run.cache import is_offline, private, sha256_of


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
    cached = partial(_cached, repository, names)
    if found := cached(None) or cached(_folder(repository)):
        return _load(found)
    attempts = [partial(_load_from, repository, name) for name in names]
    if elsewhere:
        cached_elsewhere = cached_path(elsewhere, cache_folder()).is_file()
        attempts.insert(0 if cached_elsewhere else len(names), partial(load_weights, elsewhere))
    refused: list[NotThereError] = []
    for attempt in attempts:
        try:
            return attempt()
        except NotThereError as error:
            refused.append(error)
    raise refused[0]


def _load_from(repository: str, name: str) -> Weights:
    """Weights from a file that has to be downloaded.

    Raises:
        NotThereError: the hub has no such file, or not for everybody.
        RosettaError: the hub is out of reach, or the file is not as expected.
    """
    url, cache = hf_hub_url(repository, name), cache_folder()
    if is_offline():
        raise RosettaError(
            f"offline, and {url} is not in the cache folder {cache}.\n"
            "Go online once, or download it elsewhere and pass weights=PATH."
        )
    try:
        try:  # without a network, the download alone would try for half a minute
            get_hf_file_metadata(url)
        except Exception as error:
            if _status(error) not in TRANSIENT:
                raise
        path = hf_hub_download(repository, name, cache_dir=_folder(repository))
    except Exception as error:  # its releases use three HTTP libraries, each with its own errors
        way_out = WAY_OUT.format(cache=cache)
        status = _status(error)
        if status and status not in TRANSIENT:
            raise NotThereError(
                f"{url} answers HTTP {status}: it has moved or wants a login (HF_TOKEN).\n{way_out}"
            ) from error
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise RosettaError(f"cannot download {url}: {reason}.\n{way_out}") from error
    return _load(Path(path))


def _cached(repository: str, names: Sequence[str], folder: Path | None) -> Path | None:
    """The best of some files that the library has in a folder, by default its own."""
    found = (try_to_load_from_cache(repository, name, folder) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _folder(repository: str) -> Path:
    """Where the library keeps its files for us: for this user alone, as all of our cache."""
    cache = cache_folder()
    return private(cache / "hub" / repository.replace("/", "--"), cache).parent


def _status(error: Exception) -> int | None:
    """What the server answered, where an error or its cause is about an answer."""
    answers = (getattr(e, "response", None) for e in (error, error.__cause__))
    return next((int(answer.status_code) for answer in answers if answer is not None), None)


def _load(path: Path) -> Weights:
    """Weights from a file in a folder of the library.

    It is a link to a file that is named by the SHA-256 of its contents. Where the file is small or
    links do not work, the name is another, and nothing tells what the contents should be.

    Raises:
        RosettaError: they are not; or see :func:`rosetta_lab.models.checkpoints.load_weights`.
    """
    stored = Path(os.readlink(path)).name if path.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{64}", stored) and (digest := sha256_of(path)) != stored:
        raise RosettaError(
            f"{path} has SHA-256 {digest}, expected {stored}.\n"
            f"Delete {path.resolve()} and try again; it will be downloaded anew."
        )
    return load_weights(str(path))
