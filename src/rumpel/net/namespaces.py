# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces of a kernel, kept by name under /run/netns as ``ip netns`` does.

Source: network_namespaces(7), setns(2), ip-netns(8).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Namespace", "Namespaces"]

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MNT_DETACH = 4096, 2
_DIRECTORY = "/run/netns"
_OWN = "/proc/thread-self/ns/net"


class Namespace:
    """A network namespace. As a context manager: the calling thread is in it, meanwhile.

    What the thread does then happens there: sockets that it makes belong to the
    namespace for good, and ``kernel.net`` works on its interfaces.

    Example:
        >>> with k.net.add_namespace("blue"):  # doctest: +SKIP
        ...     server = k.socket.create_server(("127.0.0.1", 80))

    Attributes:
        name: what it is called.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(f"not a name for a namespace: {name!r}")
        self._kernel = kernel
        self.name = name
        self._path = f"{_DIRECTORY}/{name}"
        self._left = threading.local()

    def __enter__(self) -> Self:
        kernel = self._kernel
        with self._descriptor() as fd:
            before = kernel.os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            try:
                kernel.syscall("setns", fd, _CLONE_NEWNET)
            except BaseException:
                kernel.os.close(before)
                raise
        # The same thread may enter it more than once.
        self._left.__dict__.setdefault("stack", []).append(before)
        kernel._place.depth = getattr(kernel._place, "depth", 0) + 1
        return self

    def __exit__(self, *exc: object) -> None:
        before = self._left.stack.pop()
        self._kernel._place.depth -= 1
        if self._kernel.state != "running":
            return
        try:
            self._kernel.syscall("setns", before, _CLONE_NEWNET)
        finally:
            self._kernel.os.close(before)

    def delete(self) -> None:
        """Forget the name: the namespace goes when nobody is in it and it has no sockets."""
        self._kernel.umount(self._path, _MNT_DETACH)
        self._kernel.os.unlink(self._path)

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        fd = self._kernel.os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            self._kernel.os.close(fd)

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"


class Namespaces:
    """The named namespaces of a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def __iter__(self) -> Iterator[Namespace]:
        try:
            names = sorted(self._kernel.os.listdir(_DIRECTORY))
        except FileNotFoundError:
            names = []
        return iter([Namespace(self._kernel, name) for name in names])

    def add(self, name: str) -> Namespace:
        """See :meth:`rumpel.net.Net.add_namespace`."""
        kernel = self._kernel
        made = Namespace(kernel, name)
        kernel.os.makedirs(_DIRECTORY, exist_ok=True)
        flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        kernel.os.close(kernel.os.open(made._path, flags, 0o444))
        before = kernel.os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.syscall("unshare", _CLONE_NEWNET)
            try:
                kernel.syscall("mount", _OWN, made._path, b"none\0", _MS_BIND, None)
                kernel.net.link("lo").up()
            finally:
                kernel.syscall("setns", before, _CLONE_NEWNET)
        except BaseException:
            kernel.os.unlink(made._path)
            raise
        finally:
            kernel.os.close(before)
        return made
