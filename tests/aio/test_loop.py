# SPDX-License-Identifier: GPL-2.0-only
"""asyncio's own interfaces on an event loop over a kernel, with unchanged code."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel.aio import EventLoop
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Code that knows nothing of kernels, as all in this file that takes none."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(host: str, port: int, size: int = 1 << 20) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    data = os.urandom(size)
    writer.write(data)
    assert await reader.readexactly(size) == data
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def serve_and_talk(host: str) -> None:
    server = await asyncio.start_server(echo, host, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*(talk(host, port) for _ in range(5)))


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_streams(kernel: rumpel.Kernel, host: str, debug: bool) -> None:
    """start_server and open_connection; the host's kernel sees none of it."""
    kernel.aio.run(serve_and_talk(host), debug=debug)


def test_the_sockets_are_the_kernels(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        # Of the host; bound, so that nobody there listens.
        with socket.socket() as silent, socket.socket() as sock:
            silent.bind(("127.0.0.1", 0))
            where = silent.getsockname()
            server = await asyncio.start_server(echo, *where)
            with pytest.raises(ConnectionRefusedError):
                sock.connect(where)
            kernel.socket.create_connection(where).close()
            server.close()
            await server.wait_closed()

    kernel.aio.run(main())


def test_ten_thousand_bytes_at_a_time_with_a_slow_reader(kernel: rumpel.Kernel) -> None:
    """Flow control: the writer is paused and goes on."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = 0
        while data := await reader.read(10000):
            got += len(data)
            await asyncio.sleep(0)
        writer.write(str(got).encode())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(slow, "127.0.0.1", 0, limit=10000)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(200):
            writer.write(bytes(100_000))
            await writer.drain()
        writer.write_eof()
        assert await reader.read() == b"20000000"
        writer.close()
        server.close()

    kernel.aio.run(main())


def test_refused_and_timed_out(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", 9)
        with kernel.socket.create_server(("127.0.0.1", 0)) as server:
            reader, writer = await asyncio.open_connection(*server.getsockname())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.01)
            writer.close()
            await writer.wait_closed()

    kernel.aio.run(main())


class Datagrams(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.got: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.put_nowait((data, addr))
        if self.answer:
            self.transport.sendto(data, addr)


def test_datagram_endpoints(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(
            lambda: Datagrams(True), local_addr=("127.0.0.1", 0)
        )
        client, protocol = await loop.create_datagram_endpoint(
            lambda: Datagrams(False), remote_addr=server.get_extra_info("sockname")
        )
        for number in range(100):
            client.sendto(str(number).encode())
        for number in range(100):
            assert await protocol.got.get() == (
                str(number).encode(),
                server.get_extra_info("sockname"),
            )
        client.close()
        server.close()

    kernel.aio.run(main())


def test_unix_sockets(kernel: rumpel.Kernel) -> None:
    """Their names are in the kernel's file systems."""

    async def main() -> None:
        server = await asyncio.start_unix_server(echo, "/tmp/socket")
        reader, writer = await asyncio.open_unix_connection("/tmp/socket")
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        # The name may be taken again, also where asyncio does not remove it.
        again = await asyncio.start_unix_server(echo, "/tmp/socket")
        again.close()

    kernel.aio.run(main())
    assert not Path("/tmp/socket").exists()


def test_sock_methods(kernel: rumpel.Kernel) -> None:
    async def serve(server: Any) -> None:
        loop: Any = asyncio.get_running_loop()
        sock, _ = await loop.sock_accept(server)
        with sock:
            while data := await loop.sock_recv(sock, 1 << 16):
                await loop.sock_sendall(sock, data)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with kernel.socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            serving = asyncio.ensure_future(serve(server))
            with kernel.socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, server.getsockname())
                data = os.urandom(1 << 20)
                sending = asyncio.ensure_future(loop.sock_sendall(client, data))
                got = bytearray()
                buffer = bytearray(1 << 16)
                while len(got) < len(data):
                    got += buffer[: await loop.sock_recv_into(client, buffer)]
                await sending
                assert got == data
            await serving

    kernel.aio.run(main())


def test_sendfile(kernel: rumpel.Kernel, tmp_path: Path) -> None:
    """A file of the host, and one of the kernel."""
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    with kernel.open("/tmp/file", "wb") as file:
        file.write(data)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        for opened in ((tmp_path / "file").open("rb"), kernel.open("/tmp/file", "rb")):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with opened as file:
                assert await loop.sendfile(writer.transport, file) == len(data)
            writer.write_eof()
            assert await reader.read() == data
            writer.close()
        server.close()

    kernel.aio.run(main())


def test_the_selector_as_a_mapping(kernel: rumpel.Kernel) -> None:
    """As asyncio asks it since Python 3.13: the host's and a kernel's numbers do not collide."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        before = len(loop._selector.get_map())
        pairs = [m.socketpair() for m in (socket, kernel.socket) for _ in range(40)]
        ends = [sock for pair in pairs for sock in pair]
        for sock in ends:
            assert loop._selector.get_map().get(sock.fileno()) is None
            loop.add_reader(sock, print)
        known = loop._selector.get_map()
        assert len(known) == len(list(known)) == before + len(ends)
        for sock in ends:
            assert known.get(sock.fileno()).fileobj is sock
            assert known[sock].fileobj is sock
        assert all(known[fd].fd is fd for fd in known)
        for sock in ends:
            loop.remove_reader(sock)
            sock.close()
        assert len(known) == before

    kernel.aio.run(main())


def test_sendfile_does_not_confuse_numbers(kernel: rumpel.Kernel, tmp_path: Path) -> None:
    """The host's sockets, and files of the kernel with numbers that the host's files have, too."""
    data = os.urandom(100_000)
    with kernel.open("/tmp/file", "wb") as file:
        file.write(data)
    (tmp_path / "file").write_bytes(b"not this")
    opened = [(tmp_path / "file").open("rb") for _ in range(40)]
    numbers = {file.fileno() for file in opened}

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for raw in (kernel.open("/tmp/file", "rb", buffering=0), io.BytesIO(data)):
            files = [raw]
            while not isinstance(raw, io.BytesIO) and files[-1].fileno() not in numbers:
                files.append(kernel.open("/tmp/file", "rb", buffering=0))
            a, b = socket.socketpair()
            with a, b:
                a.setblocking(False)
                b.setblocking(False)
                sending = asyncio.create_task(loop.sock_sendfile(a, files[-1]))
                got = b""
                while len(got) < len(data):
                    got += await loop.sock_recv(b, 1 << 16)
                assert got == data
                assert await sending == len(data)
            for file in files:
                file.close()

    kernel.aio.run(main())
    for one in opened:
        one.close()


def receive(got: dict[int, bytes], index: int, sock: Any) -> None:
    got[index] = sock.recv(100)


def test_descriptors_of_the_host_and_of_kernels_wait_together(boot: Boot) -> None:
    """The same numbers mean different things, also to add_reader."""
    kernel, other = boot(), boot()

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        pairs = []
        for module in (socket, kernel.socket, other.socket):
            # Many, so that numbers coincide.
            pairs += [module.socketpair() for _ in range(40)]
        numbers = [int(a.fileno()) for a, _ in pairs]
        assert len(set(numbers)) < len(numbers)
        got: dict[int, bytes] = {}
        for index, (a, b) in enumerate(pairs):
            a.setblocking(False)
            b.setblocking(False)
            # By number and by object.
            what = a if index % 2 else a.fileno()
            loop.add_reader(what, receive, got, index, a)
        for index, (_, b) in enumerate(pairs):
            b.send(str(index).encode())
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while len(got) < len(pairs):
                await asyncio.sleep(0.001)
        assert got == {index: str(index).encode() for index in range(len(pairs))}
        for index, (a, b) in enumerate(pairs):
            assert loop.remove_reader(a if index % 2 else a.fileno())
            assert not loop.remove_reader(a)
            a.close()
            b.close()

    kernel.aio.run(main())


def test_transports_of_the_same_number(kernel: rumpel.Kernel) -> None:
    """A transport of a kernel's socket does not forbid the host's descriptor."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        r, w = os.pipe()
        number = fcntl.fcntl(r, fcntl.F_DUPFD_CLOEXEC, 100)  # the new kernel has none so high
        a, b = kernel.socket.socketpair()
        same = kernel.socket.socket(fileno=kernel.os.dup2(a.fileno(), number))
        a.close()
        assert same.fileno() == number
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=same)
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(same, print)
        readable = asyncio.Event()
        loop.add_reader(number, readable.set)
        os.write(w, b"x")
        async with asyncio.timeout(60):
            await readable.wait()
        assert loop.remove_reader(number)
        for fd in (number, r, w):
            os.close(fd)
        transport.close()
        b.close()
        await asyncio.sleep(0)

    kernel.aio.run(main())


def test_subprocesses_of_the_host(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out, _ = await process.communicate(b"hello")
        assert out == b"hello"
        assert process.returncode == 0
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "exit(3)")
        assert await process.wait() == 3

    kernel.aio.run(main())


def test_threads_and_signals(kernel: rumpel.Kernel) -> None:
    """What wakes the loop from outside."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        assert await asyncio.to_thread(lambda: 6 * 7) == 42
        # A thread that blocks in the same kernel meanwhile.
        r, w = kernel.os.pipe()
        reading = asyncio.ensure_future(asyncio.to_thread(kernel.os.read, r, 1))
        await asyncio.sleep(0.01)
        await serve_and_talk("127.0.0.1")
        kernel.os.write(w, b"x")
        assert await reading == b"x"
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        await asyncio.wait_for(got.wait(), 60)
        assert loop.remove_signal_handler(signal.SIGUSR1)

    kernel.aio.run(main())


def test_interrupt(kernel: rumpel.Kernel) -> None:
    """Ctrl-C cancels the main task, as asyncio.run has it."""
    ended = []

    async def main() -> None:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        kernel.aio.run(main())
    assert ended == [True]


def test_an_interrupt_that_does_not_end_the_wait(kernel: rumpel.Kernel) -> None:
    """As one that comes just before it: here to another thread, where it is only noted."""

    async def main() -> None:
        def interrupt() -> None:
            time.sleep(0.02)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            await asyncio.sleep(200)
        finally:
            thread.join()

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        kernel.aio.run(main())
    assert time.monotonic() - start < 100
    # Nobody is woken by a loop's descriptor that is no more.
    assert signal.set_wakeup_fd(-1) == -1


def test_the_wakeup_descriptor_of_others_is_left_alone(kernel: rumpel.Kernel) -> None:
    async def main() -> int:
        return signal.set_wakeup_fd(theirs)

    ours, theirs = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(theirs)
    try:
        assert kernel.aio.run(main()) == theirs
    finally:
        assert signal.set_wakeup_fd(-1) == theirs
        os.close(ours)
        os.close(theirs)


def test_names_are_looked_up_by_the_kernel(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        with kernel.open("/etc/hosts", "w") as file:
            file.write("127.0.0.1 localhost\n127.0.0.2 elsewhere\n")
        loop: Any = asyncio.get_running_loop()
        found = await loop.getaddrinfo("elsewhere", 80, type=socket.SOCK_STREAM)
        assert found[0][4] == ("127.0.0.2", 80)
        assert (await loop.getnameinfo(("127.0.0.2", 80)))[0] == "elsewhere"
        await serve_and_talk("elsewhere")

    kernel.os.makedirs("/etc", exist_ok=True)
    kernel.aio.run(main())


def certificate(directory: Path) -> Path:
    path = directory / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", path, "-out", directory / "cert.pem", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as file:
        file.write((directory / "cert.pem").read_bytes())
    return path


def test_tls(kernel: rumpel.Kernel, tmp_path: Path) -> None:
    path = certificate(tmp_path)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(path)
    client_context = ssl.create_default_context(cafile=path)

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context)
        writer.write(b"secret" * 10000)
        assert await reader.readexactly(60000) == b"secret" * 10000
        writer.close()
        await writer.wait_closed()
        server.close()

    kernel.aio.run(main())


def test_pipes_of_the_host(kernel: rumpel.Kernel) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        r, w = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(r, "rb", 0)
        )
        os.write(w, b"hello")
        os.close(w)
        assert await reader.read() == b"hello"
        transport.close()

    kernel.aio.run(main())


def test_the_end_of_the_kernel(boot: Boot) -> None:
    """Connections break, and the loop can still be closed in peace."""
    kernel = boot()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        threading.Thread(target=kernel.halt).start()
        with pytest.raises(rumpel.KernelClosed):
            await reader.read(1)
        await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: 1) == 1

    kernel.aio.run(main())


def test_two_kernels_of_one_loop(boot: Boot) -> None:
    """One leads, and the other comes through its descriptor."""
    a, b = rumpel.Link()
    left, right = boot(nics=[a]), boot(nics=[b])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")

    async def main() -> None:
        server = await asyncio.start_server(echo, sock=right.socket.create_server(("10.0.0.2", 80)))
        await asyncio.gather(*(talk("10.0.0.2", 80) for _ in range(5)))
        r, w = right.os.pipe()
        reading = asyncio.ensure_future(right.aio.os.read(r, 10))
        await asyncio.sleep(0.01)
        right.os.write(w, b"x")
        assert await reading == b"x"
        server.close()

    left.aio.run(main())


def test_loops_end_cleanly(kernel: rumpel.Kernel) -> None:
    """Nothing stays: no descriptor, neither the host's nor the kernel's, and no task."""

    def state() -> tuple[int, int, int]:
        return (
            len(os.listdir("/proc/self/fd")),
            len(kernel.os.listdir("/proc/1/fd")),
            len(kernel.os.listdir("/proc/1/task")),
        )

    kernel.aio.run(serve_and_talk("127.0.0.1"))
    before = state()
    for _ in range(5):
        kernel.aio.run(serve_and_talk("127.0.0.1"))
    after = state()
    # Of the process's descriptors one may be of something that an earlier test left to end.
    assert after[0] < before[0] + 5
    assert after[1:] == before[1:]


def test_a_runner(kernel: rumpel.Kernel) -> None:
    """The loop is one of asyncio's."""
    with asyncio.Runner(loop_factory=lambda: EventLoop(kernel)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, asyncio.SelectorEventLoop)
        assert isinstance(loop, EventLoop)
        assert loop.kernel is kernel
        runner.run(serve_and_talk("127.0.0.1"))
    with pytest.raises(ValueError, match="negative"):
        EventLoop(kernel, autojump_threshold=-1)
