# SPDX-License-Identifier: GPL-2.0-only
"""Messages between a program and a kernel in a sandbox.

A message is JSON, which says nothing but what it says however hostile its sender, and bytes
that belong to it. Small messages are gathered and sent together; :meth:`Channel.flush` is
called before anybody waits for an answer. Bytes go through the socket, or through memory that
both ends have (:mod:`rumpel.sandbox.area`).
"""

from __future__ import annotations

import _struct as struct
import select
from _json import encode_basestring_ascii, make_encoder, make_scanner

from rumpel.errors import SandboxError
from rumpel.sandbox.area import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Not socket, which takes long to import.
    from _socket import socket
    from typing import Any

    from rumpel.sandbox.area import Area

__all__ = ["Channel", "Silence", "encode"]

_HEAD = struct.Struct("<III")
"""Sizes of the JSON and of the bytes, and where these are: 0 is behind the JSON, else one more
than their offset in the area. Without JSON it is no message: so many pieces of the area are
free."""
_GATHER = 256 << 10
_MOST = 64 << 20
"""No message has more bytes: a length above is damage or malice."""
_MOST_HEAD = 1 << 20
"""JSON becomes up to 25 times as long in memory."""

_LARGE, _LITTLE = 64 << 10, 4 << 10
"""Of bytes that belong to a message: from how many on they are received where they stay, and how
much is received ahead when such are expected."""
_SHORT = 512
"""Up to so many bytes go through the socket, unless they are in the area already."""


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _Reading:
    """What json's JSONDecoder tells the scanner."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int


# What json is made of: itself it brings re and enum, which take longer than all else here.
_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
_scan = make_scanner(_Reading)  # type: ignore[arg-type]


def encode(message: Any) -> bytes:
    """Make JSON.

    Raises:
        TypeError: of what JSON has not; then nothing was said yet.
    """
    return "".join(_encode(message, 0)).encode()


class Silence(Exception):
    """The other end has neither sent nor taken anything for too long."""


class Channel:
    """One end of a connection; for one thread at a time.

    If the other end is gone all raise EOFError, and if it is silent for longer than the
    connection's timeout :class:`Silence`: neither can be taken for what a system call says.

    Args:
        connection: a stream.
        area: for data; without one all goes through the stream.

    Attributes:
        is_torn: an exception came in the middle of a message: nothing more can be received.

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

    def __init__(self, connection: socket, area: Area | None = None) -> None:
        self._connection = connection
        self._area = area
        self._at = 0
        self._lent: int | None = None
        self.is_torn = False
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
        place = self._placed(data, size) if size and self._area else 0
        self._out.append(_HEAD.pack(len(head), size, place) + head)
        if size and not place:
            self._out.append(data)
        self._gathered += size + len(head)
        if self._gathered >= _GATHER or len(self._out) > 500:
            self.flush()
            return True
        return False

    def room(self, size: int) -> memoryview | None:
        """Room for bytes that will be sent next, so that they need not be copied.

        What is sent then is its beginning, which may be as long as it likes; if nothing is, the
        next room is the same. This waits until the other end is done with what was sent before.

        Returns:
            None if there is none: there is no area, the piece would be too long, or the other end
            says something.
        """
        area = self._area
        if area is None or not 0 < size <= PIECE:
            return None
        while (at := area.ring.place(size)) is None:
            self.flush()
            self.is_torn = True
            is_free = self._hear(once=True)
            self.is_torn = False
            if not is_free:
                return None
        self._at = at
        return area.ours(at, size)

    def _placed(self, data: Any, size: int) -> int:
        """Have data in the area, if there is room."""
        area = self._area
        assert area
        if not area.is_ours(data):
            room = self.room(size) if size > _SHORT else None
            if room is None:
                return 0
            room[:] = memoryview(data).cast("B")
        area.ring.keep(self._at, size)
        return self._at + 1

    def flush(self) -> None:
        """Send what was gathered."""
        out, self._out, self._gathered = self._out, [], 0
        area = self._area
        if area and (out or area.is_due) and (count := area.told()):
            out.insert(0, _HEAD.pack(0, 0, count))
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

    def receive(self, lend: bool = False) -> tuple[Any, bytes | bytearray | memoryview]:
        """Wait for a message.

        Args:
            lend: bytes in the area stay there, until the next message is received. They may
                change meanwhile: that is for who only passes them on.

        Raises:
            EOFError: if the other end is gone.
            Silence: if there is none in time.
            SandboxError: if this is no message.
        """
        self._give_back()
        while not self._hear():
            pass
        head, size, place = _HEAD.unpack(self._take(_HEAD.size))
        if head > _MOST_HEAD or size > _MOST:
            raise SandboxError("a sandbox sends nonsense")
        try:
            text = self._take(head).decode()
            message, end = _scan(text, 0)
        except (ValueError, RecursionError, StopIteration) as error:
            raise SandboxError("a sandbox sends nonsense") from error
        if end != len(text):
            raise SandboxError("a sandbox sends nonsense")
        if place:
            return message, self._shared(place - 1, size, lend)
        self._ahead = _LITTLE if size > _LARGE else _GATHER
        return message, self._take(size) if size else b""

    def _shared(self, at: int, size: int, lend: bool) -> bytes | memoryview:
        """Bytes that are in the area."""
        piece = self._area.theirs(at, size) if self._area else None
        if piece is None:
            raise SandboxError("a sandbox sends nonsense")
        self._lent = size
        if lend:
            return piece
        copy = bytes(piece)
        self._give_back()
        return copy

    def _give_back(self) -> None:
        """Nobody looks at what was received last any more."""
        area, size = self._area, self._lent
        if area is None or size is None:
            return
        self._lent = None
        area.done(size)
        if area.is_due:
            self.flush()

    def _hear(self, once: bool = False) -> bool:
        """Have the beginning of a message here; what is none is heard.

        Args:
            once: come back as soon as anything was heard.

        Returns:
            Is it that of a message? With ``once``: has something become free?
        """
        self._ensure(_HEAD.size)
        head, size, count = _HEAD.unpack_from(self._in, self._start)
        if head:
            return not once
        self._start += _HEAD.size
        if size or not count or not self._area or not self._area.ring.free(count):
            raise SandboxError("a sandbox sends nonsense")
        return once

    def _take(self, size: int) -> bytes | bytearray:
        """Exactly so many bytes."""
        have = self._end - self._start
        if have < size:
            if size > _LARGE:
                return self._large(have, size)
            self._ensure(size)
        self._start += size
        return bytes(memoryview(self._in)[self._start - size : self._start])

    def _ensure(self, size: int) -> None:
        """Have at least so many bytes, which are no more than there is room for."""
        have = self._end - self._start
        if have >= size:
            return
        view = memoryview(self._in)
        view[:have] = view[self._start : self._end]
        self._start, self._end = 0, have
        while self._end < size:
            self._end += self._into(view[self._end : max(size, self._ahead)])

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
        while self._end > self._start or self._poll.poll(0):
            try:
                if self._hear():
                    return True
            except EOFError:
                return True
        return False

    def patience(self, seconds: float | None) -> None:
        """How long to wait for more of the other end before :exc:`TimeoutError`."""
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
