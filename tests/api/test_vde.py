# SPDX-License-Identifier: GPL-2.0-only
"""Ports of a VDE switch: Debian's vde_switch, and kernels in two processes."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rumpel import Kernel, Vde
from tests.api.test_unix_nic import echo, is_listening, serving
from tests.cputime import cpu_time_of_others

pytestmark = [pytest.mark.kernel, pytest.mark.once]

Boot = Callable[..., Kernel]


@contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A switch whose sockets are in a directory."""
    command = ["vde_switch", "-s", str(path), "-n", "8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not is_listening(path / "ctl"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Path]:
    """A switch with eight ports."""
    with running(tmp_path / "switch"):
        yield tmp_path / "switch"


def test_kernels_in_two_processes(boot: Boot, default_image: str, switch: Path) -> None:
    nic = Vde(switch)
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    data = os.urandom(1 << 20)
    with serving(default_image, "Vde", str(switch)):
        assert echo(kernel, data) == data
    assert nic.stats.errors == 0


def test_three_ports(boot: Boot, switch: Path) -> None:
    """A switch forwards: the third hears of a broadcast, but not of what is for others."""
    nics = [Vde(switch, port=number) for number in (1, 2, 3)]
    kernels = [boot(nics=[nic]) for nic in nics]
    for number, kernel in enumerate(kernels):
        kernel.ifup("eth0", f"10.0.0.{number + 1}/24")
    with (
        kernels[0].socket.create_server(("10.0.0.1", 80)) as server,
        kernels[1].socket.create_connection(("10.0.0.1", 80), timeout=20) as client,
        server.accept()[0] as peer,
    ):
        before = nics[2].stats.received_bytes
        client.sendall(bytes(100_000))
        got = 0
        while got < 100_000:
            got += len(peer.recv(1 << 16))
        assert nics[2].stats.received_bytes - before < 10_000


def test_a_switch_that_ends(boot: Boot, tmp_path: Path) -> None:
    """Nobody spins, calls go on, the kernel halts, and nothing is left of the socket."""
    path = tmp_path / "switch"
    with running(path) as process:
        kernel = boot(nics=[Vde(path)])
        kernel.ifup("eth0", "10.0.0.1/24")
        process.kill()
        process.wait(10)
        with kernel.socket.socket(2, 2) as sock:
            for _ in range(20):
                sock.sendto(b"x", ("10.0.0.2", 9))
        assert cpu_time_of_others() < 0.15
        assert kernel.os.getpid() == 1
        kernel.halt()
        kernel.close()
    assert not list(path.glob(".rumpel*"))


def test_mistakes(tmp_path: Path, switch: Path) -> None:
    with pytest.raises(OSError, match="nowhere") as caught:
        Vde(tmp_path / "nowhere")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="not a port of a switch: 256"):
        Vde(switch, port=256)
    with pytest.raises(ValueError, match="at most 1500"):
        Vde(switch, mtu=1501)
    with pytest.raises(OSError, match="too long"):
        Vde("x" * 200)
    with pytest.raises(TimeoutError, match="switch"):
        Vde(switch, port=200)
    assert not list(switch.glob(".rumpel*"))
