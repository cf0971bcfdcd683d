# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that talk: to the host over a user-mode network, to each other over links."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import os
import socket as host
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel import FdNic, Kernel, Link
from rumpel.net import IPPROTO_MPTCP

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


class TestIfup:
    """Interfaces, addresses, routes."""

    def test_addresses(self, boot: Boot) -> None:
        a, _ = Link(mtu=9000, macs=("02:00:00:00:00:aa", None))
        kernel = boot(nics=[a])
        kernel.ifup("eth0", "10.1.2.3/24", "10.1.2.1", mtu=4000)
        kernel.ifup("eth0", "10.1.2.3/24", "10.1.2.1")
        kernel.ifup("eth0", "fd00::5/64")
        with kernel.open("/sys/class/net/eth0/mtu") as file:
            assert file.read() == "4000\n"
        with kernel.open("/sys/class/net/eth0/address") as file:
            assert file.read() == "02:00:00:00:00:aa\n"
        with kernel.open("/proc/net/route") as file:
            routes = [line.split()[:3] for line in file][1:]
        assert ["eth0", "00000000", "0102010A"] in routes
        with kernel.open("/proc/net/if_inet6") as file:
            assert "fd000000000000000000000000000005" in file.read()
        with kernel.socket.socket() as sock:
            sock.bind(("10.1.2.3", 5))

    def test_mistakes(self, kernel: Kernel) -> None:
        with pytest.raises(OSError, match="eth7") as caught:
            kernel.ifup("eth7", "10.0.0.1/24")
        assert caught.value.errno == errno.ENODEV
        for bad in ("nonsense", "10.0.0.1/99", "10.0.0"):
            with pytest.raises(ValueError, match="not an address"):
                kernel.ifup("lo", bad)
            with pytest.raises(ValueError, match="not an address"):
                kernel.ifup("lo", None, bad)
        with pytest.raises(OSError, match=r"10\.9\.9\.9"):
            kernel.ifup("lo", None, "10.9.9.9")

    def test_interfaces_have_their_order(self, boot: Boot) -> None:
        nics = [*Link(), *Link()]
        kernel = boot(nics=nics)
        names = [name for _, name in kernel.socket.if_nameindex()]
        assert [n for n in names if n.startswith("eth")] == ["eth0", "eth1", "eth2", "eth3"]


@contextlib.contextmanager
def serving(server: Any) -> Iterator[Any]:
    """Serve in a thread; all threads of the server end before its kernel does."""
    server.daemon_threads = False  # so that closing it waits for them
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address
        server.shutdown()
        thread.join()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, silently."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class TestServers:
    """Servers of the standard library on a kernel, with its modules swapped."""

    @pytest.fixture(autouse=True)
    def swapped(self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (socketserver, http.server, http.client):
            if hasattr(module, "socket"):
                monkeypatch.setattr(module, "socket", kernel.socket)
        monkeypatch.setattr(socketserver, "selectors", kernel.selectors)
        monkeypatch.setattr(socketserver, "_ServerSelector", kernel.selectors.PollSelector)

    def test_socketserver(self, kernel: Kernel) -> None:
        class Echo(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    self.wfile.write(line.upper())

        with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)) as where:
            for number in range(5):
                with kernel.socket.create_connection(where) as sock:
                    sock.sendall(b"line %d\n" % number)
                    assert sock.recv(100) == b"LINE %d\n" % number

    def test_http_server_and_client(self, tmp_path: Path) -> None:
        (tmp_path / "page").write_bytes(b"content" * 10_000)

        def handler(*args: Any) -> Handler:
            return Handler(*args, directory=str(tmp_path))

        with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 8080), handler)):
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=10)
            for _ in range(3):
                connection.request("GET", "/page")
                assert connection.getresponse().read() == b"content" * 10_000
            connection.close()


def pair(boot: Boot, links: int = 1, **options: Any) -> tuple[Kernel, Kernel]:
    """Two kernels joined by cables: 10.0.N.1 and 10.0.N.2."""
    cables = [Link(**options) for _ in range(links)]
    left = boot(nics=[cable[0] for cable in cables])
    right = boot(nics=[cable[1] for cable in cables])
    for number in range(links):
        left.ifup(f"eth{number}", f"10.0.{number}.1/24")
        right.ifup(f"eth{number}", f"10.0.{number}.2/24")
    return left, right


def transfer(left: Kernel, right: Kernel, megabytes: int, proto: int = 0) -> None:
    """Send from left to right by two threads; every byte is compared."""
    data = os.urandom(1 << 20)
    failures: list[BaseException] = []
    with right.socket.socket(host.AF_INET, host.SOCK_STREAM, proto) as server:
        # The connection of a transfer before may still be closing.
        server.setsockopt(host.SOL_SOCKET, host.SO_REUSEADDR, 1)
        server.bind(("", 5001))
        server.listen()

        def receive() -> None:
            try:
                peer, _ = server.accept()
                buffer = bytearray(len(data))
                with peer, peer.makefile("rb", buffering=0) as raw:
                    for _ in range(megabytes):
                        view = memoryview(buffer)
                        while view:
                            count = raw.readinto(view)
                            assert count, "the connection ended early"
                            view = view[count:]
                        assert buffer == data
                    assert raw.read(1) == b""
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=receive)
        thread.start()
        with left.socket.socket(host.AF_INET, host.SOCK_STREAM, proto) as client:
            client.connect(("10.0.0.2", 5001))
            for _ in range(megabytes):
                client.sendall(data)
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []


class TestLinks:
    """Two kernels in one process."""

    def test_tcp(self, boot: Boot) -> None:
        left, right = pair(boot)
        transfer(left, right, 128)

    def test_tcp_with_large_frames(self, boot: Boot) -> None:
        transfer(*pair(boot, mtu=9000), 64)

    def test_mptcp_uses_both_links(self, boot: Boot) -> None:
        left, right = pair(boot, links=2)
        for kernel in (left, right):
            assert kernel.sysctl["net.mptcp.enabled"] == "1"
            kernel.net.mptcp.limits = 8, 8
        right.net.mptcp.add("10.0.1.2", signal=True)
        for _ in range(5):  # on a busy machine one may end before the second link is used
            before = [counters(left, f"eth{n}") for n in range(2)]
            transfer(left, right, 64, IPPROTO_MPTCP)
            after = [counters(left, f"eth{n}") for n in range(2)]
            moved = [b - a for a, b in zip(before, after, strict=True)]
            if min(moved) > 1 << 20:
                break
        assert min(moved) > 1 << 20, f"one link carried nothing: {moved}"
        # virtio-net counts a frame when its buffer comes back: the last ones may not have.
        assert sum(moved) > 62 << 20

    def test_both_directions_at_once(self, boot: Boot) -> None:
        left, right = pair(boot)
        with right.socket.create_server(("10.0.0.2", 7)) as server:
            client = left.socket.create_connection(("10.0.0.2", 7), timeout=60)
            peer, _ = server.accept()
        data = os.urandom(8 << 20)
        results: list[bool] = []

        def receive(sock: Any) -> None:
            received = bytearray()
            while len(received) < len(data):
                received += sock.recv(1 << 20)
            results.append(received == data)

        threads = [threading.Thread(target=receive, args=(s,)) for s in (client, peer)]
        threads += [threading.Thread(target=s.sendall, args=(data,)) for s in (client, peer)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == [True, True]
        client.close()
        peer.close()

    def test_ipv6_and_udp(self, boot: Boot) -> None:
        left, right = pair(boot)
        left.ifup("eth0", "fd00::1/64")
        right.ifup("eth0", "fd00::2/64")
        with (
            left.socket.socket(host.AF_INET6, host.SOCK_DGRAM) as a,
            right.socket.socket(host.AF_INET6, host.SOCK_DGRAM) as b,
        ):
            b.bind(("fd00::2", 53))
            b.settimeout(10)
            a.sendto(b"x" * 1200, ("fd00::2", 53))
            data, where = b.recvfrom(2000)
            assert (data, where[0]) == (b"x" * 1200, "fd00::1")

    def test_captures(self, boot: Boot, tmp_path: Path) -> None:
        cable = Link()
        left, right = boot(nics=[cable[0]]), boot(nics=[cable[1]])
        left.ifup("eth0", "10.0.0.1/24")
        right.ifup("eth0", "10.0.0.2/24")
        with (tmp_path / "x.pcap").open("wb") as file:
            cable[0].capture(file)
            transfer(left, right, 1)
            cable[0].capture(None)
            transfer(left, right, 1)
        data = (tmp_path / "x.pcap").read_bytes()
        magic, major, minor, _, _, _, kind = struct.unpack_from("=IHHiIII", data)
        assert (magic, major, minor, kind) == (0xA1B23C4D, 2, 4, 1)
        at, total = 24, 0
        while at < len(data):
            _, ns, size, _ = struct.unpack_from("=IIII", data, at)
            assert ns < 1_000_000_000
            at += 16 + size
            total += size
        assert at == len(data)
        assert 1 << 20 < total < 2 << 20

    def test_statistics(self, boot: Boot) -> None:
        cable = Link()
        left, right = boot(nics=[cable[0]]), boot(nics=[cable[1]])
        left.ifup("eth0", "10.0.0.1/24")
        right.ifup("eth0", "10.0.0.2/24")
        transfer(left, right, 2)
        end = time.monotonic() + 10
        while (a := cable[0].stats).sent_bytes != (b := cable[1].stats).received_bytes:
            assert time.monotonic() < end  # a last acknowledgement may pass in between
        assert a.sent_bytes > 2 << 20
        assert b.received_bytes == a.sent_bytes
        assert (a.errors, b.errors) == (0, 0)

    def test_a_peer_that_has_gone(self, boot: Boot) -> None:
        left, right = pair(boot)
        right.halt()
        with pytest.raises((TimeoutError, OSError), match=r"timed out|unreachable|No route"):
            left.socket.create_connection(("10.0.0.2", 7), timeout=1)
        assert left.os.getpid() == 1


def counters(kernel: Kernel, name: str) -> int:
    with kernel.open(f"/sys/class/net/{name}/statistics/tx_bytes") as file:
        return int(file.read())


class TestSocketPairs:
    """An interface whose frames are messages of a socket of the test."""

    def test_frames(self, boot: Boot) -> None:
        ours, theirs = host.socketpair(host.AF_UNIX, host.SOCK_SEQPACKET)
        with ours, theirs:
            kernel = boot(nics=[FdNic(theirs, "02:00:00:00:00:01")])
            kernel.ifup("eth0", "10.0.0.1/24")
            ours.settimeout(10)
            with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
                sock.sendto(b"hello", ("10.0.0.2", 9))
                frame = ours.recv(2000)
                while frame[12:14] != b"\x08\x06":
                    frame = ours.recv(2000)
                assert frame[38:42] == bytes([10, 0, 0, 2])
                mac = b"\2\0\0\0\0\2"
                reply = frame[6:12] + mac + frame[12:20] + b"\0\2" + mac + frame[38:42]
                ours.send(reply + frame[22:28] + frame[28:32])
                while frame[12:14] != b"\x08\x00" or frame[23] != 17:
                    frame = ours.recv(2000)
                assert frame[:6] == mac
                assert frame[42:] == b"hello"

    def test_a_peer_that_hangs_up(self, boot: Boot) -> None:
        ours, theirs = host.socketpair(host.AF_UNIX, host.SOCK_SEQPACKET)
        kernel = boot(nics=[FdNic(theirs)])
        theirs.close()
        kernel.ifup("eth0", "10.0.0.1/24")
        ours.close()
        with contextlib.suppress(OSError), kernel.socket.socket(type=host.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", ("10.0.0.2", 9))
        assert kernel.os.getpid() == 1
