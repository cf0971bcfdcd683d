# SPDX-License-Identifier: GPL-2.0-only
"""Vsock: a kernel's AF_VSOCK sockets on the one side, sockets of the host on the other."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel, KernelClosed, VirtualClock, Vsock

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

Boot = Callable[..., Kernel]
HOST = socket.VMADDR_CID_HOST


@pytest.fixture
def vsock() -> Vsock:
    """A device of its own for each test."""
    return Vsock()


@pytest.fixture
def kernel(boot: Boot, vsock: Vsock) -> Kernel:
    """The kernel that has it."""
    return boot(devices=[vsock])


def listener(kernel: Kernel, port: int) -> Any:
    """A socket of the kernel's that listens."""
    server = kernel.socket.socket(kernel.socket.AF_VSOCK)
    server.bind((socket.VMADDR_CID_ANY, port))
    server.listen(16)
    return server


def dial(kernel: Kernel, port: int) -> Any:
    """A socket of the kernel's, connected to a port of the host."""
    sock = kernel.socket.socket(kernel.socket.AF_VSOCK)
    try:
        sock.connect((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


def drain(sock: Any) -> bytes:
    """All until the end."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def failure(function: Callable[..., object], *args: object) -> int | None:
    try:
        function(*args)
    except OSError as error:
        return error.errno
    return None


def test_a_program_of_the_host_connects_to_the_kernel(kernel: Kernel, vsock: Vsock) -> None:
    with listener(kernel, 52) as server, vsock.connect(52, timeout=30) as client:
        peer, (cid, _) = server.accept()
        assert cid == HOST
        assert peer.getsockname() == (vsock.cid, 52)
        client.sendall(b"question")
        assert peer.recv(100) == b"question"
        peer.sendall(b"answer")
        assert client.recv(100) == b"answer"
        peer.close()
        assert client.recv(100) == b""


def test_the_kernel_connects_to_a_program_of_the_host(kernel: Kernel, vsock: Vsock) -> None:
    with vsock.listen(53) as server, dial(kernel, 53) as client:
        peer, _ = server.accept()
        client.sendall(b"question")
        assert peer.recv(100) == b"question"
        peer.sendall(b"answer")
        assert client.recv(100) == b"answer"
        peer.close()
        assert client.recv(100) == b""


def test_nobody_listens(kernel: Kernel, vsock: Vsock) -> None:
    with pytest.raises(ConnectionRefusedError, match="port 99"):
        vsock.connect(99)
    with pytest.raises(ConnectionResetError):
        dial(kernel, 99)
    # Nor any more.
    vsock.listen(53).close()
    with pytest.raises(ConnectionResetError):
        dial(kernel, 53)
    with vsock.listen(53) as server, dial(kernel, 53):
        server.accept()[0].close()
        with pytest.raises(OSError, match="Address already in use"):
            vsock.listen(53)


@pytest.mark.parametrize("sender", ["kernel", "host"])
def test_much_data_arrives_whole(kernel: Kernel, vsock: Vsock, sender: str) -> None:
    data = os.urandom(1 << 20) * 8
    with listener(kernel, 52) as server, vsock.connect(52) as host_end:
        end = server.accept()[0]
        source, sink = (end, host_end) if sender == "kernel" else (host_end, end)

        def send() -> None:
            source.sendall(data)
            source.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        got = drain(sink)
        thread.join()
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        # The other direction is still open.
        sink.sendall(b"thanks")
        assert source.recv(100) == b"thanks"
        end.close()


def fill(sock: Any) -> int:
    """Send until there is no room, nor any a moment later; how much was sent."""
    sock.setblocking(False)
    total = waits = 0
    while waits < 5:
        try:
            total += sock.send(bytes(1 << 15))
            waits = 0
        except BlockingIOError:
            time.sleep(0.02)
            waits += 1
    return total


def test_who_does_not_read_holds_up_one_connection_only(kernel: Kernel, vsock: Vsock) -> None:
    with listener(kernel, 52) as server:
        slow_host, slow = vsock.connect(52), server.accept()[0]
        quick_host, quick = vsock.connect(52), server.accept()[0]
        for sender, reader in ((slow, slow_host), (slow_host, slow)):
            sent = fill(sender)
            assert 64 << 10 <= sent <= 8 << 20
            quick.sendall(b"x")
            assert quick_host.recv(10) == b"x"
            quick_host.sendall(b"y")
            assert quick.recv(10) == b"y"
            reader.setblocking(True)
            got = 0
            while got < sent:
                got += len(reader.recv(1 << 20))
            assert got == sent
        for sock in (slow_host, slow, quick_host, quick):
            sock.close()


def test_what_was_sent_before_a_close_arrives(kernel: Kernel, vsock: Vsock) -> None:
    with vsock.listen(53) as server:
        client = dial(kernel, 53)
        peer, _ = server.accept()
        sent = fill(client)
        client.close()
        # The kernel has forgotten it by now, and nobody has read.
        with kernel.socket.socket(kernel.socket.AF_VSOCK) as other:
            other.connect((HOST, 53))
            server.accept()[0].close()
        assert len(drain(peer)) == sent
        peer.close()


def test_select_sees_the_hosts_end(kernel: Kernel, vsock: Vsock) -> None:
    with listener(kernel, 52) as server, vsock.connect(52) as client:
        peer = server.accept()[0]
        assert select.select([client], [client], [], 0) == ([], [client], [])
        peer.sendall(b"x")
        assert select.select([client], [], [], 30)[0] == [client]
        peer.close()


def test_asyncio_waits_for_both_ends(kernel: Kernel, vsock: Vsock) -> None:
    async def main() -> list[bytes]:
        async def ask(number: int) -> bytes:
            sock = kernel.socket.socket(kernel.socket.AF_VSOCK)
            sock.setblocking(False)
            await loop.sock_connect(sock, (HOST, 53))
            await loop.sock_sendall(sock, b"%d\n" % number)
            answer: bytes = await loop.sock_recv(sock, 100)
            sock.close()
            return answer

        loop: Any = asyncio.get_running_loop()
        echoes = threading.Thread(target=serve, args=(vsock.listen(53), 20))
        echoes.start()
        answers = await asyncio.gather(*(ask(number) for number in range(20)))
        echoes.join()
        return answers

    assert kernel.aio.run(main()) == [b"%d\n" % number for number in range(20)]


def serve(server: socket.socket, count: int) -> None:
    """A program of the host with an event loop of its own: echoes so many lines."""

    async def main() -> None:
        done = asyncio.Semaphore(0)

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()
            done.release()

        async with await asyncio.start_unix_server(echo, sock=server):
            for _ in range(count):
                await done.acquire()

    asyncio.run(main())


CLIENT = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(b"CONNECT 52\\nfrom another process")
sock.shutdown(socket.SHUT_WR)
data = b"".join(iter(lambda: sock.recv(100), b""))
assert data.startswith(b"OK "), data
print(data.split(b"\\n", 1)[1].decode())
"""


def test_another_process_connects(boot: Boot, tmp_path: Path) -> None:
    vsock = Vsock(tmp_path / "v", cid=77)
    kernel = boot(devices=[vsock])
    with (
        listener(kernel, 52) as server,
        subprocess.Popen([sys.executable, "-c", CLIENT, vsock.path], stdout=-1) as process,
    ):
        peer, _ = server.accept()
        assert drain(peer) == b"from another process"
        peer.sendall(b"to another process")
        peer.close()
        assert process.communicate(timeout=30)[0] == b"to another process\n"
    kernel.halt()
    assert not list(tmp_path.iterdir())


def test_a_virtual_clock(boot: Boot, vsock: Vsock) -> None:
    clock = VirtualClock()
    kernel = boot(devices=[vsock], clock=clock)
    with listener(kernel, 52) as server:
        client = vsock.connect(52)
        peer, _ = server.accept()
        peer.sendall(b"x")
        assert client.recv(10) == b"x"
        client.sendall(b"y")
        assert peer.recv(10) == b"y"
        with pytest.raises(ConnectionRefusedError):
            vsock.connect(99)
        peer.close()
        client.close()
    assert clock.now < 1000


def test_a_halt_ends_connections(kernel: Kernel, vsock: Vsock) -> None:
    server = listener(kernel, 52)
    clients = [vsock.connect(52) for _ in range(3)]
    peers = [server.accept()[0] for _ in clients]
    peers[0].sendall(b"last words")
    kernel.halt()
    assert drain(clients[0]) == b"last words"
    assert [drain(client) for client in clients[1:]] == [b"", b""]
    for sock in clients:
        sock.close()
    with pytest.raises(KernelClosed):
        vsock.connect(52)


def test_plugged_in_and_out(boot: Boot, vsock: Vsock) -> None:
    kernel = boot()
    with pytest.raises(ValueError, match="no kernel has the device"):
        vsock.connect(52)
    for _ in range(2):
        kernel.plug(vsock)
        server = listener(kernel, 52)
        client = vsock.connect(52)
        peer, _ = server.accept()
        client.sendall(b"x")
        assert peer.recv(10) == b"x"
        kernel.unplug(vsock)
        assert client.recv(10) == b""
        assert failure(peer.sendall, b"y") == errno.ENOTCONN
        for sock in (server, client, peer):
            sock.close()


def test_a_copy_has_lost_its_connections(kernel: Kernel, vsock: Vsock) -> None:
    with listener(kernel, 52) as server, vsock.listen(53), vsock.connect(52) as client:
        peer, _ = server.accept()
        # Or there is no child to look.
        client.settimeout(30)

        def child(copy: Kernel) -> tuple[int | None, int | None]:
            # The copy hears of it from its device, soon.
            while (lost := failure(peer.sendall, b"x")) is None:
                pass
            return lost, failure(dial, copy, 53)

        assert kernel.clone(child, timeout=60) == (errno.ENOTCONN, errno.ECONNRESET)
        # The parent's goes on.
        peer.sendall(b"still there")
        assert client.recv(100) == b"still there"
        assert Path(vsock.path).is_socket()
        peer.close()


def test_bad_arguments(boot: Boot, tmp_path: Path) -> None:
    for cid in (-1, 0, 2, 0xFFFFFFFF, 1 << 40):
        with pytest.raises(ValueError, match="identifier"):
            Vsock(cid=cid)
    with pytest.raises(FileNotFoundError):
        Vsock(tmp_path / "nowhere" / "v")
    with pytest.raises(OSError, match="too long"):
        Vsock(tmp_path / ("x" * 120))
    vsock = Vsock()
    for port in (-1, 0xFFFFFFFF):
        with pytest.raises(ValueError, match="not a port"):
            vsock.listen(port)
    with pytest.raises(ValueError, match="two vsocks"):
        boot(devices=[vsock, Vsock()])
    kernel = boot(devices=[vsock])
    with pytest.raises(ValueError, match="two vsocks"):
        kernel.plug(Vsock())


def test_its_directory_goes_with_it() -> None:
    vsock = Vsock()
    directory = Path(vsock.path).parent
    assert directory.stat().st_mode & 0o77 == 0
    del vsock
    gc.collect()
    assert not directory.exists()
