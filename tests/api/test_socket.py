# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.socket`` beside the host's ``socket``: each story is told to both."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket as host
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel

pytestmark = pytest.mark.kernel

IP_RECVTTL = 12

Story = Callable[[Any], Any]
STORIES: list[Story] = []


def story(function: Story) -> Story:
    """A function of a module socket; what it returns is compared."""
    STORIES.append(function)
    return function


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_same_end(story: Story, kernel: Kernel) -> None:
    assert story(kernel.socket) == story(host)


def error_of(function: Callable[..., Any], *args: Any) -> Any:
    """Which error it is."""
    try:
        function(*args)
    except (OSError, TypeError, ValueError, OverflowError) as error:
        return type(error).__name__, getattr(error, "errno", None)
    return None


def connected(socket: Any, family: int = host.AF_INET) -> tuple[Any, Any]:
    """Two ends of a TCP connection."""
    where = "127.0.0.1" if family == host.AF_INET else "::1"
    with socket.create_server((where, 0), family=family) as server:
        client = socket.create_connection(server.getsockname()[:2])
        return client, server.accept()[0]


@story
def tcp(socket: Any) -> Any:
    client, peer = connected(socket)
    with client, peer:
        result = [client.send(b"hello"), peer.recv(3), peer.recv(100)]
        result += [client.getpeername() == peer.getsockname(), peer.sendall(b"x" * 1000)]
        buffer = bytearray(600)
        result += [client.recv_into(buffer), buffer == b"x" * 600, client.recv_into(buffer, 100)]
        result += [len(client.recv(1000)), client.shutdown(socket.SHUT_WR), peer.recv(1)]
        result += [client.family, client.type, client.proto, peer.family, peer.type, peer.proto]
        result += [client.getblocking(), client.gettimeout(), client.timeout]
        return result


@story
def ipv6(socket: Any) -> Any:
    client, peer = connected(socket, socket.AF_INET6)
    with client, peer:
        name = client.getsockname()
        return [client.send(b"6"), peer.recv(9), name[0], name[2:], client.family, socket.has_ipv6]


@story
def udp(socket: Any) -> Any:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        a.bind(("127.0.0.1", 0))
        b.bind(("localhost", 0))
        result = [a.sendto(b"one", b.getsockname()), b.recvfrom(10)[0]]
        result += [a.sendto(b"two", 0, b.getsockname()), b.recvfrom(2)[1] == a.getsockname()]
        a.connect(b.getsockname())
        buffer = bytearray(10)
        result += [a.send(b""), b.recv(5), a.send(b"three"), b.recvfrom_into(buffer, 4)[0]]
        result += [bytes(buffer), error_of(a.recv, 1, socket.MSG_DONTWAIT)]
        result += [a.send(b"123456"), b.recv(2, socket.MSG_TRUNC | socket.MSG_PEEK)[:2]]
        return result


@story
def unix_by_path(socket: Any) -> Any:
    path = f"/tmp/rumpel-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        server.bind(path)
        server.listen()
        client.connect(path.encode())
        peer, address = server.accept()
        with peer:
            result = [address, server.getsockname() == path, client.getsockname()]
            result += [client.getpeername() == path, client.send(b"x"), peer.recv(10)]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    return result


@story
def unix_by_name(socket: Any) -> Any:
    name = f"\0rumpel-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as a:
        a.bind(name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as b:
            result = [b.sendto(b"x", name), a.recvfrom(10), b.getsockname()]
            b.bind("")
            return [*result, len(b.getsockname()), a.getsockname() == name.encode()]


@story
def pairs(socket: Any) -> Any:
    a, b = socket.socketpair()
    with a, b:
        result = [a.send(b"abc"), b.recv(10), a.family, a.type, a.getsockname(), b.getpeername()]
        result += [a.sendmsg([b"x", bytearray(b"y"), memoryview(b"z")]), b.recvmsg(10)]
        x, y = bytearray(2), bytearray(5)
        result += [a.send(b"12345"), b.recvmsg_into([x, y]), bytes(x), bytes(y)]
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a, b:
        result += [a.send(b"12345"), b.recvmsg(2), a.type]
    return result


@story
def descriptors_over_sockets(socket: Any) -> Any:
    a, b = socket.socketpair()
    c, d = socket.socketpair()
    with a, b, c, d:
        result = [socket.send_fds(a, [b"take ", b"this"], [c.fileno(), d.fileno()])]
        data, fds, flags, address = socket.recv_fds(b, 100, 4)
        result += [data, len(fds), flags, address]
        with socket.socket(fileno=fds[0]) as e, socket.socket(fileno=fds[1]):
            result += [e.family, e.type, e.send(b"!"), d.recv(3), e.get_inheritable()]
        return result


@story
def control_messages(socket: Any) -> Any:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        b.bind(("127.0.0.1", 0))
        b.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        ttl = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("i", 7))
        result = [a.sendmsg([b"x"], [ttl], 0, b.getsockname())]
        data, control, flags, address = b.recvmsg(10, socket.CMSG_SPACE(4))
        result += [data, control, flags, address[0], b.fileno() >= 0]
        result += [a.sendto(b"abc", b.getsockname()), b.recvmsg(2, 1)[2] & ~0x40000000]
        return result


@story
def options(socket: Any) -> Any:
    with socket.socket() as sock:
        result = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)]
        result += [sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]
        result += [sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)]
        result += [sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)]
        result += [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 4)]
        linger = struct.pack("ii", 1, 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        result += [sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == linger]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, None, 0)
        result += [error_of(sock.getsockopt, 1, 3, 5000), error_of(sock.getsockopt, 1, 9999)]
        result += [error_of(sock.setsockopt, 1, 2, None), error_of(sock.setsockopt, 1, 2, 3.5)]
        return result


@story
def timeouts(socket: Any) -> Any:
    client, peer = connected(socket)
    with client, peer:
        client.settimeout(0.05)
        result = [client.gettimeout(), client.getblocking(), error_of(client.recv, 1)]
        result += [error_of(client.sendall, b"x" * (50 << 20)), error_of(client.recvmsg, 1)]
        try:
            client.recv(1)
        except socket.timeout as error:
            result += [str(error), isinstance(error, TimeoutError)]
        client.settimeout(0)
        result += [client.getblocking(), client.gettimeout(), error_of(client.recv, 1)]
        client.setblocking(True)
        result += [client.gettimeout(), peer.send(b"x"), client.recv(1)]
        result += [error_of(client.settimeout, -1), error_of(client.settimeout, "x")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.02)
        return [*result, error_of(server.accept)]


@story
def default_timeouts(socket: Any) -> Any:
    result = [socket.getdefaulttimeout()]
    socket.setdefaulttimeout(0.5)
    try:
        with socket.socket() as sock:
            result += [sock.gettimeout(), error_of(socket.setdefaulttimeout, -1)]
    finally:
        socket.setdefaulttimeout(None)
    return result


@story
def connecting(socket: Any) -> Any:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = closed.getsockname()
        result = [error_of(socket.create_connection, where)]
        with socket.socket() as sock:
            result += [sock.connect_ex(where)]
        with socket.socket() as sock:
            sock.settimeout(3)
            result += [error_of(sock.connect, where)]
        try:
            socket.create_connection(where, all_errors=True)
        except ExceptionGroup as group:
            result += [[type(e).__name__ for e in group.exceptions]]
        closed.listen()
        with socket.create_connection(where, 3, ("127.0.0.1", 0)) as sock:
            result += [sock.gettimeout()]
        with socket.socket() as sock:
            sock.setblocking(False)
            result += [sock.connect_ex(where) in (0, errno.EINPROGRESS)]
        result += [error_of(sock.connect, where), error_of(sock.send, b"x")]
    return result


@story
def mistakes(socket: Any) -> Any:
    with socket.socket() as sock:
        return [
            error_of(sock.connect, "x"),
            error_of(sock.connect, ("127.0.0.1",)),
            error_of(sock.connect, ("127.0.0.1", 70000)),
            error_of(sock.bind, ("1.2.3.4", 0)),
            error_of(sock.bind, (5, 0)),
            error_of(sock.recv, -1),
            error_of(sock.recv_into, bytearray(3), -1),
            error_of(sock.recv_into, bytearray(3), 5),
            error_of(sock.recv_into, b"123"),
            error_of(sock.send, "text"),
            error_of(sock.sendall, "text"),
            error_of(sock.sendto, b"x"),
            error_of(sock.accept),
            error_of(sock.recv, 1),
            error_of(sock.getpeername),
            error_of(sock.shutdown, socket.SHUT_RD),
            error_of(socket.socket, 999),
            error_of(socket.socket, socket.AF_INET, 99),
            error_of(lambda: socket.socket(fileno=-1)),
            error_of(lambda: socket.socket(fileno=9999)),
            error_of(lambda: socket.socket(fileno="x")),
        ]


@story
def files(socket: Any) -> Any:
    client, peer = connected(socket)
    with client, peer:
        with client.makefile("w", encoding="utf-8") as writer:
            result = [writer.write("grüße\nzwei\n"), writer.mode]
        with peer.makefile(encoding="utf-8") as reader:
            result += [reader.readline(), reader.mode, reader.name == peer.fileno()]
            result += [reader.readline()]
        both = peer.makefile("rwb")
        both.write(b"back")
        both.flush()
        raw = client.makefile("rb", buffering=0)
        result += [raw.read(10), type(raw).__name__, type(both).__name__, raw.mode]
        client.close()
        result += [raw.read(0), raw.close(), error_of(client.fileno), client.fileno()]
        result += [both.read(1), both.close(), error_of(peer.makefile, "x"), peer.fileno() >= 0]
        return result


@story
def timeouts_of_files(socket: Any) -> Any:
    client, peer = connected(socket)
    with client, peer:
        client.settimeout(0.02)
        with client.makefile("rb") as reader:
            return [error_of(reader.read, 1), error_of(reader.read, 1)]


@story
def lives(socket: Any) -> Any:
    sock = socket.socket()
    copy = sock.dup()
    fd = sock.detach()
    result = [sock.fileno(), copy.fileno() != fd, error_of(sock.getsockname), sock.close()]
    with socket.socket(fileno=fd) as again:
        result += [again.fileno() == fd, again.type, again.family, again.get_inheritable()]
        other = socket.fromfd(fd, again.family, again.type)
        result += [other.fileno() != fd, other.close(), copy.close()]
        again.set_inheritable(True)
        result += [again.get_inheritable()]
    result += [again.fileno(), error_of(again.listen), again.close()]
    with socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        result += [sock.gettimeout(), sock.type]
        number = socket.dup(sock.fileno())
    return [*result, socket.close(number), error_of(socket.close, number)]


@story
def servers(socket: Any) -> Any:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True, backlog=5) as server:
        where = server.getsockname()
        result = [error_of(socket.create_server, where), server.family]
        result += [server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)]
    result += [socket.has_dualstack_ipv6()]
    server = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with server, socket.create_connection(("127.0.0.1", server.getsockname()[1])):
        peer, address = server.accept()
        peer.close()
        result += [address[0]]
    try:
        socket.create_server(("", 0), dualstack_ipv6=True)
    except ValueError as error:
        result += [str(error)]
    return result


@story
def other_families(socket: Any) -> Any:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.bind((0, 0))
        result = [len(sock.getsockname()), sock.getsockname()[0] > 0]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as sock:
        sock.bind(("lo", 3))
        result += [sock.getsockname()[:2], sock.getsockname()[3]]
        result += [error_of(sock.bind, ("no-such-device", 3))]
    return result


@story
def interfaces(socket: Any) -> Any:
    index = socket.if_nametoindex("lo")
    result = [(index, "lo") in socket.if_nameindex(), socket.if_indextoname(index)]
    result += [error_of(socket.if_nametoindex, "no-such")[0]]
    return [*result, error_of(socket.if_indextoname, 1 << 30)]


@story
def constants_and_helpers(socket: Any) -> Any:
    return [
        socket.AF_INET,
        socket.SO_REUSEADDR,
        socket.inet_aton("1.2.3.4"),
        socket.htons(1),
        socket.CMSG_SPACE(4),
        socket.error,
        socket.timeout,
        socket.gaierror,
        socket.AddressFamily,
        socket.SOMAXCONN,
        socket.getservbyname("http"),
        hasattr(socket, "NONSENSE"),
    ]


def test_a_class_of_ones_own(kernel: Kernel) -> None:
    class Counting(kernel.socket.socket):  # type: ignore[name-defined, misc]
        """Counts what it sends."""

        total = 0

        def send(self, data: Any, flags: int = 0, /) -> int:
            self.total += len(data)
            return int(super().send(data, flags))

    with kernel.socket.create_server(("127.0.0.1", 0)) as server, Counting() as client:
        client.connect(server.getsockname())
        client.send(b"12345")
        assert client.total == 5
        assert isinstance(client, kernel.socket.socket)
        server.accept()[0].close()


def test_kernels_have_classes_of_their_own(kernel: Kernel, tiny: Kernel) -> None:
    assert kernel.socket.socket is not tiny.socket.socket
    with kernel.socket.socket() as a, tiny.socket.socket() as b:
        a.bind(("127.0.0.1", 1234))
        b.bind(("127.0.0.1", 1234))


def test_it_says_what_it_is(kernel: Kernel) -> None:
    with kernel.socket.socket() as sock:
        sock.bind(("127.0.0.1", 99))
        assert repr(sock) == (
            f"<rumpel.socket.socket fd={sock.fileno()}, family=2, type=1, proto=0, "
            "laddr=('127.0.0.1', 99)>"
        )
    assert repr(sock) == "<rumpel.socket.socket [closed] fd=-1, family=2, type=1, proto=0>"


def test_a_socket_that_nobody_closed_is_complained_about(kernel: Kernel) -> None:
    before = len(kernel.os.listdir("/proc/self/fd"))
    sock = kernel.socket.socket()
    with pytest.warns(ResourceWarning, match="unclosed <rumpel.socket"):
        del sock
    assert len(kernel.os.listdir("/proc/self/fd")) == before


def test_names_are_looked_up_in_the_kernel(kernel: Kernel) -> None:
    kernel.os.makedirs("/etc", exist_ok=True)
    with kernel.open("/etc/hosts", "w") as file:
        file.write("127.0.0.1 here here.example # a comment\n::1 six\n\nnonsense\n")
    socket = kernel.socket
    server = socket.create_server(("here", 0))
    where = ("here.example", server.getsockname()[1])
    with server, socket.create_connection(where) as client:
        assert client.getpeername()[0] == "127.0.0.1"
    assert socket.gethostbyname("here") == "127.0.0.1"
    assert socket.gethostbyaddr("::1")[0] == "six"
    with pytest.raises(
        socket.gaierror, match=r"no answer from 127.0.0.1.*/etc/resolv.conf"
    ) as caught:
        socket.create_connection(("example.org", 80))
    assert caught.value.errno == socket.EAI_AGAIN


def test_the_name_of_the_host(kernel: Kernel) -> None:
    kernel.socket.sethostname("somebody")
    assert kernel.socket.gethostname() == "somebody"
    assert kernel.os.uname().nodename == "somebody"
    assert kernel.socket.getfqdn() == "somebody"


def test_much_data_between_threads(kernel: Kernel) -> None:
    data = os.urandom(1 << 20)
    client, peer = connected(kernel.socket)
    received = bytearray()

    def receive() -> None:
        with peer:
            while part := peer.recv(100_000):
                received.extend(part)

    thread = threading.Thread(target=receive)
    thread.start()
    with client:
        for _ in range(16):
            client.sendall(data)
    thread.join(30)
    assert not thread.is_alive()
    assert received == data * 16


def test_sending_files(kernel: Kernel, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "x").write_bytes(data)
    with kernel.open("/tmp/x", "wb") as file:
        file.write(data)
    for opened in (kernel.open("/tmp/x", "rb"), (tmp_path / "x").open("rb"), io.BytesIO(data)):
        client, peer = connected(kernel.socket)
        received: list[bytes] = []
        thread = threading.Thread(target=lambda p=peer, r=received: r.append(read_all(p)))
        thread.start()
        with client, opened:
            assert client.sendfile(opened, 5, 200_000) == 200_000
            assert opened.tell() == 200_005
            assert client.sendfile(opened, 200_005) == len(data) - 200_005
        thread.join(30)
        assert received == [data[5:]]
    with (
        kernel.socket.socket(type=host.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="STREAM"),
    ):
        sock.sendfile(io.BytesIO(data))


def read_all(sock: Any) -> bytes:
    with sock:
        data = bytearray()
        while part := sock.recv(65536):
            data += part
        return bytes(data)


def test_a_broken_connection_is_an_error_not_a_signal(kernel: Kernel) -> None:
    a, b = kernel.socket.socketpair()
    b.close()
    with pytest.raises(BrokenPipeError):
        a.send(b"x")
    with pytest.raises(BrokenPipeError):
        a.sendmsg([b"x"])
    with kernel.process(), pytest.raises(BrokenPipeError):
        c, d = kernel.socket.socketpair()
        with c:
            d.close()
            c.send(b"x")
    a.close()
    assert kernel.os.getpid() == 1


def test_timeouts_are_on_the_kernels_clock(boot: Callable[..., Kernel]) -> None:
    from rumpel import VirtualClock

    clock = VirtualClock()
    kernel = boot(clock=clock)
    with kernel.socket.socket(type=host.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(1000)
        before, real = clock.now, time.monotonic()
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert 1000 <= clock.now - before < 1001
        assert time.monotonic() - real < 100
