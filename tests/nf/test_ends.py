# SPDX-License-Identifier: GPL-2.0-only
"""What stands at the ends of chains: services, and the host's network."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.netns import Namespace, namespace
from tests.nf.tools import RUMPEL, chain, nf, shell

__all__ = ["namespace"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def answers(namespace: Namespace, address: str) -> bool:
    """Does somebody answer the host's ping, as soon as the chain is there?"""
    for _ in range(20):
        if " 1 received" in namespace.run("ping", "-c", "1", "-W", "10", address, check=False):
            return True
    return False


def test_a_web_server(default_image: str, tmp_path: Path) -> None:
    """Files of the host, over the kernels' TCP."""
    (tmp_path / "page").write_text("a page of the host\n")
    (tmp_path / "request").write_bytes(b"GET /page HTTP/1.0\r\n\r\n")
    text = (
        f"tcp 10.0.0.2 80 --input {tmp_path}/request --output {tmp_path}/answer | route |"
        f" host 10.0.0.2 --http 80:{tmp_path}"
    )
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "answer").read_bytes().endswith(b"\r\n\r\na page of the host\n")


@pytest.mark.parametrize("mode", ["", "--fuse", "--virtual"], ids=["pipes", "fused", "virtual"])
@pytest.mark.parametrize(
    "source", ["ping -i 0.001 -c 100000000 10.0.0.2", "udp 10.0.0.2 9 --input /dev/zero"]
)
def test_nobody_reads_the_output(default_image: str, mode: str, source: str) -> None:
    """Who sends for days ends as ``yes | head`` does."""
    words = f"{RUMPEL} nf chain {mode} --image {default_image} '{source} | route'"
    done = shell(f"{words} | head -n 1; echo ${{PIPESTATUS[0]}} >&2")
    assert done.stdout.count("\n") == 1
    assert done.stderr.splitlines()[-1] == "141"


def test_what_is_discarded_is_counted(default_image: str, tmp_path: Path) -> None:
    """All of it."""
    (tmp_path / "data").write_bytes(bytes(3_000_000))
    text = f"tcp 10.0.0.2 9 --input {tmp_path}/data | host 10.0.0.2 --discard 9"
    done = chain(default_image, text)
    assert done.returncode == 0, done.stderr
    assert "3000000 bytes in " in done.stderr


@pytest.mark.parametrize("mode", [[], ["--fuse"]], ids=["pipes", "fused"])
def test_the_host_behind_a_tap(default_image: str, namespace: Namespace, mode: list[str]) -> None:
    """The host's ping goes through nat to a kernel, whose answer comes back, until the end."""
    text = f"tap tap0 --netns {namespace.name} | nat | host 10.0.0.2"
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]
    process = subprocess.Popen([*words, *mode, "--image", default_image, text])
    try:
        while namespace.run("ip", "link", "show", "tap0", check=False) == "":
            assert process.poll() is None
            time.sleep(0.05)
        namespace.address("tap0", "10.0.0.1/24")
        assert answers(namespace, "10.0.0.2")
    finally:
        process.send_signal(2)
        assert process.wait(timeout=120) == 130


def test_a_tap_in_a_pipeline(default_image: str, namespace: Namespace) -> None:
    """What the host sends goes into a pipe, until nobody reads it any more."""
    command = (
        f"{nf(default_image, f'tap tap0 --netns {namespace.name}')} | grep -m 1 'who-has 10.0.0.2'"
    )
    with subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            while namespace.run("ip", "link", "show", "tap0", check=False) == "":
                assert process.poll() is None
                time.sleep(0.05)
            namespace.address("tap0", "10.0.0.1/24")
            # The reader ends with the first, and the stage with what it writes then.
            deadline = time.monotonic() + 60
            while process.poll() is None:
                assert time.monotonic() < deadline, "the stage has not ended"
                namespace.run("ping", "-c", "1", "-W", "1", "10.0.0.2", check=False)
            assert process.stdout is not None
            assert "ARP who-has 10.0.0.2 tell 10.0.0.1" in process.stdout.read()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("option", ["", "--xdp"])
def test_an_interface_of_the_host(default_image: str, namespace: Namespace, option: str) -> None:
    """A station on the network of a veth, behind a filter: it answers one address' pings."""
    other = Namespace()
    try:
        make = f"link add in type veth peer name out netns {other.name}"
        subprocess.run(["ip", "-n", namespace.name, *make.split()], check=True)
        other.address("out", "10.0.0.1/24")
        namespace.ip("link set in up")
        text = (
            f"packet in {option} --netns {namespace.name} | filter 'ip daddr 10.0.0.3 drop' |"
            " host 10.0.0.2 10.0.0.3"
        )
        words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]
        process = subprocess.Popen([*words, "--image", default_image, text])
        try:
            assert answers(other, "10.0.0.2")
            lost = other.run("ping", "-c", "1", "-w", "1", "10.0.0.3", check=False)
            assert " 0 received" in lost
        finally:
            process.send_signal(2)
            assert process.wait(timeout=120) == 130
    finally:
        other.close()


def test_the_outside(default_image: str, tmp_path: Path) -> None:
    """A server of the host, reached from behind a nat without any privilege."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"to " + connection.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        (tmp_path / "in").write_bytes(b"the host")
        text = f"tcp 10.0.2.2 {port} --input {tmp_path}/in --output {tmp_path}/out | nat | user"
        done = chain(default_image, text)
        thread.join()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == b"to the host"


def test_the_outside_gets_in(default_image: str) -> None:
    """A port of the host's loopback leads to a service of the chain."""
    port = port_of_its_own()
    text = f"host 10.0.0.1 --echo 7 | route | user --forward tcp:{port}:10.0.0.1:7"
    words = [sys.executable, "-c", "from rumpel.cli import main; main()", "nf", "chain"]
    process = subprocess.Popen([*words, "--image", default_image, text])
    try:
        assert exchange(port, b"hello") == b"hello"
    finally:
        process.send_signal(2)
        assert process.wait(timeout=120) == 130


def port_of_its_own() -> int:
    """One that is free, and that no program is given that asks for any: ip(7)."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(lowest - 1 - os.getpid() % 10_000, 1024, -1):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are taken")


def exchange(port: int, data: bytes) -> bytes:
    """Send, and receive as much, as soon as somebody listens."""
    for _ in range(2000):
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as sock:
                sock.sendall(data)
                answer = sock.recv(len(data), socket.MSG_WAITALL)
                if answer:
                    return answer
        except ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("nobody answered")
