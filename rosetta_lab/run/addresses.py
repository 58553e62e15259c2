"""Addresses, and what of them is nobody else's business: logins, keys and signatures.

What a user types stays in this process and those that it starts, in a variable of the environment:
everything else (configs, dictionaries, tables, loggers, messages) has the public form.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from rosetta_lab.errors import printable

WHOLE = "ROSETTA_ADDRESSES"  # variable: public forms to what was typed
LOCAL = {"file", "package", "installed"}  # schemes that lead to no server
# Parts of an address's query that say which file is meant; any other may be a key or a signature.
TOLD = {"version", "revision", "ref", "id", "export", "format", "download", "dl", "raw"}
LEFT_OUT = "..."
ADDRESS = re.compile(r"""(?<=')\w+://[^']*|(?<=")\w+://[^"]*|\w+://[^\s'"\[\]{},]+""")


def public(source: str) -> str:
    """``source`` as it may be printed and stored: without user name, password and signatures."""
    scheme, there, _ = source.partition("://")
    if not there or scheme in LOCAL:
        return source
    try:
        parts = urlsplit(split_login(source)[0])
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "an address that cannot be read"
    told = [(name, value) for name, value in query if name in TOLD]
    kept = [urlencode(told)] if told else []
    kept += [LEFT_OUT] if len(told) < len(query) else []
    return printable(parts._replace(query="&".join(kept), fragment="").geturl(), 2000)


def split_login(url: str) -> tuple[str, str | None]:
    """An address without its user name and password, and these."""
    scheme, _, rest = url.partition("://")
    end = re.search(r"[/?#]|$", rest)
    host, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    login, _, host = host.rpartition("@")
    return f"{scheme}://{host}{path}", login or None


def hidden(text: str) -> str:
    """A text with the public form of every address in it; :func:`whole` knows what was there."""
    return ADDRESS.sub(lambda found: _noted(found[0]), text)


def hide_in_files(folder: Path) -> None:
    """Hide addresses in the YAML files of a folder, which others have written for us."""
    known = _known()
    for path in folder.rglob("*.yaml") if known else ():
        text = path.read_text(encoding="utf-8")
        for shown, address in known.items():
            text = text.replace(address, shown)
        path.write_text(text, encoding="utf-8")


def whole(source: str) -> str:
    """What was typed, where ``source`` is the public form of it."""
    return _known().get(source, source)


def _known() -> dict[str, str]:
    known: dict[str, str] = json.loads(os.environ.get(WHOLE) or "{}")
    return known


def _noted(address: str) -> str:
    shown = public(address)
    if shown == address or address.partition("://")[0].lower() not in ("http", "https"):
        return address
    os.environ[WHOLE] = json.dumps(_known() | {shown: address})
    return shown
