# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces of the host: where its interfaces are.

Source: setns(2), ip-netns(8).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

__all__ = ["inside"]

_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(netns: str | os.PathLike[str] | None) -> Iterator[None]:
    """Let the calling thread be in a network namespace of the host meanwhile.

    Args:
        netns: a name, as of ``ip netns``, or a path such as ``/proc/1234/ns/net``; None
            changes nothing.

    Raises:
        OSError: if there is none of that name, or the process may not enter it.
    """
    if netns is None:
        yield
        return
    path = os.fspath(netns)
    if "/" not in path:
        path = f"/run/netns/{path}"
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there, path)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(back, path)
    finally:
        os.close(back)


def _setns(fd: int, path: str) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
