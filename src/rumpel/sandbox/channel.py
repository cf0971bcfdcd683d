# SPDX-License-Identifier: GPL-2.0-only
"""Messages between a program and a kernel in a sandbox.

A message is JSON, which says nothing but what it says however hostile its sender, and bytes
that belong to it. Small messages are gathered and sent together; :meth:`Channel.flush` is
called before anybody waits for an answer.
"""

from __future__ import annotations

import json
import select
import struct
from typing import TYPE_CHECKING, Any

from rumpel.errors import SandboxError

if TYPE_CHECKING:
    # Not socket, which takes long to import.
    from _socket import socket

__all__ = ["Channel", "Silence", "encode"]

_HEAD = struct.Struct("<II")
_GATHER = 256 << 10
_MOST = 64 << 20
"""No message has more bytes: a length above is damage or malice."""
_MOST_HEAD = 1 << 20
"""JSON becomes up to 25 times as long in memory."""

_LARGE, _LITTLE = 64 << 10, 4 << 10
"""Of bytes that belong to a message: from how many on they are received where they stay, and how
much is received ahead when such are expected."""

_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def encode(message: Any) -> bytes:
    """Make JSON.

    Raises:
        TypeError: of what JSON has not; then nothing was said yet.
    """
    return _encode(message).encode()


class Silence(Exception):
    """The other end has neither sent nor taken anything for too long."""


class Channel:
    """One end of a connection; for one thread at a time.

    If the other end is gone all raise EOFError, and if it is silent for longer than the
    connection's timeout :class:`Silence`: neither can be taken for what a system call says.

    Args:
        connection: a stream.

    Example:
        >>> import socket
        >>> a, b = (Channel(end) for end in socket.socketpair())
        >>> a.send(["hello", 1], b"bytes")
        >>> a.flush()
        >>> b.receive()
        (['hello', 1], b'bytes')
        >>> a.close(), b.close()
        (None, None)
    """

    def __init__(self, connection: socket) -> None:
        self._connection = connection
        self._out: list[Any] = []
        self._gathered = 0
        self._in = bytearray(_GATHER)
        self._start = self._end = 0
        self._ahead = _GATHER
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def send(self, message: Any, data: Any = b"") -> None:
        """Send a message, by and by.

        Args:
            message: anything that JSON has.
            data: bytes; they must not change until the next :meth:`flush`.
        """
        self.put(encode(message), data)

    def put(self, head: bytes, data: Any = b"") -> bool:
        """Send a message that is JSON already; whether anything was handed over.

        Any exception may leave half a message behind: then nothing more can be said.
        """
        size = len(data)
        self._out.append(_HEAD.pack(len(head), size) + head)
        if size:
            self._out.append(data)
        self._gathered += size + len(head)
        if self._gathered >= _GATHER or len(self._out) > 500:
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Send what was gathered."""
        out, self._out, self._gathered = self._out, [], 0
        if not out:
            return
        try:
            sent = self._connection.sendmsg(out)
            for piece in out:
                size = len(piece)
                if sent < size:
                    self._connection.sendall(memoryview(piece)[sent:])
                sent = max(0, sent - size)
        except TimeoutError as error:
            raise Silence from error
        except OSError as error:
            raise EOFError from error

    def receive(self) -> tuple[Any, bytes | bytearray]:
        """Wait for a message.

        Raises:
            EOFError: if the other end is gone.
            Silence: if there is none in time.
            SandboxError: if this is no message.
        """
        head, size = _HEAD.unpack(self._take(_HEAD.size))
        if head > _MOST_HEAD or size > _MOST:
            raise SandboxError("a sandbox sends nonsense")
        try:
            text = self._take(head).decode()
            message, end = _scan(text, 0)
        except (ValueError, RecursionError, StopIteration) as error:
            raise SandboxError("a sandbox sends nonsense") from error
        if end != len(text):
            raise SandboxError("a sandbox sends nonsense")
        self._ahead = _LITTLE if size > _LARGE else _GATHER
        return message, self._take(size) if size else b""

    def _take(self, size: int) -> bytes | bytearray:
        """Exactly so many bytes."""
        have = self._end - self._start
        if have < size:
            return self._fill(have, size)
        self._start += size
        return bytes(memoryview(self._in)[self._start - size : self._start])

    def _fill(self, have: int, size: int) -> bytes | bytearray:
        if size > _LARGE:
            return self._large(have, size)
        view = memoryview(self._in)
        view[:have] = view[self._start : self._end]
        while have < size:
            have += self._into(view[have : max(size, self._ahead)])
        self._start, self._end = size, have
        return bytes(view[:size])

    def _large(self, have: int, size: int) -> bytearray:
        whole = bytearray(size)
        view = memoryview(whole)
        view[:have] = memoryview(self._in)[self._start : self._end]
        self._start = self._end = 0
        while have < size:
            have += self._into(view[have:])
        return whole

    def _into(self, view: memoryview) -> int:
        try:
            count = self._connection.recv_into(view)
        except TimeoutError as error:
            raise Silence from error
        except OSError as error:
            raise EOFError from error
        if not count:
            raise EOFError
        return count

    def waiting(self) -> bool:
        """Has the other end said anything that was not received, or hung up?"""
        if self._end > self._start:
            return True
        return bool(self._poll.poll(0))

    def patience(self, seconds: float | None) -> None:
        """How long to wait for more of the other end before :exc:`TimeoutError`."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
