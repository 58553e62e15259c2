"""One HTTP download into one partial file: resumed, retried, checked."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import logging
import re
import shutil
import socket
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.request import Request, urlopen

from tqdm import tqdm

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.files import DISK, atomic_write, unwritable
from rosetta_lab.models.checkpoints.reading import LFS
from rosetta_lab.run.addresses import public, split_login

log = logging.getLogger(__name__)

RETRIES = 4  # in a row without a single new byte
BACKOFF = 1.0  # seconds before the first retry; doubles with each further one
TIMEOUT = 30.0  # seconds without any answer
CHUNK = 1 << 18  # bytes

# Statuses that may pass: request timeout, too many requests, and the server's own troubles.
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}

WAY_OUT = "Or download it elsewhere and pass weights=PATH (cache folder: {cache})."


class NotThereError(RosettaError):
    """The server answers, and will not give the file."""


def transfer(url: str, part: Path, cache: Path) -> None:
    """Download ``url`` into ``part``, going on from what is there already.

    What is known of ``part`` stays beside it until :func:`forget`: the caller may be killed while
    it checks and renames a file that took an hour.

    Args:
        url: http or https.
        part: partial file; complete on return.
        cache: cache folder, named in messages.

    Raises:
        RosettaError: the server refuses, gives something that is no checkpoint, or is out of reach.
    """
    way_out = WAY_OUT.format(cache=cache)
    name = public(url)
    failures = 0
    started_with = _size(part)
    while True:
        before = _size(part)
        try:
            _attempt(url, part)
            break
        except HTTPError as error:
            error.close()
            reason = f"HTTP {error.code} {printable(error.reason)}"
            if error.code == 416:  # the partial file does not fit what the server has now
                part.unlink(missing_ok=True)
            elif error.code not in TRANSIENT:
                raise NotThereError(
                    f"{name} answers {reason}: it has moved or wants a login.\n{way_out}"
                ) from error
        except (http.client.InvalidURL, ValueError) as error:
            raise RosettaError(f"{name} is no address of a file.\n{way_out}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in {*DISK, errno.EACCES}:
                raise unwritable(part, error) from error
            cause = error.reason if isinstance(error, URLError) else error
            reason = printable(cause) or type(cause).__name__
            if isinstance(cause, socket.gaierror) and _size(part) == started_with:
                failures = RETRIES  # no network at all: waiting would only annoy
        failures = 1 if _size(part) > before else failures + 1
        if failures > RETRIES:
            raise RosettaError(
                f"cannot download {name}: {reason}. What has arrived is kept; running again goes "
                f"on from there.\n{way_out}"
            )
        pause = BACKOFF * 2 ** (failures - 1)
        log.warning("%s: %s; trying again in %g s", name, reason, pause)
        time.sleep(pause)
    refuse_page(url, part)


def forget(part: Path) -> None:
    """Delete the notes beside ``part``, which is renamed by now or was deleted."""
    _notes_path(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path) -> None:
    """One request; appends to ``part`` where the server confirms that it is the same file.

    The last byte of a complete part, which nobody has renamed yet, is asked for again: what the
    file is now, only the server can tell.
    """
    notes = _read_notes(part)
    total, validator = notes.get("total"), notes.get("validator")
    offset = 0
    if isinstance(total, int) and isinstance(validator, str) and _size(part) <= total:
        offset = min(_size(part), total - 1)
    address, login = split_login(url)
    request = Request(address, headers={"User-Agent": "rosetta_lab", "Accept-Encoding": "identity"})
    if login:  # not to where a redirection leads
        coded = base64.b64encode(unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {coded}")
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", str(validator))  # the server sends another file whole
    with urlopen(request, timeout=TIMEOUT) as response:
        if response.status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers["Content-Range"] or "")
            if span is None or (int(span[1]), int(span[2])) != (offset, total):
                part.unlink()
                raise ConnectionError("the file changed on the server")
        else:
            offset = 0
            length = response.headers["Content-Length"] or ""
            total = int(length) if length.isdecimal() else None
        if response.headers.get_content_type() == "text/html":
            raise _page(url)
        _refuse_full_disk(url, part, (total or 0) - offset)
        _write_notes(part, {"total": total, "validator": _validator(response.headers)})
        progress = tqdm(
            total=total,
            initial=offset,
            unit="B",
            unit_scale=True,
            desc=part.name.removesuffix(".part"),
            disable=None,  # off where nobody looks at a terminal
        )
        with part.open("r+b" if offset else "wb") as file, progress:
            file.seek(offset)
            file.truncate()
            while chunk := response.read1(CHUNK):  # whatever has arrived, so that it is kept
                file.write(chunk)
                progress.update(len(chunk))
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the connection closed after {_size(part)} of {total} bytes")


def refuse_page(url: str, path: Path) -> None:
    """Delete ``path`` and raise if it holds a web page or a stand-in rather than a checkpoint."""
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if re.match(rb"<(!doctype|html|\?xml|!--)", head):
        refusal = _page(url)
    elif head.startswith(LFS):
        refusal = RosettaError(
            f"{public(url)} gave a Git LFS pointer instead of the file.\n"
            "Use the link that downloads it."
        )
    else:
        return
    path.unlink()
    forget(path)
    raise refusal


def _page(url: str) -> RosettaError:
    return RosettaError(
        f"{public(url)} gave a web page instead of a checkpoint: it has moved or wants a login.\n"
        "Download it in a browser and pass weights=PATH."
    )


def _refuse_full_disk(url: str, part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise RosettaError(
            f"{public(url)} needs {needed / 1e9:.1f} GB, but {part.parent} has {free / 1e9:.1f} GB "
            "left.\n"
            "Set ROSETTA_CACHE to a folder with more room."
        )


def _validator(headers: http.client.HTTPMessage) -> str | None:
    """What ``If-Range`` may carry: a strong ETag, otherwise the date."""
    etag = headers["ETag"]
    return etag if etag and not etag.startswith("W/") else headers["Last-Modified"]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _notes_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_notes(part: Path) -> dict[str, Any]:
    """Length and validator of the file that ``part`` is the beginning of."""
    try:
        notes = json.loads(_notes_path(part).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _write_notes(part: Path, notes: dict[str, Any]) -> None:
    atomic_write(_notes_path(part), json.dumps(notes).encode())
