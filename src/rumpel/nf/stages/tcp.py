# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tcp``."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from rumpel.nf.mptcp import IPPROTO_MPTCP, outcome
from rumpel.nf.stage import Option, StageError
from rumpel.nf.stages.client import Client

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_CHUNK = 1 << 18


class Tcp(Client):
    """Send what standard input has over TCP, and write the answer to standard error.

    It needs a way back: a chain, or named pipes. With --mptcp it says what became of the
    offer: how many subflows there are, or that the connection fell back to TCP.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7' < /etc/hostname
    """

    params = (
        *Client.params,
        Option("--mptcp", is_flag=True, help="Offer Multipath TCP."),
        Option("--timeout", type=float, default=10.0, help="Seconds to connect within."),
    )

    def configure(self, k: Kernel) -> None:
        """See Client."""
        if self.port in self.one_way:
            raise StageError("TCP needs a way back: use a chain, or --return with a named pipe")
        super().configure(k)

    async def run(self, k: Kernel) -> int:
        """Connect, send and receive."""
        family = k.socket.AF_INET6 if ":" in self.there[0] else k.socket.AF_INET
        protocol = IPPROTO_MPTCP if self.options.mptcp else 0
        with k.socket.socket(family, k.socket.SOCK_STREAM, protocol) as sock:
            try:
                connecting = k.aio.sock_connect(sock, self.there)
                await asyncio.wait_for(connecting, self.options.timeout)
            except OSError as error:
                return self._fail(
                    f"{self.there[0]} port {self.there[1]}: {str(error) or 'timed out'}"
                )
            receiver = asyncio.ensure_future(self._receive(k, sock))
            try:
                async for data in self.chunks(k, _CHUNK):
                    await k.aio.sock_sendall(sock, data)
                sock.shutdown(k.socket.SHUT_WR)
            except OSError as error:
                return self._fail(str(error))
            failed = await receiver
            if self.options.mptcp:
                print(f"MPTCP: {outcome(k, sock)}", file=sys.stderr)
        return self._fail(failed) if failed else 0

    async def _receive(self, k: Kernel, sock: Any) -> str:
        """Until the end. Says what was wrong."""
        try:
            while data := await k.aio.sock_recv(sock, _CHUNK):
                self.write(data)
        except OSError as error:
            return str(error)
        return ""

    def _fail(self, why: str) -> int:
        print(f"rumpel nf tcp: {why}", file=sys.stderr)
        return 1
