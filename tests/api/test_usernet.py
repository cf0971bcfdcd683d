# SPDX-License-Identifier: GPL-2.0-only
"""User-mode networks, seen from a guest that is a socket of the test."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel import UserNet

MAC = b"\2\0\0\0\0\1"


@pytest.fixture
def net() -> Iterator[UserNet]:
    made = UserNet()
    yield made
    made.close()


def guest(net: UserNet) -> socket.socket:
    sock = socket.socket(fileno=os.dup(net._net.fileno()))
    sock.settimeout(30)
    return sock


def arp(target: str, sender: str) -> bytes:
    """The frame that asks for an address."""
    head = b"\xff" * 6 + MAC + b"\x08\x06" + struct.pack(">HHBBH", 1, 0x800, 6, 4, 1)
    return head + MAC + socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target)


def test_default_addresses(net: UserNet) -> None:
    assert (net.address, net.gateway, net.dns) == ("10.0.2.15/24", "10.0.2.2", "10.0.2.3")


def test_the_gateway_answers(net: UserNet) -> None:
    with guest(net) as sock:
        sock.send(arp(net.gateway, "10.0.2.15"))
        answer = sock.recv(2000)
        assert answer[:6] == MAC
        assert answer[28:32] == socket.inet_aton(net.gateway)


def test_other_addresses() -> None:
    net = UserNet("192.168.7.0/24", gateway="192.168.7.1", dns="192.168.7.9", guest="192.168.7.77")
    assert net.address == "192.168.7.77/24"
    with guest(net) as sock:
        sock.send(arp("192.168.7.1", "192.168.7.77"))
        assert sock.recv(2000)[28:32] == socket.inet_aton("192.168.7.1")
    net.close()


def test_ports_are_published_and_taken_back(net: UserNet) -> None:
    forward = net.forward(80)
    where = (forward.host_address, forward.host_port)
    socket.create_connection(where).close()
    with pytest.raises(OSError, match="in use"):
        net.forward(81, forward.host_port)
    net.unforward(forward)
    # The port is free: it is taken here, so that nobody else listens there.
    with socket.socket() as silent, pytest.raises(ConnectionRefusedError):
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(where)
        socket.create_connection(where)
    with pytest.raises(OSError, match="assign"):
        net.unforward(forward)


def test_a_closed_network(net: UserNet) -> None:
    net.close()
    net.close()
    with pytest.raises(OSError, match="shutdown"):
        net.forward(80)


def test_nothing_is_left() -> None:
    UserNet().close()
    before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(30):
        UserNet().close()
        UserNet()
    # Those of earlier tests may go meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before[0]
    assert len(os.listdir("/proc/self/task")) <= before[1]


def test_it_sleeps_while_nothing_happens(net: UserNet) -> None:
    with guest(net) as sock:
        sock.send(arp(net.gateway, "10.0.2.15"))
        sock.recv(2000)
        tasks = list(Path("/proc/self/task").iterdir())
        thread = next(t for t in tasks if (t / "comm").read_text() == "rumpel-usernet\n")
        before = int((thread / "schedstat").read_text().split()[0])
        time.sleep(0.3)
        assert int((thread / "schedstat").read_text().split()[0]) - before < 30_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "10.0.0.0/30"}, "the network 10.0.0.0/30 is too small"),
        ({"network": "10.0.0.1/24"}, "has host bits set"),
        ({"network": "nonsense"}, "nonsense"),
        ({"gateway": "1.2.3.4"}, "1.2.3.4 is not a host's address in 10.0.2.0/24"),
        ({"dns": "10.0.2.255"}, "is not a host's address"),
        ({"guest": "10.0.2.2"}, "must differ"),
        ({"mtu": 100}, "the MTU must be 576 to 65520"),
        ({"mac": "x"}, "not a MAC address"),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UserNet(**arguments)


def test_a_port_that_is_none(net: UserNet) -> None:
    with pytest.raises(ValueError, match="not a port: 70000"):
        net.forward(70000)


def test_a_missing_library_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that is no library stands in for one that is not there."""
    empty = tmp_path_factory.mktemp("lib")
    (empty / "libslirp.so.0").write_text("")
    code = "import rumpel\ntry: rumpel.UserNet()\nexcept rumpel.DeviceError as e: print(e)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(empty)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs libslirp: sudo apt-get install libslirp0" in result.stdout
