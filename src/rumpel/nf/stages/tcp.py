# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``tcp``."""

from __future__ import annotations

import asyncio
import math
import struct
import sys
from typing import TYPE_CHECKING, Any

from rumpel.nf.mptcp import IPPROTO_MPTCP, acknowledged, outcome
from rumpel.nf.stage import StageError
from rumpel.nf.stages.client import Client
from rumpel.options import FloatRange, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

_CHUNK = 1 << 18
_PIECE = 1 << 20
"""What is sent at once: Python costs more than the copy."""
_INFO = struct.Struct("=B 23x I 92x Q 16x I")
"""Of struct tcp_info: tcpi_state, tcpi_unacked, tcpi_bytes_acked, tcpi_notsent_bytes."""
_TCP_CLOSE = 7
_LOOK, _PAUSE = 0.001, 0.05
"""Seconds between two looks at what is acknowledged: at first, and at most."""
_IDLE = 1.0
"""Seconds in which nothing is under way, though something should be."""


class Tcp(Client):
    """Send what standard input has over TCP, and write the answer to standard error.

    It needs a way back: a chain, or named pipes. With --mptcp it says what became of the
    offer: how many subflows there are, or that the connection fell back to TCP.

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 7 | nat | host 10.0.0.2 --echo 7' < /etc/hostname
    """

    needs_answers = True
    params = (
        *Client.params,
        Option("--mptcp", is_flag=True, help="Offer Multipath TCP."),
        Option(
            "--checksums",
            is_flag=True,
            help="With MPTCP's own checksums: boxes that change data are noticed.",
        ),
        Option(
            "--timeout",
            type=FloatRange(0, min_open=True),
            default=10.0,
            help="Seconds to connect within.",
        ),
    )

    def configure(self, k: Kernel) -> None:
        """See Client."""
        if self.port in self.one_way:
            raise StageError("TCP needs a way back: use a chain, or --return with a named pipe")
        if self.options.checksums and not self.options.mptcp:
            raise StageError("the checksums are those of MPTCP: --checksums with --mptcp")
        super().configure(k)
        if self.options.mptcp:
            # Others than the last subflow may come for so long.
            k.sysctl["net.mptcp.close_timeout"] = str(math.ceil(self.options.timeout))
            k.sysctl["net.mptcp.checksum_enabled"] = str(int(self.options.checksums))

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
            sent, lost = 0, ""
            try:
                async for data in self.chunks(k, _PIECE):
                    lost = await self._send(k, sock, data, receiver)
                    if lost:
                        return self._fail(lost)
                    sent += len(data)
                lost = await self._arrived(k, sock, sent, receiver)
                sock.shutdown(k.socket.SHUT_WR)
            except OSError as error:
                return self._fail(lost or str(error))
            failed = await receiver or lost
            if self.options.mptcp:
                print(f"MPTCP: {outcome(k, sock)}", file=sys.stderr)
        return self._fail(failed) if failed else 0

    def left_alone(self) -> int:
        """The chain has ended before the connection."""
        return self._fail("nobody is there any more")

    async def _send(self, k: Kernel, sock: Any, data: bytes, receiver: asyncio.Task[str]) -> str:
        """Send all of it. Says what is wrong if that will never be done.

        An MPTCP socket that has been closed takes nothing more, and does not say so: once the
        answer has ended, it has the timeout to go on.
        """
        sending = asyncio.ensure_future(k.aio.sock_sendall(sock, data))
        got, idle = 0, False
        while self.options.mptcp and not sending.done():
            await asyncio.wait([sending], timeout=max(_IDLE, self.options.timeout))
            before, got = got, acknowledged(sock) or 0
            # Behind the first look there may have been an answer until just now.
            if idle and got == before and not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
                return (
                    f"the connection was cut off: the other end has {got} bytes, and takes no more"
                )
            idle = receiver.done() and acknowledged(sock) is not None
        await sending
        return ""

    async def _arrived(self, k: Kernel, sock: Any, sent: int, receiver: asyncio.Task[str]) -> str:
        """Wait until the other end has all that was sent. Says what is wrong if it never will.

        It has to be known before the connection is closed: an MPTCP socket that falls back
        while it sends may forget what it has not sent yet (Linux 6.12 does, 7.2 does not).
        """
        idle, pause, before = 0.0, _LOOK, 0
        while not (receiver.done() and receiver.result()):
            got = acknowledged(sock) if self.options.mptcp else None
            closed, patience = False, _IDLE
            if got is None:
                info = sock.getsockopt(k.socket.IPPROTO_TCP, k.socket.TCP_INFO, _INFO.size)
                state, unacknowledged, got, unsent = _INFO.unpack(info)
                got -= 1  # the SYN
                waiting = unacknowledged + unsent > 0
                # Of what was not sent before a reset it still says so.
                closed = state == _TCP_CLOSE
            else:
                # Whether anything is under way, only its subflows know, which may come and go.
                waiting = got > before or not receiver.done()
                patience, before = max(_IDLE, self.options.timeout), got
            if got >= sent:
                return ""
            if closed or (not waiting and idle > patience):
                return f"the connection was cut off: the other end has {got} bytes of {sent}"
            await asyncio.sleep(pause)
            idle = 0.0 if waiting else idle + pause
            pause = min(2 * pause, _PAUSE)
        return ""

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
