# SPDX-License-Identifier: GPL-2.0-only
"""``socket.sendfile``: by the kernel for its own files, by reading for the host's."""

from __future__ import annotations

import socket as host
from typing import TYPE_CHECKING, Any

from rumpel.io import RawFile

if TYPE_CHECKING:
    from rumpel.socket.sockets import Socket

__all__ = ["sendfile"]

_CHUNK = 1 << 20


def sendfile(sock: Socket, file: Any, offset: int, count: int | None) -> int:
    """See :meth:`Socket.sendfile`; returns the number of bytes."""
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if sock.type != host.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None and count <= 0:
        raise ValueError(f"count must be a positive integer (got {count!r})")
    if sock.gettimeout() == 0:
        raise ValueError("non-blocking sockets are not supported")
    raw = getattr(file, "raw", file)
    total = 0
    try:
        if isinstance(raw, RawFile) and raw._os is sock._os:
            deadline = sock._deadline()
            while size := _CHUNK if count is None else min(_CHUNK, count - total):
                sent = sock._until(
                    *(deadline, sock.WRITABLE, sock._os.sendfile, sock.fileno(), raw.fileno()),
                    *(offset + total, size),
                )
                if not sent:
                    break
                total += sent
            return total
        if offset:
            file.seek(offset)
        while size := 65536 if count is None else min(65536, count - total):
            data = file.read(size)
            if not data:
                break
            sock.sendall(data)
            total += len(data)
        return total
    finally:
        if total and hasattr(file, "seek"):
            file.seek(offset + total)
