"""A hub on this machine: what of its protocol a dataset needs that is pushed and pulled.

It keeps the files of every commit, small ones from the commit itself and large ones by way of LFS,
asks for a login where it writes, and hands everything out to everybody.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_a_test"


@dataclass
class Hub:
    """What is there, and what was asked.

    Attributes:
        url: of the server.
        states: repository to its commits, the newest last: path to contents.
        private: repositories that were made for one user alone.
        asked: method and path of every request.
    """

    url: str = ""
    states: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, repository: str, files: dict[str, bytes]) -> None:
        """A state with these files beside those before."""
        states = self.states.setdefault(repository, [{}])
        states.append(states[-1] | files)


def commit_id(number: int) -> str:
    return f"{number:040x}"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def answer(self, status: int, data: Any = None, **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data or {}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_POST(self) -> None:
        hub, sent = self.hub, self.body()
        hub.asked.append(f"POST {self.path}")
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            return self.create(json.loads(sent))
        found = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/.]+)(.*)", self.path)
        if found is None or found[1] not in hub.states:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if found[2].startswith("/preupload/main"):
            files = [
                {"path": one["path"], "shouldIgnore": False, "oid": None, "uploadMode": mode}
                for one in json.loads(sent)["files"]
                for mode in ["lfs" if one["path"].endswith(".zip") else "regular"]
            ]
            return self.answer(200, {"files": files})
        if found[2] == ".git/info/lfs/objects/batch":
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}
                for one in json.loads(sent)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if found[2].startswith("/commit/main"):
            return self.take(found[1], sent)
        return self.answer(404)

    def create(self, asked: dict[str, Any]) -> None:
        assert asked["type"] == "dataset"
        name = asked.get("name", "")
        name = f"{asked['organization']}/{name}" if asked.get("organization") else name
        if name.startswith("somebody/"):
            return self.answer(403, {"error": "You don't have the rights"})
        known = name in self.hub.states
        self.hub.states.setdefault(name, [{}])
        if asked.get("private") or asked.get("visibility") == "private":  # by its older, newer API
            self.hub.private.add(name)
        return self.answer(409 if known else 200, {"url": f"{self.hub.url}/datasets/{name}"})

    def take(self, name: str, sent: bytes) -> None:
        files = {}
        for line in map(json.loads, sent.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        self.hub.commit(name, files)
        made = commit_id(len(self.hub.states[name]) - 1)
        url = f"{self.hub.url}/datasets/{name}/commit/{made}"
        self.answer(200, {"success": True, "commitOid": made, "commitUrl": url})

    def do_PUT(self) -> None:
        sent = self.body()
        digest = hashlib.sha256(sent).hexdigest()
        self.hub.asked.append(f"PUT {self.path}")
        assert self.path == f"/lfs/{digest}"
        self.hub.stored[digest] = sent
        self.answer(200)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        states = self.hub.states.get(found[1]) if found else None
        if found is None or states is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        newest = len(states) - 1
        number = newest if found[2] == "main" else int(found[2], 16)
        data = states[number].get(found[3])
        if data is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit_id(number))
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return self.answer(200, data, ETag=etag, X_Repo_Commit=commit_id(number))

    def log_message(self, *args: object) -> None: ...


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
