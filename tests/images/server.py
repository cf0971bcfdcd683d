# SPDX-License-Identifier: GPL-2.0-only
"""A web server that has files in parts, and counts what it sends."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Server(http.server.ThreadingHTTPServer):
    """Serves bytes by name.

    Attributes:
        files: what it has.
        sent: bytes of contents so far.
        ranges: does it send parts?
        failing: does it answer 500?
    """

    daemon_threads = True

    def __init__(self, ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.sent = 0
        self.ranges = ranges
        self.failing = False

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    @property
    def _name(self) -> str:
        return self.path.partition("?")[0]

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        data = self.server.files.get(self._name, b"")
        asked = self.headers.get("Range", "") if self.server.ranges else ""
        if not asked:
            self._answer(data)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        where = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._answer(part, 206, where)

    def _answer(self, body: bytes, status: int = 200, where: str = "") -> None:
        data = self.server.files.get(self._name)
        if data is None or self.server.failing:
            self.send_response(500 if data is not None else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(status)
        size = len(body) if body or self.command == "GET" else len(data)
        self.send_header("Content-Length", str(size))
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if where:
            self.send_header("Content-Range", where)
        self.end_headers()
        self.server.sent += len(body)
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving(ranges: bool = True) -> Iterator[Server]:
    """A server on a port of its own."""
    server = Server(ranges)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
