# SPDX-License-Identifier: GPL-2.0-only
"""Unix sockets as cables: to kernels in other processes, and to passt."""

from __future__ import annotations

import errno
import os
import signal
import socket as host
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rumpel import FdNic, Kernel, UnixNic
from tests.api.test_tap import wait_for_carrier
from tests.api.traffic import send_to
from tests.netns import Namespace, namespace

__all__ = ["namespace"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]

Boot = Callable[..., Kernel]

ECHO = """
import sys, rumpel
image, kind, path, arguments = sys.argv[1], sys.argv[2], sys.argv[3], eval(sys.argv[4])
nic = getattr(rumpel, kind)(path, mac="02:00:00:00:00:02", **arguments)
with rumpel.boot(image=image, nics=[nic]) as k:
    k.ifup("eth0", "10.0.0.2/24")
    server = k.socket.create_server(("10.0.0.2", 7))
    print("ready", flush=True)
    while True:
        peer, _ = server.accept()
        with peer:
            while part := peer.recv(1 << 16):
                peer.sendall(part)
"""


@contextmanager
def serving(image: str, kind: str, path: str, **arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """A kernel at 10.0.0.2 with an echo service, in a process of its own.

    Its MAC address is always the same, or neighbours would have to learn it anew.
    """
    command = [sys.executable, "-c", ECHO, image, kind, path, repr(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def other_process(image: str, path: Path, **arguments: Any) -> Any:
    """The same with a UnixNic."""
    return serving(image, "UnixNic", str(path), **arguments)


def echo(kernel: Kernel, data: bytes) -> bytes:
    """Through the service of the other process."""
    got = bytearray()
    with kernel.socket.create_connection(("10.0.0.2", 7), timeout=20) as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(host.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        while part := sock.recv(1 << 16):
            got += part
        thread.join(20)
    return bytes(got)


@pytest.mark.parametrize("mtu", [1500, 65535])
@pytest.mark.parametrize("listen", [True, False])
def test_a_kernel_in_another_process(
    boot: Boot, default_image: str, tmp_path: Path, listen: bool, mtu: int
) -> None:
    """Either may be the one that listens, and the first one there."""
    path = tmp_path / "socket"
    nic = UnixNic(path, listen=listen, reconnect=0.05, mtu=mtu)
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    data = os.urandom(3 << 20)
    with other_process(default_image, path, listen=not listen, reconnect=0.05, mtu=mtu):
        assert echo(kernel, data) == data
    assert nic.stats.errors == 0


def test_datagrams(boot: Boot, default_image: str, tmp_path: Path) -> None:
    """A frame each; the peer may come later."""
    here, there = tmp_path / "here", tmp_path / "there"
    kernel = boot(nics=[UnixNic(there, local=here)])
    kernel.ifup("eth0", "10.0.0.1/24")
    data = os.urandom(1 << 20)
    for _ in range(2):
        with other_process(default_image, here, local=str(there)) as process:
            assert echo(kernel, data) == data
            process.terminate()
            process.wait(10)


def test_a_peer_that_goes_and_comes_back(boot: Boot, default_image: str, tmp_path: Path) -> None:
    """Killed in the middle; the next one gets the connection, and the kernel never notices."""
    path = tmp_path / "socket"
    kernel = boot(nics=[UnixNic(path, listen=True)])
    kernel.ifup("eth0", "10.0.0.1/24")
    for _ in range(3):
        with other_process(default_image, path) as process:
            assert echo(kernel, b"x" * 100_000) == b"x" * 100_000
            process.send_signal(signal.SIGKILL)
            process.wait(10)


def test_carrier(boot: Boot, tmp_path: Path) -> None:
    """There is one as long as there is a peer, for a driver that looks."""
    path = tmp_path / "socket"
    nic = UnixNic(path, listen=True)
    nic.link_up = True
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    for _ in range(3):
        wait_for_carrier(kernel, "0\n")
        with host.socket(host.AF_UNIX) as peer:
            peer.connect(str(path))
            wait_for_carrier(kernel, "1\n")


def test_a_stream_that_was_connected(boot: Boot) -> None:
    """FdNic sees what kind of socket it is: here TCP of the host, between two kernels."""
    with host.create_server(("127.0.0.1", 0)) as server:
        a = host.create_connection(server.getsockname())
        b, _ = server.accept()
    with a, b:
        left, right = boot(nics=[FdNic(a)]), boot(nics=[FdNic(b)])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    with (
        right.socket.create_server(("10.0.0.2", 80)) as listener,
        left.socket.create_connection(("10.0.0.2", 80), timeout=20) as client,
        listener.accept()[0] as peer,
    ):
        client.sendall(b"behind its length")
        assert peer.recv(100) == b"behind its length"


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nobody") as caught:
        UnixNic(tmp_path / "nobody", reconnect=None)
    assert caught.value.errno == errno.ENOENT
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="in use"):
        UnixNic(tmp_path / "file", listen=True)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(OSError, match="too long"):
        UnixNic("x" * 200)
    with pytest.raises(ValueError, match="bad arguments of a unix socket"):
        UnixNic("")
    with pytest.raises(ValueError, match="reconnect must be more than 0"):
        UnixNic("x", reconnect=0)
    with pytest.raises(ValueError, match="datagrams have no listener"):
        UnixNic("x", local="y", listen=True)
    nic = UnixNic(tmp_path / "taken", listen=True)
    with pytest.raises(OSError, match="in use"):
        UnixNic(tmp_path / "taken", listen=True)
    del nic
    assert not (tmp_path / "taken").exists()


def is_listening(path: Path) -> bool:
    with host.socket(host.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest.fixture
def passt(namespace: Namespace, tmp_path: Path) -> Iterator[Path]:
    """Debian's passt in a namespace whose only way out ends there: its socket."""
    namespace.ip("link add out type veth peer name nobody")
    namespace.ip("link set nobody up")
    namespace.address("out", "192.0.2.1/24")
    namespace.ip("route add default via 192.0.2.2")
    path = tmp_path / "passt"
    command = ["ip", "netns", "exec", namespace.name, "passt", "-f", "-s", str(path)]
    command += ["--runas", "0", "-a", "10.0.2.15", "-n", "24", "-g", "10.0.2.2", "-4"]
    command += ["-t", "8080:80", "-u", "none"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not is_listening(path):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield path
        process.kill()


def test_passt(boot: Boot, namespace: Namespace, passt: Path) -> None:
    """TCP to the host, TCP from the host to a published port, UDP."""
    nic = UnixNic(passt, mtu=65520)
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.2.15/24", "10.0.2.2")
    with namespace.server(("127.0.0.1", 5000)) as server:
        send_to(kernel, ("10.0.2.2", 5000), server, os.urandom(1 << 20), 8)
    with (
        kernel.socket.create_server(("10.0.2.15", 80)) as listener,
        namespace.connect(("127.0.0.1", 8080)) as client,
    ):
        # Debian 12's passt acknowledges a connection with the first data only.
        client.sendall(b"from outside")
        with listener.accept()[0] as caller:
            assert caller.recv(100) == b"from outside"
    with (
        namespace.socket(host.AF_INET, host.SOCK_DGRAM) as there,
        kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as here,
    ):
        there.bind(("127.0.0.1", 7))
        there.settimeout(10)
        here.settimeout(10)
        here.sendto(b"question", ("10.0.2.2", 7))
        question, address = there.recvfrom(100)
        there.sendto(question + b", answer", address)
        assert here.recv(100) == b"question, answer"
    assert nic.stats.errors == 0
