# SPDX-License-Identifier: GPL-2.0-only
"""A kernel on a user-mode network: the host and what is behind it, without privileges."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import http.server
import os
import socket as host
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel, UserNet
from rumpel.devices.netns import inside
from tests.api.test_dns import answer, configure
from tests.api.test_networks import Handler
from tests.netns import Namespace, namespace

__all__ = ["namespace"]

from tests.api.traffic import send_to

pytestmark = [pytest.mark.kernel, pytest.mark.once]

Boot = Callable[..., Kernel]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    """A server of the host on its loopback: the port, and what is at /page."""
    content = os.urandom(3 << 20)
    (tmp_path / "page").write_bytes(content)

    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1], content
        server.shutdown()
        thread.join()


def online(boot: Boot, **options: Any) -> tuple[Kernel, UserNet]:
    net = UserNet(**options)
    kernel = boot(nics=[net])
    kernel.ifup("eth0", net.address, net.gateway)
    return kernel, net


def test_a_page_of_the_host(
    boot: Boot, web: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """http.client, unchanged, with the module socket swapped."""
    kernel, net = online(boot)
    monkeypatch.setattr(http.client, "socket", kernel.socket)
    connection = http.client.HTTPConnection(net.gateway, web[0], timeout=20)
    for _ in range(3):
        connection.request("GET", "/page")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read() == web[1]
    connection.request("GET", "/nothing")
    assert connection.getresponse().status == 404
    assert isinstance(connection.sock, kernel.socket.socket) or connection.sock is None
    connection.close()


@pytest.mark.parametrize("mtu", [1500, 9000, 65520])
def test_sizes_of_frames(boot: Boot, web: tuple[int, bytes], mtu: int) -> None:
    kernel, net = online(boot, mtu=mtu)
    with kernel.socket.create_connection((net.gateway, web[0]), timeout=20) as sock:
        sock.sendall(b"GET /page HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as file:
            assert file.read().endswith(web[1])


def test_two_segments_fill_the_window(boot: Boot) -> None:
    """Linux opens a window by whole segments: two fit into libslirp's of 65,535 bytes."""
    kernel, net = online(boot)
    with host.create_server(("127.0.0.1", 0)) as server:
        where = net.gateway, server.getsockname()[1]
        with kernel.socket.create_connection(where, timeout=20) as sock:
            # Of 32768 bytes Linux would let one be on the way.
            assert sock.getsockopt(host.IPPROTO_TCP, host.TCP_MAXSEG) == 32767


def test_much_to_the_host(boot: Boot) -> None:
    kernel, net = online(boot)
    with host.create_server(("127.0.0.1", 0)) as server:
        where = (net.gateway, server.getsockname()[1])
        send_to(kernel, where, server, os.urandom(1 << 20), 32)


def test_from_the_host(boot: Boot) -> None:
    kernel, net = online(boot)
    with kernel.socket.create_server(("", 80)) as server:
        forward = net.forward(80)
        with host.create_connection(("127.0.0.1", forward.host_port)) as client:
            client.sendall(b"hello")
            peer, _ = server.accept()
            with peer:
                assert peer.recv(10) == b"hello"
                peer.sendall(b"x" * 1_000_000)
            received = b""
            while part := client.recv(65536):
                received += part
        assert received == b"x" * 1_000_000
        net.unforward(forward)


def test_datagrams(boot: Boot) -> None:
    kernel, net = online(boot)
    with (
        host.socket(host.AF_INET, host.SOCK_DGRAM) as peer,
        kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(10)
        sock.settimeout(10)
        sock.sendto(b"ping", (net.gateway, peer.getsockname()[1]))
        data, where = peer.recvfrom(100)
        assert data == b"ping"
        peer.sendto(b"pong", where)
        assert sock.recv(100) == b"pong"
        # Longer than what libslirp's segments are made by.
        large = os.urandom(60_000)
        sock.sendto(large, (net.gateway, peer.getsockname()[1]))
        assert peer.recv(65535) == large
        peer.sendto(large, where)
        assert sock.recv(65535) == large


def test_the_host_can_be_shut_out(boot: Boot, web: tuple[int, bytes]) -> None:
    kernel, net = online(boot, host_loopback=False)
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        kernel.socket.create_connection((net.gateway, web[0]), timeout=2)


def test_a_port_where_nobody_listens(boot: Boot) -> None:
    kernel, net = online(boot)
    with host.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            kernel.socket.create_connection((net.gateway, closed.getsockname()[1]), timeout=10)


def test_many_connections(boot: Boot, web: tuple[int, bytes]) -> None:
    kernel, net = online(boot)
    results: list[bool] = []

    def fetch() -> None:
        with kernel.socket.create_connection((net.gateway, web[0]), timeout=30) as sock:
            sock.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            with sock.makefile("rb") as file:
                results.append(file.read().endswith(web[1]))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 8


def test_the_network_ends_with_the_kernel(boot: Boot) -> None:
    kernel, net = online(boot)
    kernel.halt()
    with pytest.raises(OSError, match="shutdown"):
        net.forward(80)


# ---- IPv6 ----


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def test_ipv6_by_router_advertisements(boot: Boot) -> None:
    """As on any network: nobody tells the kernel an address or the way out."""
    kernel, net = online(boot)

    def has_address() -> bool:
        with kernel.open("/proc/net/if_inet6") as file:
            return any(line.startswith("fd00" + "0" * 12) for line in file)

    wait_until(has_address)
    assert net.gateway6 == "fd00::2"
    with host.create_server(("::1", 0), family=host.AF_INET6) as server:
        where = net.gateway6, server.getsockname()[1]
        # The address is tentative for a moment.
        wait_until(lambda: connects(kernel, where))
        server.accept()[0].close()
    with kernel.open("/proc/net/ipv6_route") as file:
        assert any(line.startswith("0" * 32 + " 00 ") and "eth0" in line for line in file)


def connects(kernel: Kernel, where: tuple[str, int]) -> bool:
    try:
        kernel.socket.create_connection(where, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def six(boot: Boot) -> tuple[Kernel, UserNet]:
    """A kernel with addresses of both families."""
    kernel, net = online(boot)
    kernel.ifup("eth0", net.address6, net.gateway6)
    return kernel, net


def test_ipv6_to_the_host(six: tuple[Kernel, UserNet]) -> None:
    kernel, net = six
    data = os.urandom(1 << 20)
    with host.create_server(("::1", 0), family=host.AF_INET6) as server:
        where = net.gateway6, server.getsockname()[1]
        with kernel.socket.create_connection(where, timeout=20) as sock:
            peer, _ = server.accept()
            with peer:
                thread = threading.Thread(target=peer.sendall, args=(data,))
                thread.start()
                with sock.makefile("rb") as file:
                    assert file.read(len(data)) == data
                thread.join()
    with host.socket(host.AF_INET6, host.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        peer.settimeout(10)
        with kernel.socket.socket(host.AF_INET6, host.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            sock.sendto(b"ping", (net.gateway6, peer.getsockname()[1]))
            got, where = peer.recvfrom(100)
            assert got == b"ping"
            peer.sendto(b"pong", where)
            assert sock.recv(100) == b"pong"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_published_ports(six: tuple[Kernel, UserNet], address: str) -> None:
    """TCP and UDP, of both families, each to the kernel's address of that family."""
    kernel, net = six
    family = host.AF_INET6 if ":" in address else host.AF_INET
    own = (net.address6 if ":" in address else net.address) or ""
    own = own.split("/")[0]
    with kernel.socket.create_server((own, 80), family=family) as server:
        forward = net.forward(80, host_address=address)
        with host.create_connection((address, forward.host_port), timeout=20) as client:
            peer, _ = server.accept()
            client.sendall(b"hello")
            assert peer.recv(10) == b"hello"
            peer.sendall(b"hello yourself")
            assert client.recv(100) == b"hello yourself"
            peer.close()
        net.unforward(forward)
        where = address, forward.host_port
        with host.socket(family) as silent, pytest.raises(ConnectionRefusedError):
            # So that nobody else listens there.
            silent.setsockopt(host.SOL_SOCKET, host.SO_REUSEADDR, 1)
            silent.bind(where)
            host.create_connection(where, timeout=60)
    with (
        kernel.socket.socket(family, host.SOCK_DGRAM) as sock,
        host.socket(family, host.SOCK_DGRAM) as client,
    ):
        sock.bind((own, 53))
        forward = net.forward(53, udp=True, host_address=address)
        client.settimeout(20)
        sock.settimeout(20)
        for number in range(3):
            client.sendto(b"question %d" % number, (address, forward.host_port))
            data, where = sock.recvfrom(100)
            assert data == b"question %d" % number
            sock.sendto(b"answer %d" % number, where)
            assert client.recv(100) == b"answer %d" % number
        net.unforward(forward)


def test_without_ipv6(boot: Boot) -> None:
    kernel, net = online(boot, network6=None)
    assert (net.address6, net.gateway6, net.dns6) == (None, None, None)
    with pytest.raises(ValueError, match="families: '::1'"):
        net.forward(80, 8080, host_address="::1")
    kernel.ifup("eth0", "fd00::f/64")
    with pytest.raises(OSError, match=r"unreachable|timed out|No route"):
        kernel.socket.create_connection(("fd00::2", 80), timeout=2)


def test_the_hosts_ipv6_can_be_shut_out(boot: Boot) -> None:
    kernel, net = online(boot, host_loopback=False)
    kernel.ifup("eth0", net.address6, net.gateway6)
    with (
        host.create_server(("::1", 0), family=host.AF_INET6) as server,
        pytest.raises(OSError, match=r"refused|unreachable|timed out"),
    ):
        kernel.socket.create_connection((net.gateway6, server.getsockname()[1]), timeout=2)


# ---- pings ----


def ping(kernel: Kernel, address: str, seconds: float = 10) -> bytes:
    """Ask once; the data of the answer."""
    six = ":" in address
    family, protocol = (host.AF_INET6, 58) if six else (host.AF_INET, 1)
    question = struct.pack(">BBHHH", 128 if six else 8, 0, 0, 0, 7) + b"are you there?"
    with kernel.socket.socket(family, host.SOCK_DGRAM, protocol) as sock:
        sock.settimeout(seconds)
        sock.sendto(question, (address, 0))
        answer: bytes = sock.recv(1000)
        assert answer[0] == (129 if six else 0)
        return answer[8:]


def test_the_gateway_answers_pings(six: tuple[Kernel, UserNet]) -> None:
    kernel, net = six
    kernel.sysctl["net.ipv4.ping_group_range"] = "0 0"
    for address in (net.gateway, net.dns, net.gateway6, net.dns6):
        assert address is not None
        assert ping(kernel, address) == b"are you there?"


def test_pings_to_others_leave_by_the_hosts_ping_sockets(boot: Boot, namespace: Namespace) -> None:
    namespace.address("lo", "192.0.2.1/32")
    namespace.run("sysctl", "-q", "net.ipv4.ping_group_range=0 2147483647")
    with inside(namespace.name):
        kernel, _ = online(boot)
    kernel.sysctl["net.ipv4.ping_group_range"] = "0 0"
    assert ping(kernel, "192.0.2.1") == b"are you there?"
    # Nobody has this one.
    with pytest.raises(OSError, match=r"timed out|unreachable"):
        ping(kernel, "192.0.2.2", seconds=1)


# ---- names ----


def in_a_root_of_its_own(function: Callable[[], None]) -> None:
    """In a thread whose /etc can be changed without anybody else noticing."""
    errors: list[BaseException] = []
    clone_newns, ms_rec, ms_private = 0x20000, 0x4000, 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)

    def run() -> None:
        try:
            assert libc.unshare(clone_newns) == 0, os.strerror(ctypes.get_errno())
            assert libc.mount(b"none", b"/", None, ms_rec | ms_private, None) == 0
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in errors:
        raise error


def bind_mount(source: Path, target: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ms_bind = 4096
    assert libc.mount(bytes(source), target.encode(), None, ms_bind, None) == 0, os.strerror(
        ctypes.get_errno()
    )


@contextlib.contextmanager
def name_server(namespace: Namespace, address: str) -> Iterator[None]:
    """The zone of test_dns.py, at port 53 of an address in a namespace of the host."""
    family = host.AF_INET6 if ":" in address else host.AF_INET
    with namespace.socket(family, host.SOCK_DGRAM) as sock:
        sock.bind((address, 53))

        def serve() -> None:
            while True:
                wire, peer = sock.recvfrom(2000)
                if not wire:
                    return
                sock.sendto(answer(wire, 512), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        with namespace.socket(family, host.SOCK_DGRAM) as end:
            end.sendto(b"", (address, 53))
        thread.join(20)


@pytest.mark.parametrize("server", ["127.0.0.1", "::1"])
def test_names_come_from_the_hosts_name_server(
    boot: Boot, namespace: Namespace, tmp_path: Path, server: str
) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {server}\n")
    if ":" in server:
        namespace.run("sysctl", "-q", "net.ipv6.conf.lo.disable_ipv6=0")

    def look_up() -> None:
        bind_mount(resolv, "/etc/resolv.conf")
        with inside(namespace.name):
            kernel, net = online(boot)
        kernel.ifup("eth0", net.address6, net.gateway6)
        configure(kernel, f"nameserver {net.dns6 if ':' in server else net.dns}\n")
        assert kernel.socket.gethostbyname("four.example") == "127.0.0.4"
        rows = kernel.socket.getaddrinfo("both.example", 80, type=host.SOCK_STREAM)
        assert {row[4][0] for row in rows} == {"::1", "127.0.0.2"}

    with name_server(namespace, server):
        in_a_root_of_its_own(look_up)
