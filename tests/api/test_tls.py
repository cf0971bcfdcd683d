# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.ssl``: TLS between sockets of a kernel, with certificates made for the test."""

from __future__ import annotations

import contextlib
import io
import os
import select
import socket as host
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from rumpel import Kernel, UserNet

pytestmark = [pytest.mark.kernel, pytest.mark.once]

NAME = "server.example"
Contexts = tuple[Any, Any]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(module: Any, authority: trustme.CA) -> Contexts:
    """Contexts of a client and of a server, as programs make them."""
    client = module.create_default_context()
    authority.configure_trust(client)
    server = module.SSLContext(module.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(server)
    return client, server


@contextlib.contextmanager
def joined(function: Callable[[], object]) -> Iterator[None]:
    """Run a function in a thread; what it raises is raised here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def handshake(kernel: Kernel, authority: trustme.CA) -> tuple[Any, Any]:
    """Both ends of a connection with TLS."""
    client, server = contexts(kernel.ssl, authority)
    a, b = kernel.socket.socketpair()
    ends = []
    with joined(lambda: ends.append(server.wrap_socket(b, server_side=True))):
        left = client.wrap_socket(a, server_hostname=NAME)
    return left, ends[0]


def test_what_was_agreed_on(kernel: Kernel, authority: trustme.CA) -> None:
    a, b = handshake(kernel, authority)
    with a, b:
        assert a.version() == b.version() == "TLSv1.3"
        assert a.cipher() == b.cipher()
        assert ("DNS", NAME) in a.getpeercert()["subjectAltName"]
        assert b.getpeercert() is None
        assert (a.server_side, b.server_side) == (False, True)
        assert isinstance(a, kernel.ssl.SSLSocket)
        assert isinstance(a, kernel.socket.socket)
        assert isinstance(a.context, ssl.SSLContext)
        assert a.get_channel_binding("tls-unique") is not None
        with pytest.raises(NotImplementedError, match="dup"):
            a.dup()
        with pytest.raises(NotImplementedError, match="sendmsg"):
            a.sendmsg([b"in clear"])
        with pytest.raises(ValueError, match="recvfrom not allowed"):
            a.recvfrom(1)


def test_much_data_both_ways(kernel: Kernel, authority: trustme.CA) -> None:
    """A thread reads while another writes the same socket, and no byte differs."""
    data = os.urandom(1 << 20)
    a, b = handshake(kernel, authority)

    def read(sock: Any) -> None:
        got = bytearray()
        while len(got) < len(data):
            got += sock.recv(100_000)
        assert got == data

    with a, b, joined(lambda: b.sendall(data)), joined(lambda: read(b)), joined(lambda: read(a)):
        a.sendall(data)


def test_into_buffers_and_files(kernel: Kernel, authority: trustme.CA) -> None:
    a, b = handshake(kernel, authority)
    with a, b:
        assert a.send(b"0123456789") == 10
        buffer = bytearray(4)
        assert (b.recv_into(buffer), bytes(buffer), b.pending()) == (4, b"0123", 6)
        assert b.recv_into(buffer, 2) == 2
        assert b.read(1) == b"6"
        with b.makefile("rb") as reader, a.makefile("w") as writer:
            assert reader.read(3) == b"789"
            writer.write("a line\n")
            writer.flush()
            assert reader.readline() == b"a line\n"
        assert a.sendfile(io.BytesIO(b"a file")) == 6
        assert b.recv(100) == b"a file"


def test_select_tells_the_truth(kernel: Kernel, authority: trustme.CA) -> None:
    """What is not decrypted yet stays in the kernel, where select finds it."""
    a, b = handshake(kernel, authority)
    with a, b:
        a.send(b"one")
        a.send(b"two")
        assert b.recv(3) == b"one"
        assert b.pending() == 0
        assert kernel.select.select([b], [], [], 5)[0] == [b]
        assert b.recv(3) == b"two"


def test_the_end(kernel: Kernel, authority: trustme.CA) -> None:
    """Unwrap gives the plain socket back, and loses nothing that follows."""
    a, b = handshake(kernel, authority)
    with a, b:

        def other() -> None:
            assert b.recv(10) == b"last"
            assert b.recv(10) == b""
            b.unwrap().sendall(b"in clear")

        with joined(other):
            a.sendall(b"last")
            plain = a.unwrap()
            assert plain.recv(100) == b"in clear"
        assert a.version() is None
        with pytest.raises(ValueError, match="No SSL wrapper"):
            a.unwrap()


def test_an_end_without_a_goodbye(kernel: Kernel, authority: trustme.CA) -> None:
    a, b = handshake(kernel, authority)
    with a, b:
        a.shutdown(host.SHUT_WR)
        assert b.recv(1) == b""
    a, b = handshake(kernel, authority)
    with a, b:
        b.suppress_ragged_eofs = False
        a.shutdown(host.SHUT_WR)
        with pytest.raises(ssl.SSLEOFError):
            b.recv(1)


def test_timeouts(kernel: Kernel, authority: trustme.CA) -> None:
    a, b = handshake(kernel, authority)
    with a, b:
        a.settimeout(0.02)
        with pytest.raises(TimeoutError, match="read operation timed out"):
            a.recv(1)
        with pytest.raises(TimeoutError, match="write operation timed out"):
            a.sendall(bytes(50 << 20))


def test_without_blocking(kernel: Kernel, authority: trustme.CA) -> None:
    """Each call says what it waits for; a write that was not taken is repeated."""
    client, server = contexts(kernel.ssl, authority)
    a, b = kernel.socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    with pytest.raises(ValueError, match="non-blocking"):
        client.wrap_socket(a.dup(), server_hostname=NAME)
    left = client.wrap_socket(a, server_hostname=NAME, do_handshake_on_connect=False)
    right = server.wrap_socket(b, server_side=True, do_handshake_on_connect=False)
    waiting = {left, right}
    while waiting:
        for end in list(waiting):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                waiting.remove(end)
    with left, right:
        with pytest.raises(ssl.SSLWantReadError):
            left.recv(1)
        data = os.urandom(2 << 20)
        sent, got = 0, bytearray()
        full = 0
        while len(got) < len(data):
            try:
                while sent < len(data):
                    sent += left.send(data[sent : sent + 16384])
            except ssl.SSLWantWriteError:
                full += 1
            with contextlib.suppress(ssl.SSLWantReadError):
                while len(got) < len(data):
                    got += right.recv(100_000)
        assert full
        assert got == data


def test_bad_certificates(kernel: Kernel, authority: trustme.CA) -> None:
    client, server = contexts(kernel.ssl, authority)
    with kernel.socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with pytest.raises(ssl.SSLError, match=r"alert|EOF"):
                server.wrap_socket(listener.accept()[0], server_side=True)

        for context, name, why in (
            (client, "other.example", "Hostname mismatch"),
            (kernel.ssl.create_default_context(), NAME, "unable to get local issuer"),
        ):
            with joined(serve):
                sock = kernel.socket.create_connection(listener.getsockname())
                with pytest.raises(ssl.SSLCertVerificationError, match=why):
                    context.wrap_socket(sock, server_hostname=name)
                assert sock.fileno() == -1


def test_what_is_not_tls(kernel: Kernel, authority: trustme.CA) -> None:
    client, _ = contexts(kernel.ssl, authority)
    a, b = kernel.socket.socketpair()
    with b:
        b.sendall(b"220 mail.example ESMTP\r\n")
        with pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|wrong version"):
            client.wrap_socket(a, server_hostname=NAME)
    with (
        kernel.socket.socket(type=host.SOCK_DGRAM) as datagrams,
        pytest.raises(NotImplementedError, match="stream sockets"),
    ):
        client.wrap_socket(datagrams, server_hostname=NAME)
    with pytest.raises(TypeError, match="public constructor"):
        kernel.ssl.SSLSocket()


def test_servers_and_sessions(kernel: Kernel, authority: trustme.CA) -> None:
    """A listening socket is wrapped once; a client connects through a wrapped one, and again."""
    client, server = contexts(kernel.ssl, authority)
    with server.wrap_socket(
        kernel.socket.create_server(("127.0.0.1", 0)), server_side=True
    ) as listener:
        where = listener.getsockname()

        def serve() -> None:
            for _ in range(2):
                peer, address = listener.accept()
                with peer:
                    assert address[0] == "127.0.0.1"
                    peer.sendall(peer.recv(10).upper())

        session = None
        with joined(serve):
            for again in (False, True):
                sock = client.wrap_socket(
                    kernel.socket.socket(), server_hostname=NAME, session=session
                )
                with sock:
                    sock.connect(where)
                    sock.sendall(b"hello")
                    assert sock.recv(10) == b"HELLO"
                    assert sock.session_reused is again
                    session = sock.session


def test_certificates_of_servers(kernel: Kernel, authority: trustme.CA) -> None:
    _, server = contexts(kernel.ssl, authority)
    with kernel.socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            server.wrap_socket(listener.accept()[0], server_side=True).close()

        with joined(serve):
            pem = kernel.ssl.get_server_certificate(listener.getsockname())
    assert pem.startswith("-----BEGIN CERTIFICATE-----")


def test_with_the_hosts_tls(
    boot: Callable[..., Kernel], authority: trustme.CA, tmp_path: Path
) -> None:
    """A client in the kernel, a server of the standard library on the host, protocol TLS 1.2."""
    net = UserNet()
    kernel = boot(nics=[net])
    kernel.ifup("eth0", net.address, net.gateway)
    _, server = contexts(ssl, authority)
    client, _ = contexts(kernel.ssl, authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_alpn_protocols(["h2", "http/1.1"])
    server.set_alpn_protocols(["http/1.1"])
    with host.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with server.wrap_socket(listener.accept()[0], server_side=True) as peer:
                while data := peer.recv(65536):
                    peer.sendall(data)

        with joined(serve):
            sock = kernel.socket.create_connection((net.gateway, listener.getsockname()[1]))
            with client.wrap_socket(sock, server_hostname=NAME) as secure:
                assert secure.version() == "TLSv1.2"
                assert secure.selected_alpn_protocol() == "http/1.1"
                secure.sendall(b"x" * 100_000)
                left = 100_000
                while left:
                    left -= len(secure.recv(65536))


def test_the_module_is_the_hosts_but_for_sockets(kernel: Kernel) -> None:
    assert kernel.ssl.SSLError is ssl.SSLError
    assert kernel.ssl.TLSVersion is ssl.TLSVersion
    assert issubclass(kernel.ssl.SSLContext, ssl.SSLContext)
    context = kernel.ssl.create_default_context()
    assert type(context) is kernel.ssl.SSLContext
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert type(ssl.create_default_context()) is ssl.SSLContext
    assert select.select is not kernel.select.select
