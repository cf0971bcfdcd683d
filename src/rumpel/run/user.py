# SPDX-License-Identifier: GPL-2.0-only
"""The user-mode network of a shared kernel: a process of its own, which ends with the kernel."""

from __future__ import annotations

import json
import os
import signal
import socket

from rumpel.errors import DeviceError
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

__all__ = ["User", "open_user"]

MTU = 65520


class User(Record):
    """A user-mode network.

    Attributes:
        fds: the socket with the kernel's frames, and one that the kernel's keeper keeps:
            when it has gone, the network ends.
        addresses: of the kernel.
        gateways: where the host is.
        dns: the name server.
        mtu: in bytes.
    """

    fds: list[int]
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    dns: str
    mtu: int


def open_user(mtu: int | None, publish: Sequence[str]) -> User:
    """Start the network.

    Args:
        mtu: in bytes; None is a large one, which is fast.
        publish: ports of the host that are ports of the kernel: ``[ADDRESS:]HOST:PROGRAM[/udp]``.

    Raises:
        DeviceError: if libslirp is missing.
        OSError: if a port is taken.
        ValueError: if a port or an address is none.
    """
    forwards = [_forward(text) for text in publish]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            # Twice: it is not a child of the program that this process becomes.
            child = os.fork()
            if not child:
                _detach(theirs, mtu or MTU, forwards)
        os.waitpid(child, 0)
        data, fds, _, _ = socket.recv_fds(ours, 65536, 1)
        answer: dict[str, Any] = json.loads(data) if data else {"error": "it has ended"}
        if "error" in answer:
            raise {"OSError": OSError, "ValueError": ValueError}.get(
                answer.get("type", ""), DeviceError
            )(f"user-mode network: {answer['error']}")
        return User(
            [fds[0], ours.detach()],
            tuple(answer["addresses"]),
            tuple(answer["gateways"]),
            answer["dns"],
            mtu or MTU,
        )


def _forward(text: str) -> dict[str, Any]:
    ports, _, protocol = text.partition("/")
    host, _, guest = ports.rpartition(":")
    address, colon, port = host.rpartition(":")
    if protocol not in ("", "tcp", "udp") or not port.isdigit() or not guest.isdigit():
        raise ValueError(f"{text!r} is not [ADDRESS:]HOST:PROGRAM[/udp], such as 8080:80")
    if not int(port) or not int(guest):
        raise ValueError(f"{text!r}: 0 is not a port")
    return {
        "guest_port": int(guest),
        "host_port": int(port),
        "udp": protocol == "udp",
        "host_address": address.strip("[]") if colon else "127.0.0.1",
    }


def _detach(control: socket.socket, mtu: int, forwards: list[dict[str, Any]]) -> NoReturn:
    try:
        if os.fork() == 0:
            os.setsid()
            # Others' sockets and pipes: who waits for their end shall see it.
            os.closerange(3, control.fileno())
            os.closerange(control.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
            _serve(control, mtu, forwards)
    finally:
        os._exit(0)


def _serve(control: socket.socket, mtu: int, forwards: list[dict[str, Any]]) -> None:
    from rumpel.devices import UserNet

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        net = UserNet(mtu=mtu)
        for forward in forwards:
            try:
                net.forward(**forward)
            except OSError as e:
                where = f"{forward['host_address']}:{forward['host_port']}"
                raise OSError(f"{where}: {os.strerror(e.errno or 0)}") from None
    except Exception as e:
        kind = "OSError" if isinstance(e, OSError) else type(e).__name__
        control.send(json.dumps({"error": str(e), "type": kind}).encode())
        return
    six = net.address6 is not None and net.gateway6 is not None
    answer = {
        "addresses": [net.address, *([net.address6] if six else [])],
        "gateways": [net.gateway, *([net.gateway6] if six else [])],
        "dns": net.dns,
    }
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    socket.send_fds(control, [json.dumps(answer).encode()], [net.fileno()])
    # Until the last one who has the other end is gone.
    control.recv(1)
