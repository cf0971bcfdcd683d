# SPDX-License-Identifier: GPL-2.0-only
"""``socket.sendfile``: by the kernel for its own files, by reading for the host's."""

from __future__ import annotations

import io
import operator
import socket as host
from typing import TYPE_CHECKING, Any

from rumpel.io import RawFile
from rumpel.socket.messages import c_int

if TYPE_CHECKING:
    from rumpel.socket.sockets import Socket

__all__ = ["CannotSendfile", "by_kernel", "by_reading"]

_CHUNK = 1 << 20
_BLOCK = 65536

# What the standard library's socket raises to itself; its tests know it.
CannotSendfile: type[Exception] = host._GiveupOnSendfile  # type: ignore[attr-defined]


def _check(sock: Socket, file: Any, count: int | None) -> None:
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != host.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if sock.gettimeout() == 0:
        raise ValueError("non-blocking sockets are not supported")


def by_kernel(sock: Socket, file: Any, offset: int, count: int | None) -> int:
    """Send a file of the socket's kernel: the number of bytes.

    Raises:
        CannotSendfile: if the file is not the kernel's, or none that it can send from.
    """
    _check(sock, file, count)
    try:
        c_int(operator.index(file.fileno()))
    except (AttributeError, io.UnsupportedOperation) as error:
        raise CannotSendfile(error) from error
    raw = getattr(file, "raw", file)
    if not isinstance(raw, RawFile) or raw._os is not sock._os:
        raise CannotSendfile("not a file of this kernel")
    deadline = sock._deadline()
    total = 0
    try:
        while size := _CHUNK if count is None else min(_CHUNK, count - total):
            try:
                sent = sock._until(
                    *(deadline, sock.WRITABLE, sock._os.sendfile, sock.fileno(), raw.fileno()),
                    *(offset + total, size),
                )
            except (TimeoutError, BlockingIOError):
                raise
            except OSError as error:
                if not total:
                    raise CannotSendfile(error) from error
                raise
            if not sent:
                break
            total += sent
        return total
    finally:
        if total and hasattr(file, "seek"):
            file.seek(offset + total)


def by_reading(sock: Socket, file: Any, offset: int, count: int | None) -> int:
    """Read any file and send what was read: the number of bytes."""
    _check(sock, file, count)
    if offset:
        file.seek(offset)
    total = 0
    try:
        while size := _BLOCK if count is None else min(_BLOCK, count - total):
            data = memoryview(file.read(size))
            if not data:
                break
            while data:
                sent = sock.send(data)
                total += sent
                data = data[sent:]
        return total
    finally:
        if total and hasattr(file, "seek"):
            file.seek(offset + total)
