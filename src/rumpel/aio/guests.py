# SPDX-License-Identifier: GPL-2.0-only
"""Libraries for asyncio that go past the event loop, and what is done about it.

aiohttp connects through aiohappyeyeballs, which makes sockets by itself, as anyio does
for listeners; httpcore, under httpx, polls a descriptor to learn whether a connection is
still good. Where an event loop over a kernel runs, the sockets have to be the kernel's,
and the poll too. So their names ``socket`` and ``select`` become objects that look where
they are; for everybody else they are what they were.
"""

from __future__ import annotations

import asyncio
import importlib
import select
import socket
import struct
import sys
from typing import Any

from rumpel.descriptor import Descriptor
from rumpel.syscalls import bind

__all__ = ["teach"]

_POLLFD = struct.Struct("=ihh")


class _Socket:
    """The module :mod:`socket` of the running event loop."""

    def __getattr__(self, name: str) -> Any:
        from rumpel.aio.loop import EventLoop

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return getattr(socket, name)
        return getattr(loop.kernel.socket if isinstance(loop, EventLoop) else socket, name)


class _Select:
    """The module :mod:`select`, whose poll() knows descriptors of kernels."""

    def __getattr__(self, name: str) -> Any:
        return getattr(select, name)

    def poll(self) -> Any:
        return _Poll()


class _Poll:
    """A poll object for one descriptor, whosever it is; others are the host's."""

    def __init__(self) -> None:
        self._host = select.poll()
        self._kernels: list[tuple[Descriptor, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def register(self, fd: Any, events: int = select.POLLIN) -> None:
        if isinstance(fd, Descriptor):
            self._kernels.append((fd, events))
        else:
            self._host.register(fd, events)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        found = []
        for fd, events in self._kernels:
            table = bytearray(_POLLFD.pack(fd, events, 0))
            bind(fd.kernel, "ppoll")(table, 1, bytes(16), None, 0)
            if got := _POLLFD.unpack(table)[2]:
                found.append((int(fd), got))
        return found or self._host.poll(0 if self._kernels else timeout)


_GUESTS: dict[str, tuple[str, Any]] = {
    "aiohappyeyeballs.impl": ("socket", _Socket()),
    "anyio._core._sockets": ("socket", _Socket()),
    "anyio._backends._asyncio": ("socket", _Socket()),
    "httpcore._utils": ("select", _Select()),
}
_untaught = set(_GUESTS)


def teach(*, load: bool = False) -> None:
    """Do it for those that are imported and have not been taught.

    Args:
        load: import those for which it may be too late otherwise.
    """
    for name in list(_untaught):
        module = sys.modules.get(name)
        if module is None and load and name == "aiohappyeyeballs.impl":
            try:
                module = importlib.import_module(name)
            except ImportError:
                _untaught.discard(name)
        if module is not None:
            # Another thread that imports it at the moment has not got so far, perhaps.
            attribute, instead = _GUESTS[name]
            if hasattr(module, attribute):
                setattr(module, attribute, instead)
                _untaught.discard(name)
