# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``host``."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rumpel.errors import KernelClosed
from rumpel.nf.stage import LEFT, Option, Stage, StageError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_CHUNK = 1 << 18
PORT = click.IntRange(1, 65535)


class Host(Stage):
    """Be a host at the end of a chain: answer ping, and serve.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 7 < /etc/hostname | nat | host 10.0.0.2 --echo 7'
    """

    ports = (LEFT,)
    params = (
        click.Argument(["addresses"], nargs=-1, required=True, metavar="ADDRESS..."),
        Option(
            "--echo", type=PORT, multiple=True, metavar="PORT", help="TCP and UDP: send it back."
        ),
        Option("--discard", type=PORT, multiple=True, metavar="PORT", help="TCP: count bytes."),
        Option("--http", metavar="PORT:DIRECTORY", help="Serve files of the host."),
    )

    def configure(self, k: Kernel) -> None:
        """Addresses, and a thread for each service."""
        for text in self.options.addresses:
            self.address(k, self.port, text)
        for port in self.options.echo:
            _start(_accept, _listen(k, port), _echo)
            _start(_echo_datagrams, _bind(k, port))
        for port in self.options.discard:
            _start(_accept, _listen(k, port), partial(_discard, k))
        if self.options.http:
            _start(_http(k, self.options.http).serve_forever)


def _start(function: Callable[..., object], *args: Any) -> None:
    def run() -> None:
        # When the kernel goes, so do they.
        with contextlib.suppress(KernelClosed, OSError):
            function(*args)

    threading.Thread(target=run, daemon=True).start()


def _listen(k: Kernel, port: int) -> Any:
    return k.socket.create_server(("::", port), family=k.socket.AF_INET6, dualstack_ipv6=True)


def _bind(k: Kernel, port: int) -> Any:
    sock = k.socket.socket(k.socket.AF_INET6, k.socket.SOCK_DGRAM)
    sock.setsockopt(k.socket.IPPROTO_IPV6, k.socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    return sock


def _accept(server: Any, serve: Callable[[Any], None]) -> None:
    with server:
        while True:
            _start(serve, server.accept()[0])


def _echo(sock: Any) -> None:
    with sock:
        while data := sock.recv(_CHUNK):
            sock.sendall(data)


def _echo_datagrams(sock: Any) -> None:
    with sock:
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


def _discard(k: Kernel, sock: Any) -> None:
    count, start = 0, k.clock.now
    buffer = bytearray(_CHUNK)
    with sock:
        while got := sock.recv_into(buffer):
            count += got
        took = k.clock.now - start
    rate = count / took / 1e6 if took else 0.0
    print(f"{count} bytes in {took:.3f} s: {rate:.1f} MB/s", file=sys.stderr)


def _http(k: Kernel, where: str) -> Any:
    from http.server import SimpleHTTPRequestHandler

    port, _, directory = where.partition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536 or not Path(directory).is_dir():
        raise StageError(f"not a port and a directory: {where!r} (write 80:/usr/share/doc)")
    handler = partial(SimpleHTTPRequestHandler, directory=directory)
    return k.import_module("socketserver").ThreadingTCPServer(("0.0.0.0", int(port)), handler)
