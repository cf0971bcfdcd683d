# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tcp``."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from rumpel.errors import KernelClosed
from rumpel.nf.stage import RIGHT, Option, Stage, StageError
from rumpel.nf.stages.ping import near

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_CHUNK = 1 << 18


class Tcp(Stage):
    """Send what standard input has over TCP, and write the answer to standard error.

    It needs a way back: a chain, or named pipes.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7' < /etc/hostname
    """

    ports = (RIGHT,)
    params = (
        click.Argument(["host"]),
        click.Argument(["port"], type=click.IntRange(1, 65535)),
        Option("--input", metavar="FILE", help="What is sent.  [default: standard input]"),
        Option("--output", metavar="FILE", help="The answer.  [default: standard error]"),
        Option("--address", metavar="ADDRESS", help="Our own.  [default: one near by]"),
        Option("--mptcp", is_flag=True, help="Offer Multipath TCP."),
        Option("--timeout", type=float, default=10.0, help="Seconds to connect within."),
    )

    def configure(self, k: Kernel) -> None:
        """An address, and everybody behind the port."""
        if self.port in self.one_way:
            raise StageError("TCP needs a way back: use a chain, or --return with a named pipe")
        try:
            own = self.options.address or near(self.options.host)
        except ValueError as error:
            raise StageError(str(error)) from None
        self.address(k, self.port, own)
        self._input, self._output = 0, 2
        try:
            if self.options.input is not None:
                self._input = os.open(self.options.input, os.O_RDONLY | os.O_CLOEXEC)
            if self.options.output is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._output = os.open(self.options.output, flags, 0o666)
        except OSError as error:
            raise StageError(str(error)) from None

    def run(self, k: Kernel) -> int:
        """Connect, send and receive."""
        there = self.options.host, self.options.port
        family = k.socket.AF_INET6 if ":" in there[0] else k.socket.AF_INET
        protocol = k.socket.IPPROTO_MPTCP if self.options.mptcp else 0
        with k.socket.socket(family, k.socket.SOCK_STREAM, protocol) as sock:
            sock.settimeout(self.options.timeout)
            try:
                sock.connect(there)
            except OSError as error:
                print(f"rumpel nf tcp: {there[0]} port {there[1]}: {error}", file=sys.stderr)
                return 1
            sock.settimeout(None)
            receiver = threading.Thread(target=_receive, args=(sock, self._output), daemon=True)
            receiver.start()
            try:
                while data := os.read(self._input, _CHUNK):
                    sock.sendall(data)
                sock.shutdown(k.socket.SHUT_WR)
            except OSError as error:
                print(f"rumpel nf tcp: {error}", file=sys.stderr)
                return 1
            receiver.join()
        return 0


def _receive(sock: Any, output: int) -> None:
    with contextlib.suppress(KernelClosed, OSError):
        while data := sock.recv(_CHUNK):
            while data:
                data = data[os.write(output, data) :]
