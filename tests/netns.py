# SPDX-License-Identifier: GPL-2.0-only
"""Network namespaces of the host, for tests of devices that need real interfaces."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from rumpel.devices.netns import inside

__all__ = ["Namespace", "namespace"]

_numbers = count()


class Namespace:
    """A network namespace with its loopback up, gone after :meth:`close`."""

    def __init__(self) -> None:
        self.name = f"rumpel-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        # Its own chatter would be mixed with what a test counts.
        self.run("sysctl", "-q", "net.ipv6.conf.default.disable_ipv6=1")
        self.ip("link set lo up")

    def close(self) -> None:
        """Delete it and what is in it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program inside; its output."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ip(self, arguments: str) -> str:
        """Run iproute2 inside."""
        return self.run("ip", *arguments.split())

    def address(self, interface: str, address: str, mtu: int | None = None) -> None:
        """Give an interface an address, and set it up."""
        if mtu is not None:
            self.ip(f"link set {interface} mtu {mtu}")
        if ":" in address:
            self.run("sysctl", "-q", f"net.ipv6.conf.{interface}.disable_ipv6=0")
            self.ip(f"address add {address} dev {interface} nodad")
        else:
            self.ip(f"address add {address} dev {interface}")
        self.ip(f"link set {interface} up")

    def server(self, address: tuple[str, int], **options: Any) -> socket.socket:
        """As socket.create_server, inside."""
        with inside(self.name):
            return socket.create_server(address, **options)

    def connect(self, address: tuple[str, int], timeout: float = 20) -> socket.socket:
        """As socket.create_connection, inside."""
        with inside(self.name):
            return socket.create_connection(address, timeout)

    def socket(self, *arguments: int) -> socket.socket:
        """As socket.socket, inside."""
        with inside(self.name):
            return socket.socket(*arguments)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace of the test's own."""
    if os.geteuid():
        pytest.skip("to make a network namespace takes root")
    made = Namespace()
    yield made
    made.close()
