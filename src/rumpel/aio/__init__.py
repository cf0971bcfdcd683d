# SPDX-License-Identifier: GPL-2.0-only
"""asyncio on a library kernel: ``kernel.aio``, and an event loop.

``calls`` is what ``kernel.aio`` is: system calls as awaitables, on any event loop, with
``files`` on top; ``driver`` are the tasks that make them. ``loop`` is an event loop of
:mod:`asyncio` whose network is a kernel's, on ``selector``, which waits for the host's
descriptors and those of kernels (one ``poll`` each), with ``transport`` for streams;
``guests`` brings libraries to it that make sockets by themselves.
"""

from __future__ import annotations

from rumpel.aio.calls import Aio
from rumpel.aio.files import AsyncFile
from rumpel.aio.loop import EventLoop, run

__all__ = ["Aio", "AsyncFile", "EventLoop", "run"]
