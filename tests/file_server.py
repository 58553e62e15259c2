"""A real HTTP server on this machine that misbehaves as it is told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file and how it is served.

    Attributes:
        data: the contents.
        etag: sent, and compared with ``If-Range``; None for a server that has no validators.
        content_type: header.
        statuses: answers before the file is served at last.
        drops: after how many bytes the connection of the next request closes; used up in order.
        ranges: whether ``Range`` is honoured.
        length: whether ``Content-Length`` is sent.
        pause: seconds between chunks of a tenth of the file.
        headers: further ones, of every answer.
        answer: status of the whole file's.
    """

    data: bytes
    etag: str | None = '"v1"'
    content_type: str = "application/octet-stream"
    statuses: list[int] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    ranges: bool = True
    length: bool = True
    pause: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    answer: int = 200


@dataclass
class FileServer:
    """Files and redirections by path, and what came.

    Attributes:
        requests: (path, Range, If-Range) of what was asked for.
        looks: paths of what was only asked about, by HEAD.
        logins: Authorization of either.
        missing: headers of the answer where there is nothing.
    """

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    redirections: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    bytes_sent: int = 0

    def serve(self, path: str, data: bytes, **options: object) -> str:
        """Serve ``data``; returns the URL."""
        self.files[path] = Served(data, **options)  # type: ignore[arg-type]
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        """Answer ``path`` with the address of another file; returns the URL."""
        self.redirections[path] = to
        return self.url + path

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request."""
        return [requested for _, requested, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    owner: FileServer

    def do_HEAD(self) -> None:
        self.owner.looks.append(self.path)
        self.answer()

    def do_GET(self) -> None:
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        self.owner.requests.append((self.path, wanted, condition))
        self.answer()

    def answer(self) -> None:
        owner = self.owner
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        owner.logins.append(self.headers["Authorization"])
        if to := owner.redirections.get(self.path):
            self.send_response(302)
            self.send_header("Location", to)
            self.send_header("ETag", '"of the redirection"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        file = owner.files.get(self.path)
        if file is None:
            self.send_response(404)
            for name, value in owner.missing.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if file.statuses and (status := file.statuses.pop(0)) != 200:
            return self.send_error(status)
        start = 0
        if wanted and file.ranges and (condition is None or condition == file.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            if start >= len(file.data):
                return self.send_error(416)
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {start}-{len(file.data) - 1}/{len(file.data)}"
            )
        else:
            self.send_response(file.answer)
        if file.length:
            self.send_header("Content-Length", str(len(file.data) - start))
        if file.etag:
            self.send_header("ETag", file.etag)
        self.send_header("Content-Type", file.content_type)
        for name, value in file.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        stop = file.drops.pop(0) if file.drops else len(file.data)
        step = max(1, len(file.data) // 10)
        for position in range(start, stop, step):
            chunk = file.data[position : min(position + step, stop)]
            try:
                self.wfile.write(chunk)
                self.wfile.flush()
            except OSError:  # the client is gone
                return None
            owner.bytes_sent += len(chunk)
            time.sleep(file.pause)
        self.close_connection = True
        return None

    def log_message(self, *args: object) -> None: ...


@contextmanager
def file_server() -> Iterator[FileServer]:
    owner = FileServer("")
    handler = type("Handler", (_Handler,), {"owner": owner})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    owner.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
