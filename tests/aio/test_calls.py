# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.aio``: system calls as awaitables, on asyncio's own event loop and on ours."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import rumpel
from rumpel.aio import EventLoop
from tests.aio.conftest import Run, on_asyncio, on_kernel
from tests.conftest import Boot

pytestmark = pytest.mark.kernel


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_a_call_that_ends_at_once(tiny: rumpel.Kernel, run: Run) -> None:
    """There is no turn of the event loop."""

    async def main() -> None:
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1

        asyncio.get_running_loop().call_soon(turn)
        assert await tiny.aio.syscall("getpid") == 1
        r, w = tiny.os.pipe()
        assert await tiny.aio.os.write(w, b"hello") == 5
        assert await tiny.aio.os.read(r, 100) == b"hello"
        assert turns == 0

    run(tiny, main())


def test_a_call_that_waits(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        r, w = tiny.os.pipe()
        reading = asyncio.ensure_future(tiny.aio.os.read(r, 100))
        await asyncio.sleep(0.01)
        assert not reading.done()
        tiny.os.write(w, b"hello")
        assert await reading == b"hello"

    run(tiny, main())


def test_errors_are_those_of_the_call(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError) as info:
            await tiny.aio.syscall("openat", -100, "/none", 0, 0)
        assert info.value.filename == "/none"
        with pytest.raises(OSError, match="Bad file descriptor"):
            await tiny.aio.os.read(99, 1)
        with pytest.raises(TypeError, match="missing 1 required"):
            await tiny.aio.os.read(1)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="did you mean getpid"):
            await tiny.aio.syscall("getpids")
        with pytest.raises(AttributeError, match=r"use kernel\.os\.listdir"):
            _ = tiny.aio.os.listdir
        # An error that comes later.
        r, w = tiny.os.pipe()
        tiny.os.set_blocking(r, True)
        buffer = bytearray(4)
        reading = asyncio.ensure_future(tiny.aio.syscall("read", r, buffer, 4))
        await asyncio.sleep(0.01)
        with pytest.raises(BufferError):
            buffer.extend(b"x")  # the kernel is about to write there
        tiny.os.close(w)
        assert await reading == 0
        buffer.extend(b"x")

    run(tiny, main())


MANY = 1000


def test_a_thousand_blocked_calls_of_each_kind(boot: Boot, run: Run) -> None:
    """accept, recv, read and open wait on one host thread, in a kernel of the default size."""
    kernel = boot()
    kernel.syscall("prlimit64", 0, 7, (20000).to_bytes(8, "little") * 2, None)

    async def accepts() -> None:
        servers = [kernel.socket.create_server(("127.0.0.1", 0)) for _ in range(MANY)]
        waiting = [asyncio.ensure_future(kernel.aio.sock_accept(s)) for s in servers]
        await asyncio.sleep(0)
        before = threads()
        clients = []
        for server in servers:
            clients.append(kernel.socket.create_connection(server.getsockname()))
        accepted = await asyncio.gather(*waiting)
        assert threads() <= before
        for (sock, address), client in zip(accepted, clients, strict=True):
            assert address == client.getsockname()
            sock.close()
            client.close()
        for server in servers:
            server.close()

    async def receives() -> None:
        pairs = [kernel.socket.socketpair() for _ in range(MANY)]
        waiting = [asyncio.ensure_future(kernel.aio.sock_recv(a, 100)) for a, _ in pairs]
        await asyncio.sleep(0.01)
        assert not any(each.done() for each in waiting)
        for number, (_, b) in enumerate(pairs):
            b.send(str(number).encode())
        assert await asyncio.gather(*waiting) == [str(n).encode() for n in range(MANY)]
        for a, b in pairs:
            a.close()
            b.close()

    async def opens() -> None:
        for number in range(MANY):
            kernel.os.mkfifo(f"/tmp/{number}")
        waiting = [
            asyncio.ensure_future(kernel.aio.os.open(f"/tmp/{n}", os.O_RDONLY)) for n in range(MANY)
        ]
        await asyncio.sleep(0.01)
        assert not any(each.done() for each in waiting)
        writers = [kernel.os.open(f"/tmp/{n}", os.O_WRONLY) for n in range(MANY)]
        for fd in [*await asyncio.gather(*waiting), *writers]:
            kernel.os.close(fd)

    async def reads() -> None:
        pipes = [kernel.os.pipe() for _ in range(MANY)]
        waiting = [asyncio.ensure_future(kernel.aio.os.read(r, 100)) for r, _ in pipes]
        await asyncio.sleep(0.01)
        assert not any(each.done() for each in waiting)
        for number, (_, w) in enumerate(pipes):
            kernel.os.write(w, str(number).encode())
        assert await asyncio.gather(*waiting) == [str(n).encode() for n in range(MANY)]
        for pair in pipes:
            kernel.os.close(pair[0])
            kernel.os.close(pair[1])

    async def main() -> None:
        for part in (accepts, receives, opens, reads):
            await part()

    run(kernel, main())


def test_the_pool_of_tasks_grows_and_shrinks(
    tiny: rumpel.Kernel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rumpel.aio.driver.PERIOD", 0.05)

    def tasks() -> int:
        return len(tiny.os.listdir("/proc/1/task"))

    async def main() -> None:
        r, w = tiny.os.pipe()
        few = tasks()
        reading = [asyncio.ensure_future(tiny.aio.os.read(r, 1)) for _ in range(100)]
        await asyncio.sleep(0.01)
        assert tasks() >= few + 100
        tiny.os.write(w, bytes(100))
        await asyncio.gather(*reading)
        # More calls keep no more than they need.
        async with asyncio.timeout(20):
            while tasks() > few + 20:
                await tiny.aio.sleep(0.02)

    run(tiny, main())


def test_sleeping(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        before = tiny.clock.now
        await tiny.aio.sleep(0.05)
        assert tiny.clock.now - before >= 0.05
        # As a system call, too.
        await tiny.aio.syscall("nanosleep", (0).to_bytes(8) + (10**7).to_bytes(8, "little"), None)
        assert tiny.clock.now - before >= 0.06

    run(tiny, main())


def test_a_file_is_moved_to_a_pipe(kernel: rumpel.Kernel, run: Run) -> None:
    """The call waits for room."""

    async def main() -> None:
        with kernel.open("/tmp/data", "wb") as file:
            file.write(bytes(1 << 20))
        fd = kernel.os.open("/tmp/data", os.O_RDONLY)
        r, w = kernel.os.pipe()
        moving = asyncio.ensure_future(move(fd, w))
        got = 0
        while data := await kernel.aio.os.read(r, 1 << 16):
            got += len(data)
        await moving
        assert got == 1 << 20

    async def move(fd: int, w: int) -> None:
        while await kernel.aio.os.sendfile(w, fd, None, 1 << 20):
            pass
        kernel.os.close(w)

    run(kernel, main())


def test_two_loops_in_two_threads(tiny: rumpel.Kernel) -> None:
    """A kernel reports an end to whoever asks first; it gets where it belongs."""

    async def pingpong(r: int, w: int, first: bool) -> None:
        for _ in range(300):
            if first:
                await tiny.aio.os.write(w, b"x")
            assert await tiny.aio.os.read(r, 1) == b"x"
            if not first:
                await tiny.aio.os.write(w, b"x")

    for run_other in (on_asyncio, on_kernel):
        (r1, w1), (r2, w2) = tiny.os.pipe(), tiny.os.pipe()
        thread = threading.Thread(target=lambda: run_other(tiny, pingpong(r1, w2, False)))  # noqa: B023
        thread.start()
        tiny.aio.run(pingpong(r2, w1, True))
        thread.join()


def test_the_end_of_a_kernel_ends_its_calls(boot: Boot, tiny_image: str, run: Run) -> None:
    kernel = boot(image=tiny_image)

    async def main() -> None:
        r, _ = kernel.os.pipe()
        reading = [asyncio.ensure_future(kernel.aio.os.read(r, 1)) for _ in range(10)]
        await asyncio.sleep(0.01)
        thread = threading.Thread(target=kernel.halt)
        thread.start()
        for each in reading:
            with pytest.raises(rumpel.KernelClosed):
                await each
        thread.join()
        with pytest.raises(rumpel.KernelClosed):
            await kernel.aio.syscall("getpid")
        # The loop itself goes on.
        await asyncio.sleep(0.01)

    run(kernel, main())


def test_the_panic_of_a_kernel_ends_its_calls(boot: Boot, run: Run) -> None:
    kernel = boot()

    async def main() -> None:
        r, _ = kernel.os.pipe()
        reading = asyncio.ensure_future(kernel.aio.os.read(r, 1))
        await asyncio.sleep(0.01)
        with pytest.raises((rumpel.TaskExited, rumpel.KernelPanic)):
            kernel.syscall("exit_group", 0)
        # It may be killed before the panic.
        with pytest.raises((rumpel.TaskExited, rumpel.KernelPanic)):
            await reading
        await asyncio.sleep(0.01)

    run(kernel, main())


def test_without_housekeeper(boot: Boot, tiny_image: str, run: Run) -> None:
    """The loop sees to the kernel's timers itself."""
    kernel = boot(image=tiny_image, housekeeper=False)

    async def main() -> None:
        r, _ = kernel.os.pipe()
        reading = asyncio.ensure_future(kernel.aio.os.read(r, 1))
        before = kernel.clock.now
        await kernel.aio.syscall("nanosleep", (0).to_bytes(8) + (10**7).to_bytes(8, "little"), None)
        assert kernel.clock.now - before >= 0.01
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    run(kernel, main())


def test_a_virtual_clock_needs_its_own_loop(boot: Boot) -> None:
    kernel = boot(clock=rumpel.VirtualClock())
    other = boot()

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"rumpel\.aio\.run"):
            await kernel.aio.syscall("getpid")

    asyncio.run(main())
    with asyncio.Runner(loop_factory=lambda: EventLoop(other)) as runner:

        async def on_another() -> None:
            with pytest.raises(RuntimeError, match="not the event loop's"):
                await kernel.aio.syscall("getpid")

        runner.run(on_another())


def test_not_for_other_processes(kernel: rumpel.Kernel, run: Run) -> None:
    """Whose descriptors and namespaces the tasks of asynchronous calls do not have."""

    async def main() -> None:
        r, w = kernel.os.pipe()
        with kernel.process():
            with pytest.raises(RuntimeError, match=r"k\.process"):
                await kernel.aio.os.read(r, 1)
            with kernel.process(), pytest.raises(RuntimeError, match=r"k\.process"):
                await kernel.aio.open("/tmp/x", "w")
            with pytest.raises(RuntimeError, match=r"k\.process"):
                EventLoop(kernel)
        with kernel.net.add_namespace("blue"):
            server = kernel.socket.create_server(("127.0.0.1", 80))
            client = kernel.socket.socket()
            for refused in (
                kernel.aio.open("/proc/net/dev"),
                kernel.aio.syscall("socket", 2, 1, 0),
            ):
                with pytest.raises(RuntimeError, match="namespace"):
                    await refused
            # These are where they were made.
            await kernel.aio.sock_connect(client, ("127.0.0.1", 80))
            peer, _ = await kernel.aio.sock_accept(server)
        await kernel.aio.os.write(w, b"x")
        assert await kernel.aio.os.read(r, 1) == b"x"
        for sock in (client, peer, server):
            sock.close()

    run(kernel, main())


def test_pending_calls_in_c(tiny: rumpel.Kernel) -> None:
    """What the binding promises: no result before the end, one call at a time."""
    from rumpel import _native, syscalls

    native = tiny._native
    task = native.task()
    r, w = tiny.os.pipe()
    read = syscalls.bind(native, "read", shape=_native.READ)
    pending = task.submit(read, r, 10)
    assert not pending.done()
    with pytest.raises(RuntimeError, match="not ended"):
        pending.result()
    with pytest.raises(RuntimeError, match="another call"):
        task.submit(read, r, 10)
    with pytest.raises(RuntimeError, match="in progress"):
        task.close()
    with pytest.raises(TypeError):
        task.submit(print)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        task.submit()  # type: ignore[call-arg]
    assert native.run(0) == []
    pending.cancel()
    assert native.run(-1) == [pending]
    assert pending.done()
    with pytest.raises(InterruptedError):
        pending.result()
    pending = task.submit(read, r, 10)
    tiny.os.write(w, b"x")
    assert native.run(-1) == [pending]
    assert pending.result() == b"x"
    assert pending.call is read
    # The kernel goes while a call is in progress.
    pending = task.submit(read, r, 10)
    tiny.close()
    pending.cancel()
    with pytest.raises(rumpel.KernelClosed):
        pending.result()
    with pytest.raises(rumpel.KernelClosed):
        native.run(0)


def test_a_call_that_has_no_task_does_not_wait(tiny: rumpel.Kernel, run: Run) -> None:
    """It is no EAGAIN, after which sock_recv would wait for data that is there."""

    async def main() -> None:
        tiny.sysctl["kernel.threads-max"] = 40
        ours, theirs = tiny.socket.socketpair()
        ours.setblocking(False)
        theirs.send(b"x")
        r, _w = tiny.os.pipe()
        waiting = [asyncio.ensure_future(tiny.aio.os.read(r, 1)) for _ in range(60)]
        await asyncio.sleep(0)
        assert any(isinstance(each.exception(), MemoryError) for each in waiting if each.done())
        with pytest.raises(MemoryError, match="threads-max"):
            await asyncio.wait_for(tiny.aio.sock_recv(ours, 1), 20)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await tiny.aio.sock_recv(ours, 1) == b"x"
        ours.close()
        theirs.close()

    run(tiny, main())
