# SPDX-License-Identifier: GPL-2.0-only
"""The transport of a stream whose socket is a kernel's: asyncio's, on a shorter way.

Most of what a small message costs is Python's, so receiving and sending call the kernel
without the socket object in between. All that is not the usual case is left to asyncio.
"""

from __future__ import annotations

import socket
from asyncio import selector_events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.socket import Socket

    _Base: Any
else:
    _Base = selector_events._SelectorSocketTransport

__all__ = ["StreamTransport"]

_LEAST, _MOST = 1 << 14, 1 << 18
"""Bytes to receive at once: the most once as much has come."""


class StreamTransport(_Base):  # type: ignore[misc]
    """A connected socket of a kernel."""

    def __init__(self, loop: Any, sock: Socket, *args: Any, **keywords: Any) -> None:
        self._recv = sock._c_recv
        self._send = sock._c_send
        self._size = _LEAST
        super().__init__(loop, sock, *args, **keywords)

    def _read_ready__data_received(self) -> None:
        if self._conn_lost:
            return
        try:
            data = self._recv(self._sock_fd, self._size, 0, None, None)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal read error on socket transport")
            return
        if not data:
            self._read_ready__on_eof()
            return
        self._size = _MOST if len(data) == self._size else _LEAST
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    def write(self, data: Any) -> None:
        """Send, or keep for later what does not go now."""
        if (
            data
            and type(data) is bytes
            and not self._buffer
            and not self._eof
            and not self._conn_lost
            and self._empty_waiter is None
        ):
            try:
                count = self._send(self._sock_fd, data, socket.MSG_NOSIGNAL, None, 0)
            except (BlockingIOError, InterruptedError):
                pass
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._fatal_error(error, "Fatal write error on socket transport")
                return
            else:
                if count == len(data):
                    return
                data = memoryview(data)[count:]
        super().write(data)
