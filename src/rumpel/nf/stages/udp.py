# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``udp``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from rumpel.nf.stage import LEFT, RIGHT
from rumpel.nf.stages.client import Client
from rumpel.options import FloatRange, IntRange, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel


class Udp(Client):
    """Send what standard input has in datagrams, and write the answers to standard error.

    UDP has no end: it waits for answers until none came for --wait seconds. Without a way
    back (a plain pipe) there are none.

    \b
    Examples:
      echo hello | rumpel nf chain 'udp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7'
      rumpel nf udp 10.0.0.2 53 --input query | rumpel nf filter 'udp dport 53 drop'
    """

    devices = (LEFT, RIGHT)
    params = (
        *Client.params,
        Option("--size", type=IntRange(1, 65507), default=1024, help="Of a datagram."),
        Option(
            "--wait", "-W", type=FloatRange(0), default=1.0, help="Seconds of silence at the end."
        ),
    )

    async def run(self, k: Kernel) -> int:
        """Send all, then wait."""
        family = k.socket.AF_INET6 if ":" in self.there[0] else k.socket.AF_INET
        with k.socket.socket(family, k.socket.SOCK_DGRAM) as sock:
            sock.connect(self.there)
            self._heard = k.clock.now
            receiver = asyncio.ensure_future(self._receive(k, sock))
            code = 0
            try:
                async for data in self.chunks(k, self.options.size):
                    await k.aio.sock_sendall(sock, data)
                    self._heard = k.clock.now
            except OSError as error:
                print(f"rumpel nf udp: {error}", file=sys.stderr)
                code = 1
            while self.port not in self.one_way:
                left = self._heard + self.options.wait - k.clock.now
                if left <= 0 or receiver.done():
                    break
                await asyncio.wait([receiver], timeout=left)
            receiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                code = await receiver
        return code

    async def _receive(self, k: Kernel, sock: Any) -> int:
        """As long as it is not cancelled, or nobody is there."""
        try:
            while True:
                self.write(await k.aio.sock_recv(sock, 65536))
                self._heard = k.clock.now
        except OSError as error:
            print(f"rumpel nf udp: {error}", file=sys.stderr)
            return 1
