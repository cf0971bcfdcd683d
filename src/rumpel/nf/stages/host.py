# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``host``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumpel.nf.routing import route
from rumpel.nf.stage import LEFT, Stage, StageError
from rumpel.options import Argument, IntRange, Option

if TYPE_CHECKING:
    from rumpel.devices import Nic
    from rumpel.kernel import Kernel
    from rumpel.nf.program import Program

PORT = IntRange(1, 65535)


class Host(Stage):
    """Be a host at the end of a chain: answer ping, and serve.

    --run runs any program of yours there, as rumpel run does: its sockets are those of a
    kernel with these addresses. The chain ends with it, or it is ended with the chain.

    \b
    Examples:
      rumpel nf chain 'tcp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7' < /etc/hostname
      rumpel nf chain 'host 10.0.0.1 --run "curl http://10.0.0.2/" | host 10.0.0.2 --http 80:.'
    """

    ports = (LEFT,)
    blocks = False
    params = (
        Argument("addresses", nargs=-1, required=True, metavar="ADDRESS..."),
        Option(
            "--echo", type=PORT, multiple=True, metavar="PORT", help="TCP and UDP: send it back."
        ),
        Option("--discard", type=PORT, multiple=True, metavar="PORT", help="TCP: count bytes."),
        Option("--http", metavar="PORT:DIRECTORY", help="Serve files of the host."),
        Option("--run", metavar="COMMAND", help="A program, as it is."),
        Option("--mptcp", is_flag=True, help="Take Multipath TCP, and say what became of it."),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._program: Program | None = None
        self._services: list[Callable[[], Coroutine[Any, Any, None]]] = []
        if options["run"] is None:
            return
        others = [name for name in ("echo", "discard", "http", "mptcp") if options[name]]
        if others:
            raise StageError(f"the program's kernel serves nothing: --run without --{others[0]}")
        from rumpel.nf.program import Program

        self._program = Program(options["run"], options["addresses"])
        # Where nobody is any more, nothing is to be done.
        self.needs_answers = True
        self.unfusable = "runs a program"

    def nics(self) -> dict[str, Nic]:
        """The program's network."""
        return {} if self._program is None else {"inside": self._program.connect()}

    def configure(self, k: Kernel) -> None:
        """Addresses, and a socket for each service."""
        if self._program is not None:
            # The program's kernel has them, and this one is the router before it.
            route(k, self.one_way, self.port, "inside")
            return
        for text in self.options.addresses:
            self.address(k, self.port, text)
        if not (self.options.echo or self.options.discard or self.options.http):
            return
        from rumpel.nf import services

        mptcp = self.options.mptcp
        for port in self.options.echo:
            streams = services.listen(k, port, mptcp=mptcp)
            datagrams = services.listen(k, port, datagrams=True)
            self._services.append(partial(services.accept, k, streams, services.echo))
            self._services.append(partial(services.echo_datagrams, k, datagrams))
        for port in self.options.discard:
            streams = services.listen(k, port, mptcp=mptcp)
            self._services.append(partial(services.accept, k, streams, services.discard))
        if self.options.http:
            port, directory = _port_and_directory(self.options.http)
            streams = services.listen(k, port, mptcp=mptcp)
            self._services.append(partial(services.accept, k, streams, services.http(directory)))

    def run(self, k: Kernel) -> Coroutine[Any, Any, int] | None:
        """Run the program."""
        return None if self._program is None else self._program.run(self.linux)

    def left_alone(self) -> int:
        """The chain ends, and so does the program."""
        return 0

    def serve(self, k: Kernel) -> list[Coroutine[Any, Any, None]]:
        """The services."""
        return [service() for service in self._services]

    def end(self, k: Kernel) -> None:
        """What became of Multipath TCP, and of the program."""
        if self._program is not None:
            self._program.end()
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
