"""Where a dictionary lies: in a folder, in one file, or on the hub, from where it comes here.

One file is unpacked into the cache, under the SHA-256 of its contents, and read there.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import cache_folder, path_of, unwritable
from rosetta_lab.run.archives import LARGEST, is_archive, refusal, unpack
from rosetta_lab.run.cache import is_offline, locked, private, sha256_of

HUB = "hf://"
ON_HUB = "dictionary.zip"  # the file of a dataset repository
REPOSITORY = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[\w-][\w./-]{0,99}", re.ASCII)
KEPT = "dictionaries"  # folder of the cache


def is_shared(source: str | Path) -> bool:
    """Whether a dictionary would have to be fetched from the hub."""
    return str(source).startswith(HUB)


def dictionary_place(source: str | Path) -> Path:
    """Folder of a dictionary, or the path of its JSON file.

    Args:
        source: that, or a file of :mod:`rosetta_lab.export`, or ``hf://USER/NAME`` or
            ``hf://USER/NAME@REVISION``, a dataset repository of the hub.

    Raises:
        RosettaError: it cannot be had, or is refused.
    """
    path = fetch(str(source)) if is_shared(source) else path_of(str(source))
    return unpacked(path) if is_archive(path) else path


def is_unpacked(folder: Path) -> bool:
    """Whether a folder is the cache's, where no run writes."""
    return cache_folder().resolve() in folder.resolve().parents


def unpacked(archive: Path) -> Path:
    """The folder of an archive's files in the cache, made now if need be.

    Raises:
        RosettaError: see :func:`rosetta_lab.run.archives.unpack`.
    """
    if (size := archive.stat().st_size) > LARGEST:
        raise refusal(archive, f"it has {size} bytes, of at most {LARGEST}")
    cache, digest = cache_folder(), sha256_of(archive)
    target = private(cache / KEPT / digest, cache)
    with locked(target):
        if target.is_dir():
            return target
        try:
            temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
        except OSError as error:
            raise unwritable(target, error) from error
        try:
            unpack(archive, temporary)
            if sha256_of(archive) != digest:
                raise refusal(archive, "it changes while it is read")
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def repository_of(source: str) -> tuple[str, str | None]:
    """Repository and revision that ``USER/NAME`` or ``USER/NAME@REVISION`` name.

    Raises:
        RosettaError: it names none.
    """
    name, at, revision = source.removeprefix(HUB).partition("@")
    if not REPOSITORY.fullmatch(name) or (at and not REVISION.fullmatch(revision)):
        raise RosettaError(
            f"{printable(source)}: this is no repository of the hub.\n"
            "Expected USER/NAME, or USER/NAME@REVISION for one of its states."
        )
    return name, revision or None


def fetch(source: str) -> Path:
    """The file of a dataset repository, downloaded if need be.

    Raises:
        RosettaError: there is none, or not for everybody, or the hub is out of reach.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    repository, revision = repository_of(source)
    cache = cache_folder()
    folder = private(cache / "hub" / f"datasets--{repository.replace('/', '--')}", cache).parent
    url = hf_hub_url(repository, ON_HUB, repo_type="dataset", revision=revision)
    offline = is_offline()
    try:
        if not offline and (get_hf_file_metadata(url).size or 0) > LARGEST:
            raise refusal(Path(url), f"it has more than {LARGEST} bytes")
        path = hf_hub_download(
            repository,
            ON_HUB,
            repo_type="dataset",
            revision=revision,
            cache_dir=folder,
            local_files_only=offline,
        )
    except RosettaError:
        raise
    except Exception as error:  # its releases use three HTTP libraries, each with its own errors
        raise hub_error(repository, error, "have") from error
    stored = Path(os.readlink(path)).name if os.path.islink(path) else ""
    if re.fullmatch("[0-9a-f]{64}", stored) and sha256_of(Path(path)) != stored:
        raise refusal(Path(path), "its contents are not those that were downloaded")
    return Path(path)


def hub_error(repository: str, error: Exception, what: str) -> RosettaError:
    """What is said where the hub does not do what it is asked for.

    Args:
        repository: USER/NAME.
        error: of the hub's library.
        what: would be done with it: ``have`` or ``write to``.
    """
    answers = (getattr(e, "response", None) for e in (error, error.__cause__))
    status = next((int(answer.status_code) for answer in answers if answer is not None), None)
    if status in (401, 403, 404):
        return RosettaError(
            f"{repository}: the hub has no such dataset with a {ON_HUB}, or lets you not {what} it "
            f"(HTTP {status}).\nCheck the name; log in with hf auth login, or set HF_TOKEN."
        )
    reason = f"HTTP {status}" if status else printable(error.__cause__ or error)
    return RosettaError(
        f"{repository}: the hub cannot be reached, and it is not in the cache ({reason}).\n"
        "Go online and try again, or get its file elsewhere and pass dictionary=PATH.zip."
    )
