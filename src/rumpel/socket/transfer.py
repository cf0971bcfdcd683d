# SPDX-License-Identifier: GPL-2.0-only
"""How data goes through a socket."""

from __future__ import annotations

import socket as host
import struct
from collections.abc import Iterable
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from rumpel.socket.addresses import LONGEST, decode, encode
from rumpel.socket.messages import Header, address_size, from_size, pack_control, unpack_control
from rumpel.socket.waiting import Waiting

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from rumpel.socket.addresses import Names

__all__ = ["Transfer"]

_NONE: Any = object()  # None is refused where an integer is wanted


class Transfer(Waiting):
    """The base of sockets that sends and receives."""

    __slots__ = ()

    _names: ClassVar[Names]
    _c_recv: ClassVar[Any]
    _c_recv_into: ClassVar[Any]
    _c_send: ClassVar[Any]
    _c_sendmsg: ClassVar[Any]
    _c_recvmsg: ClassVar[Any]

    def _encode(self, address: Any) -> bytes:
        return encode(self._family, address, self._names)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive some bytes; none at the end."""
        if bufsize <= 0:
            if bufsize:
                raise ValueError("negative buffersize in recv")
            return b""  # the kernel would wait for data
        try:
            # Any, since the binding's callables return what their shape says.
            return self._c_recv(self._fd, bufsize, flags, None, None)  # type: ignore[no-any-return]
        except BlockingIOError:
            if not self._timeout:
                raise
        data: bytes = self._until(
            *(self._deadline(), self.READABLE, self._c_recv, self._fd, bufsize, flags, None, None)
        )
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into a buffer."""
        target = _part(buffer, nbytes, "recv_into")
        if not memoryview(target).nbytes:
            return 0
        count: int = self._when(
            self.READABLE, self._c_recv_into, self._fd, target, flags, None, None
        )
        return count

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive some bytes, and the sender's address."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        name = bytearray(LONGEST)
        size = address_size(name)
        data = self._when(self.READABLE, self._c_recv, self._fd, bufsize, flags, name, size)
        return data, decode(name, from_size(size), self._names, self._proto)

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a buffer: the number of bytes, and the sender's address."""
        target = _part(buffer, nbytes, "recvfrom_into")
        name = bytearray(LONGEST)
        size = address_size(name)
        count = self._when(self.READABLE, self._c_recv_into, self._fd, target, flags, name, size)
        return count, decode(name, from_size(size), self._names, self._proto)

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Send some bytes: how many were taken."""
        try:
            return self._c_send(self._fd, data, flags, None, 0)  # type: ignore[no-any-return]
        except BlockingIOError:
            if not self._timeout:
                raise
        count: int = self._until(
            *(self._deadline(), self.WRITABLE, self._c_send, self._fd, data, flags),
            *(None, 0),
        )
        return count

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """Send all bytes."""
        deadline = self._deadline()
        view = memoryview(data).cast("B")
        while True:
            count = self._until(
                deadline, self.WRITABLE, self._c_send, self._fd, view, flags, None, 0
            )
            if count >= len(view):
                return
            view = view[count:]

    def sendto(self, data: Buffer, *args: Any) -> int:
        """Send to an address: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        if not 1 <= len(args) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({len(args) + 1} given)")
        packed = self._encode(args[-1])
        flags = index(args[0]) if len(args) == 2 else 0
        count: int = self._when(
            self.WRITABLE, self._c_send, self._fd, data, flags, packed, len(packed)
        )
        return count

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[tuple[int, int, Buffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Send several buffers and control messages as one message."""
        packed = b"" if address is None else self._encode(address)
        header = Header(list(buffers), packed, pack_control(ancdata))
        count: int = self._when(self.WRITABLE, self._c_sendmsg, self._fd, header.data, flags)
        return count

    def sendmsg_afalg(
        self,
        msg: Iterable[Buffer] = (),
        *,
        op: int,
        iv: Buffer | None = None,
        assoclen: int = _NONE,
        flags: int = 0,
    ) -> int:
        """Send data to a cipher, with what it has to know: see :meth:`socket.sendmsg_afalg`.

        Source: Documentation/crypto/userspace-if.rst.
        """
        if self._family != host.AF_ALG:
            raise OSError("algset is only supported for AF_ALG")
        if op < 0:
            raise TypeError("invalid or missing argument 'op'")
        if assoclen is not _NONE and assoclen < 0:
            raise TypeError("assoclen must be positive")
        control: list[tuple[int, int, Buffer]] = [
            (host.SOL_ALG, host.ALG_SET_OP, struct.pack("=I", op))
        ]
        if iv is not None:
            raw = bytes(iv)
            control.append((host.SOL_ALG, host.ALG_SET_IV, struct.pack("=I", len(raw)) + raw))
        if assoclen is not _NONE:
            packed = struct.pack("=I", assoclen)
            control.append((host.SOL_ALG, host.ALG_SET_AEAD_ASSOCLEN, packed))
        return self.sendmsg(msg, control, flags)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """Receive a message: data, control messages, flags and the sender's address."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        buffer = bytearray(bufsize)
        count, control, seen, name = self.recvmsg_into([buffer], ancbufsize, flags)
        return bytes(buffer[:count]), control, seen, name

    def recvmsg_into(
        self, buffers: Iterable[Buffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        """The same into several buffers: the number of bytes comes first."""
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        name, control = bytearray(LONGEST), bytearray(ancbufsize)
        header = Header(list(buffers), name, control, writable=True)
        count = self._when(self.READABLE, self._c_recvmsg, self._fd, header.data, flags)
        messages = unpack_control(control[: header.control_size])
        address = decode(name, header.name_size, self._names, self._proto)
        return count, messages, header.flags, address


def _part(buffer: Buffer, nbytes: int, caller: str) -> Buffer:
    """As much of a buffer as is to be filled."""
    if nbytes < 0:
        raise ValueError(f"negative buffersize in {caller}")
    if not nbytes:
        return buffer
    view = memoryview(buffer).cast("B")
    if nbytes > len(view):
        raise ValueError("buffer too small for requested bytes")
    return view[:nbytes]
