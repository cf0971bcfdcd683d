# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``host``."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rumpel.nf.stage import LEFT, Option, Stage, StageError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

PORT = click.IntRange(1, 65535)


class Host(Stage):
    """Be a host at the end of a chain: answer ping, and serve.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7' < /etc/hostname
    """

    ports = (LEFT,)
    params = (
        click.Argument(["addresses"], nargs=-1, required=True, metavar="ADDRESS..."),
        Option(
            "--echo", type=PORT, multiple=True, metavar="PORT", help="TCP and UDP: send it back."
        ),
        Option("--discard", type=PORT, multiple=True, metavar="PORT", help="TCP: count bytes."),
        Option("--http", metavar="PORT:DIRECTORY", help="Serve files of the host."),
        Option("--mptcp", is_flag=True, help="Take Multipath TCP, and say what became of it."),
    )

    def configure(self, k: Kernel) -> None:
        """Addresses, and a socket for each service."""
        for text in self.options.addresses:
            self.address(k, self.port, text)
        self._services: list[Coroutine[Any, Any, None]] = []
        if not (self.options.echo or self.options.discard or self.options.http):
            return
        from rumpel.nf import services

        mptcp = self.options.mptcp
        for port in self.options.echo:
            streams = services.listen(k, port, mptcp=mptcp)
            datagrams = services.listen(k, port, datagrams=True)
            self._services.append(services.accept(k, streams, services.echo))
            self._services.append(services.echo_datagrams(k, datagrams))
        for port in self.options.discard:
            streams = services.listen(k, port, mptcp=mptcp)
            self._services.append(services.accept(k, streams, services.discard))
        if self.options.http:
            port, directory = _port_and_directory(self.options.http)
            streams = services.listen(k, port, mptcp=mptcp)
            self._services.append(services.accept(k, streams, services.http(directory)))

    def serve(self, k: Kernel) -> list[Coroutine[Any, Any, None]]:
        """The services."""
        return self._services

    def end(self, k: Kernel) -> None:
        """What became of Multipath TCP."""
        if self.options.mptcp:
            from rumpel.nf.mptcp import counters

            found = ", ".join(f"{name} {value}" for name, value in counters(k).items())
            print(f"MPTCP: {found or 'not asked for'}", file=sys.stderr)


def _port_and_directory(text: str) -> tuple[int, str]:
    port, _, directory = text.partition(":")
    is_port = port.isdecimal() and 0 < int(port) < 65536
    if not is_port or not directory or not Path(directory).is_dir():
        raise StageError(f"not a port and a directory: {text!r} (write 80:/usr/share/doc)")
    return int(port), directory
