"""What of a dictionary tells of the machine that it was mined on: places of files."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from markupsafe import escape

FILE_URL = "file://"
HOMES = re.compile(
    rb"(?:(?<![\w.])/(?:home|Users)/|\b[A-Za-z]:\\{1,2}Users\\{1,2})[^\s/\\\"'<>&]+", re.IGNORECASE
)
TEXTS = (".json", ".html", ".csv")


def without_places(record: Any) -> tuple[Any, dict[str, str]]:
    """Plain values in which of every path that begins at a root, or at ``~``, the name is left.

    Args:
        record: texts, numbers, lists and mappings.

    Returns:
        A copy, and the names by the paths that were there.
    """
    places: dict[str, str] = {}

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [cleaned(item) for item in value]
        if isinstance(value, str) and (name := name_of(value)) is not None:
            places[value] = name
            return name
        return value

    return cleaned(record), places


def name_of(text: str) -> str | None:
    """The last part of a path that begins at a root; None for any other text."""
    if text.lower().startswith(FILE_URL):
        return PurePosixPath(unquote(urlsplit(text).path)).name
    if text.startswith(("/", "~/")):
        return PurePosixPath(text).name or None
    windows = PureWindowsPath(text)
    return windows.name or None if windows.is_absolute() and windows.drive else None


def in_page(page: str, places: dict[str, str]) -> str:
    """A page with names for paths, as templates write them: escaped, in JSON, or both."""
    for place, name in sorted(places.items(), key=lambda item: -len(item[0])):
        for write in _WRITTEN:
            page = page.replace(write(place), write(name))
    return page


def told(name: str, data: bytes, places: dict[str, str]) -> str | None:
    """The first thing in a file that tells of this machine; None if there is none.

    Args:
        name: of the file.
        data: its contents.
        places: paths that may not be in it.
    """
    end = len(data)
    if name.endswith(".safetensors"):
        end = 8 + int.from_bytes(data[:8], "little")  # what follows are numbers
    elif not name.endswith(TEXTS):
        end = 0
    text = data[:end]
    own = str(Path.home())
    for place in [*places, *([own] if len(PurePosixPath(own).parts) > 1 else [])]:
        if re.search(re.escape(place.encode()) + rb"(?![\w.-])", text):
            return place
    found = HOMES.search(text)
    return found[0].decode(errors="replace") if found else None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _in_script(text: str) -> str:
    """As the filter ``tojson`` of Jinja2 writes it."""
    text = _quoted(text)
    for sign in "<>&'":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


_WRITTEN = (
    lambda text: str(escape(_quoted(text))),
    _in_script,
    lambda text: str(escape(text)),
)
