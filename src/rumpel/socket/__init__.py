# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`socket` on a library kernel: ``kernel.socket``.

``module`` is what stands for the module and ``sockets`` its class ``socket``, whose
timeouts are in ``waiting``; ``addresses`` and ``messages`` know the kernel's
structures, ``resolver`` the names of hosts.
"""

from __future__ import annotations

from rumpel.socket.module import SocketModule
from rumpel.socket.sockets import Socket

__all__ = ["Socket", "SocketModule"]
