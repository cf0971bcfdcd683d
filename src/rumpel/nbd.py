# SPDX-License-Identifier: GPL-2.0-only
"""Network Block Device: the handshake of a client, and a server for what Python has.

The kernel's requests are the runtime's affair (:class:`rumpel.NbdDisk`).

Source: NetworkBlockDevice/nbd, doc/proto.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rumpel.errors import DeviceError

if TYPE_CHECKING:
    # Not socket, which takes long to import.
    from _socket import socket

__all__ = ["READ_ONLY", "flags_of", "greet", "handshake", "serve"]

HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_TRIM, SEND_ZEROES = 1, 2, 4, 32, 64
"""Transmission flags."""

_READ, _WRITE, _DISCONNECT, _FLUSH, _TRIM, _ZERO = 0, 1, 2, 3, 4, 6
_EXPORT_NAME, _ABORT, _GO = 1, 2, 7
_ACK, _INFO, _UNSUPPORTED = 1, 3, 0x80000001
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_HELLO = struct.Struct(">8s8sH")
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_EXPORT = struct.Struct(">QH")
_REQUEST = struct.Struct(">IHH8sQI")
_REPLY = struct.Struct(">II8s")
_REQUEST_MAGIC, _REPLY_MAGIC, _OPTION_REPLY_MAGIC = 0x25609513, 0x67446698, 0x3E889045565A9
_MOST = 32 << 20
_MOST_SAID = 64 << 10
_SAYABLE = {
    errno.EPERM, errno.EIO, errno.ENOMEM, errno.EINVAL, errno.ENOSPC, errno.EOVERFLOW,
    errno.EOPNOTSUPP, errno.ESHUTDOWN,
}  # fmt: skip
_ZEROES = 1 << 20


# ---- client ----


def handshake(connection: socket, export: str = "") -> tuple[int, int]:
    """Ask a server for an export.

    Args:
        connection: to the server.
        export: its name.

    Returns:
        Its size in bytes, and the transmission flags.

    Raises:
        DeviceError: if the server has none such, or this is no server.
        EOFError: if it hangs up.
    """
    magic, version, flags = _HELLO.unpack(_take(connection, _HELLO.size))
    if magic != b"NBDMAGIC" or version != b"IHAVEOPT" or not flags & _FIXED_NEWSTYLE:
        raise DeviceError("this is no server of NBD, or one of before 2011")
    connection.sendall(struct.pack(">I", flags & (_FIXED_NEWSTYLE | _NO_ZEROES)))
    name = export.encode()
    _say(connection, _GO, struct.pack(">I", len(name)) + name + b"\0\0")
    told = None
    while True:
        magic, _, kind, size = _OPTION_REPLY.unpack(_take(connection, _OPTION_REPLY.size))
        if magic != _OPTION_REPLY_MAGIC or size > _MOST_SAID:
            raise DeviceError("a server of NBD sends nonsense")
        data = _take(connection, size)
        if kind == _INFO and data[:2] == b"\0\0" and size == 2 + _EXPORT.size:
            told = _EXPORT.unpack(data[2:])
        elif kind == _ACK and told:
            return told
        elif kind == _UNSUPPORTED:
            _say(connection, _EXPORT_NAME, name)
            told = _EXPORT.unpack(_take(connection, _EXPORT.size))
            _take(connection, 0 if flags & _NO_ZEROES else 124)
            return told
        elif kind >> 31:
            why = data.decode(errors="replace") or f"error {kind & 0xFFFF}"
            raise DeviceError(f"the server of NBD has no export {export!r}: {why}")


def _say(connection: socket, option: int, data: bytes) -> None:
    connection.sendall(_OPTION.pack(b"IHAVEOPT", option, len(data)) + data)


def _take(connection: socket, size: int) -> bytes:
    data = bytearray(size)
    _fill(connection, memoryview(data))
    return bytes(data)


def _fill(connection: socket, view: memoryview) -> None:
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError("the other end has hung up")
        view = view[count:]


# ---- server ----


def greet(connection: socket, size: int, flags: int) -> None:
    """The handshake of a server with one export, whatever its name.

    Args:
        connection: to the client.
        size: in bytes.
        flags: the transmission flags.

    Raises:
        EOFError: if the client wants nothing of it.
    """
    connection.sendall(_HELLO.pack(b"NBDMAGIC", b"IHAVEOPT", _FIXED_NEWSTYLE | _NO_ZEROES))
    _take(connection, 4)
    while True:
        magic, option, length = _OPTION.unpack(_take(connection, _OPTION.size))
        if magic != b"IHAVEOPT" or length > _MOST_SAID or option == _ABORT:
            raise EOFError("this is no client of NBD, or one that goes away")
        _take(connection, length)
        if option == _GO:
            _reply(connection, option, _INFO, b"\0\0" + _EXPORT.pack(size, flags))
            _reply(connection, option, _ACK)
            return
        _reply(connection, option, _UNSUPPORTED)


def _reply(connection: socket, option: int, kind: int, data: bytes = b"") -> None:
    connection.sendall(_OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data)) + data)


def flags_of(backend: Any, read_only: bool) -> int:
    """The transmission flags of a backend.

    Args:
        backend: see :class:`rumpel.DiskBackend`.
        read_only: refuse writes.
    """
    flags = HAS_FLAGS | SEND_FLUSH
    if read_only:
        return flags | READ_ONLY
    return flags | SEND_ZEROES | (SEND_TRIM if hasattr(backend, "discard") else 0)


def serve(
    connection: socket,
    backend: Any,
    size: int,
    read_only: bool,
    failed: Callable[[Exception], object],
) -> None:
    """Answer a client's requests, one after the other, until it is gone.

    There is no handshake: who has made the client has told it all.

    Args:
        connection: to the client.
        backend: see :class:`rumpel.DiskBackend`; no coroutines. An exception is the client's
            error.
        size: in bytes.
        read_only: refuse writes.
        failed: called with what the backend raises.
    """
    with contextlib.suppress(EOFError, OSError):
        while True:
            magic, _, kind, cookie, offset, length = _REQUEST.unpack(
                _take(connection, _REQUEST.size)
            )
            carries = kind in (_READ, _WRITE)
            if magic != _REQUEST_MAGIC or kind == _DISCONNECT or (carries and length > _MOST):
                return
            written = _take(connection, length) if kind == _WRITE else b""
            code, data = 0, b""
            try:
                if offset > size or length > size - offset:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                if read_only and kind not in (_READ, _FLUSH):
                    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
                data = _do(backend, kind, offset, length, written)
            except Exception as error:
                failed(error)
                number = error.errno if isinstance(error, OSError) else None
                code = number if number in _SAYABLE else errno.EIO
            connection.sendall(_REPLY.pack(_REPLY_MAGIC, code, cookie))
            if data:
                connection.sendall(data)


def _do(backend: Any, kind: int, offset: int, length: int, written: bytes) -> Any:
    """What was read, if this is what was asked."""
    if kind == _READ:
        data = memoryview(backend.pread(offset, length)).cast("B")
        if len(data) != length:
            raise OSError(errno.EIO, f"{len(data)} bytes were read instead of {length}")
        return data
    if kind == _WRITE:
        backend.pwrite(offset, written)
    elif kind == _FLUSH:
        if hasattr(backend, "flush"):
            backend.flush()
    elif kind == _TRIM:
        if hasattr(backend, "discard"):
            backend.discard(offset, length)
    elif kind == _ZERO and hasattr(backend, "write_zeroes"):
        backend.write_zeroes(offset, length)
    elif kind == _ZERO:
        for at in range(offset, offset + length, _ZEROES):
            backend.pwrite(at, bytes(min(_ZEROES, offset + length - at)))
    else:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return b""
