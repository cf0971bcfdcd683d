# SPDX-License-Identifier: GPL-2.0-only
"""Run programs of the host that speak netlink to a library kernel.

``runtime/intercept/netlink.c`` is loaded into the program and hands over, through a
descriptor that it inherits, one end of a pair for each of its netlink sockets. The thread
that runs the program relays the messages, so they belong to its network namespace.
"""

from __future__ import annotations

import os
import selectors
import socket as host
import struct
import subprocess
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING, Any, TextIO

from rumpel.errors import RumpelError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["run"]

_LENGTH = struct.Struct("=I")
_COMPLETE = _LENGTH.pack(0)
_ROOM = 1 << 26
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
"""Of a kernel's socket: a large transaction is one message, and its answers come at once."""


def run(
    kernel: Kernel, command: Sequence[str], input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program of the host until it ends; its netlink sockets are the kernel's.

    All else that it does, it does on the host.

    Args:
        kernel: whose netlink.
        command: the program and its arguments.
        input: its standard input.

    Raises:
        FileNotFoundError: if there is no such program.
    """
    here, there = host.socketpair(host.AF_UNIX, host.SOCK_SEQPACKET)
    with here, _file() as stdin, _file() as stdout:
        stdin.write(input)
        stdin.seek(0)
        with there, _file() as stderr:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[there.fileno()],
                env={**os.environ, **_environment(there.fileno())},
            )
            there.close()
            try:
                _Relay(kernel, here).serve(process)
            finally:
                process.kill()
                process.wait()
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(
                command, process.returncode, stdout.read(), stderr.read()
            )


def _file() -> TextIO:
    """In memory. With neither tempfile nor pathlib: a filter's start waits for their imports."""
    return open(os.memfd_create("rumpel"), "w+")


def _environment(fd: int) -> dict[str, str]:
    directory = os.path.dirname(__file__)  # noqa: PTH120
    for suffix in EXTENSION_SUFFIXES:
        library = f"{directory}/_preload{suffix}"
        if os.path.exists(library):  # noqa: PTH110
            return {"LD_PRELOAD": library, "RUMPEL_NETLINK": str(fd)}
    raise RumpelError("rumpel.net._preload is not built: run pip install -e . again")


class _Relay:
    """Passes messages between the sockets of a program and those of a kernel."""

    def __init__(self, kernel: Kernel, control: host.socket) -> None:
        self._kernel = kernel
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._open: list[_Connection] = []

    def serve(self, process: subprocess.Popen[Any]) -> None:
        """Relay until the process ends."""
        ended = os.pidfd_open(process.pid)
        try:
            self._selector.register(ended, selectors.EVENT_READ, None)
            self._selector.register(self._control, selectors.EVENT_READ, self._accept)
            while True:
                for key, events in self._selector.select():
                    if key.data is None:
                        return
                    key.data(events)
        finally:
            self._selector.close()
            os.close(ended)
            for connection in self._open:
                connection.close()

    def _accept(self, events: int) -> None:
        data, fds, _, _ = host.recv_fds(self._control, 4, 1)
        if not fds:
            self._selector.unregister(self._control)  # the program has closed it
            return
        end = host.socket(fileno=fds[0])
        module = self._kernel.socket
        try:
            sock = module.socket(host.AF_NETLINK, host.SOCK_RAW, *struct.unpack("=i", data))
        except OSError as error:
            end.send(struct.pack("=ii", error.errno or 1, 0))
            end.close()
            return
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            sock.setsockopt(host.SOL_SOCKET, option, _ROOM)
        sock.bind((0, 0))
        connection = _Connection(self._selector, end, sock)
        self._open.append(connection)
        end.send(struct.pack("=iI", 0, sock.getsockname()[0]))


class _Connection:
    """One netlink socket of the program."""

    def __init__(self, selector: selectors.BaseSelector, end: host.socket, sock: Any) -> None:
        self._selector = selector
        self._end = end
        self._socket = sock
        self._received = bytearray()
        self._answers = bytearray()
        end.setblocking(False)
        selector.register(end, selectors.EVENT_READ, self._serve)

    def close(self) -> None:
        self._end.close()
        self._socket.close()

    def _serve(self, events: int) -> None:
        if events & selectors.EVENT_READ and not self._request():
            self._selector.unregister(self._end)
            self.close()
            return
        self._answer()

    def _request(self) -> bool:
        """Pass requests on, and take what the kernel answers; False at the end."""
        try:
            data = self._end.recv(1 << 20)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        self._received += data
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            request = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            self._exchange(request)
        return bool(data)

    def _exchange(self, request: bytes) -> None:
        try:
            self._socket.sendto(request, (0, 0))
            for part in self._parts():
                self._answers += _LENGTH.pack(len(part)) + part
        except OSError as error:
            # As if it had been the answer: netlink's own way to say so.
            sequence, port = struct.unpack_from("=II", request, 8)
            head = struct.pack("=IHHIIi", 36, 2, 0, sequence, port, -(error.errno or 5))
            self._answers += _LENGTH.pack(36) + head + request[:16]
        self._answers += _COMPLETE

    def _parts(self) -> Iterator[bytes]:
        """What there is to receive, in the sizes that the kernel makes for small buffers."""
        look = bytearray(1)
        try:
            while True:
                flags = host.MSG_DONTWAIT | host.MSG_PEEK | host.MSG_TRUNC
                size = self._socket.recv_into(look, 1, flags)
                yield self._socket.recv(size, host.MSG_DONTWAIT)
        except BlockingIOError:
            pass

    def _answer(self) -> None:
        """Send as much of the answers as there is room for."""
        try:
            while self._answers:
                del self._answers[: self._end.send(self._answers)]
        except BlockingIOError:
            pass
        except OSError:
            self._answers.clear()  # the program has closed its socket, or is gone
        wanted = selectors.EVENT_WRITE if self._answers else 0
        self._selector.modify(self._end, selectors.EVENT_READ | wanted, self._serve)
