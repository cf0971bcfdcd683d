# SPDX-License-Identifier: GPL-2.0-only
"""Sockets between a kernel and programs of the host, without a network."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
import weakref

from rumpel import _native
from rumpel.clock import to_ns
from rumpel.devices.device import Device
from rumpel.errors import KernelClosed

__all__ = ["Vsock"]

_BACKLOG = 128
_ANSWER_MAX = 32
_STEP = 1_000_000
"""Nanoseconds after which a virtual clock stops to look for an answer."""


class Vsock(Device):
    """Stream sockets of AF_VSOCK: a channel for messages that needs no addresses or routes.

    In the kernel ``k.socket`` has them: its context identifier is ``cid``, the host's is 2
    (VMADDR_CID_HOST). On the host they are unix sockets, so all that waits for sockets waits
    for them; other processes may use them too. Their names are those that Firecracker and
    vhost-device-vsock use: who connects to ``path``, writes ``CONNECT 52\\n`` and reads
    ``OK ...\\n`` is connected to port 52 of the kernel; what the kernel connects to at the
    host's port 53 is who listens to the unix socket ``path_53``.

    A kernel has one. Source: vsock(7), VIRTIO 1.2, 5.10.

    Args:
        path: of the unix socket, which is made; by default one in a directory that nobody
            else can enter.
        cid: the kernel's context identifier, from 3 on.

    Attributes:
        path: of the unix socket.
        cid: the kernel's context identifier.

    Raises:
        ValueError: if cid is reserved, or no identifier.
        OSError: if the socket cannot be made there.

    Example:
        >>> vsock = Vsock()  # doctest: +SKIP
        >>> with rumpel.boot(devices=[vsock]) as k, vsock.listen(53) as server:  # doctest: +SKIP
        ...     client = k.socket.socket(k.socket.AF_VSOCK)
        ...     client.connect((k.socket.VMADDR_CID_HOST, 53))
        ...     peer, _ = server.accept()
        ...     client.sendall(b"from the kernel")
        ...     peer.recv(100)
        b'from the kernel'
    """

    _claim = "vsocks"

    def __init__(self, path: str | os.PathLike[str] | None = None, *, cid: int = 3) -> None:
        if not 3 <= cid < 0xFFFFFFFF:
            raise ValueError(f"not a context identifier for a kernel: {cid}")
        self.cid = cid
        own = None
        if path is None:
            own = tempfile.mkdtemp(prefix="rumpel-vsock-")
            path = f"{own}/vsock"
        self.path = os.fspath(path)
        # The kernel connects later, when the working directory may be another one.
        if not self.path.startswith("@"):
            self.path = os.path.abspath(self.path)  # noqa: PTH100 (symbolic links stay)
        try:
            super().__init__(_native.vsock(self.path, cid))
        except BaseException:
            if own:
                shutil.rmtree(own, ignore_errors=True)
            raise
        if own:
            weakref.finalize(self, _remove, own, os.getpid())

    def connect(self, port: int, timeout: float | None = None) -> socket.socket:
        """Connect to a port of the kernel.

        On a virtual clock the kernel runs meanwhile, and answers at once. After that, as
        with all that is on the host, it is up to the program to let it run before it waits.

        Args:
            port: where a socket of the kernel listens.
            timeout: in seconds; None waits for as long as the kernel takes.

        Returns:
            A socket of the host, which blocks.

        Raises:
            ConnectionRefusedError: if nobody listens there.
            TimeoutError: if there is no answer in time.
            KernelClosed: if the kernel is gone.
            ValueError: if no kernel has the device yet, or it is no port.

        Example:
            >>> asyncio.to_thread(vsock.connect, 52)  # in an event loop  # doctest: +SKIP
        """
        _check_port(port)
        if self._native.gone:
            raise KernelClosed("the kernel is gone")
        if not self._native.taken:
            raise ValueError("no kernel has the device: boot one with it")
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(_address(self.path))
            sock.sendall(b"CONNECT %d\n" % port)
            self._run_clock(sock, timeout)
            answer = _read_line(sock)
            if not answer.startswith(b"OK "):
                error = errno.ECONNREFUSED
                raise ConnectionRefusedError(error, f"nobody listens to the kernel's port {port}")
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _run_clock(self, sock: socket.socket, timeout: float | None) -> None:
        """On a virtual clock, let the kernel answer."""
        clock = self._native.clock
        if clock is None:
            return
        limit = None if timeout is None else clock.now_ns + to_ns(timeout)
        step = 0
        sock.settimeout(0)
        while limit is None or clock.now_ns <= limit:
            clock.advance_to_ns(clock.now_ns + step)
            step = _STEP
            with contextlib.suppress(BlockingIOError):
                sock.recv(1, socket.MSG_PEEK)
                return
        raise TimeoutError(errno.ETIMEDOUT, "the kernel does not answer")

    def listen(self, port: int, backlog: int = _BACKLOG) -> socket.socket:
        """Listen to a port of the host, for connections from the kernel.

        Args:
            port: what the kernel connects to.
            backlog: how many connections may wait; the kernel's others are reset.

        Returns:
            A unix socket of the host that listens: ``accept`` it, or give it to
            ``asyncio.start_unix_server(..., sock=...)``. It has to be there before the
            kernel connects.

        Raises:
            OSError: EADDRINUSE if somebody listens already.
            ValueError: if it is no port.
        """
        _check_port(port)
        address = _address(f"{self.path}_{port}")
        sock = socket.socket(socket.AF_UNIX)
        try:
            try:
                sock.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not _is_left_behind(address):
                    raise
                os.unlink(address)  # noqa: PTH108 (bytes and str)
                sock.bind(address)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        return sock


def _check_port(port: int) -> None:
    if not 0 <= port < 0xFFFFFFFF:
        raise ValueError(f"not a port: {port}")


def _address(path: str) -> str:
    return "\0" + path[1:] if path.startswith("@") else path


def _is_left_behind(address: str) -> bool:
    """Is it the name of a socket that nobody listens to any more?"""
    if address.startswith("\0"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _read_line(sock: socket.socket) -> bytes:
    """Read a line and not more: what follows is the connection's."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _ANSWER_MAX:
        part = sock.recv(1)
        if not part:
            return b""
        line += part
    return line


def _remove(directory: str, pid: int) -> None:
    """Remove the socket's directory, unless this is a fork of the process that made it."""
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)
