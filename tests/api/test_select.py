# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.select`` beside the host's ``select``: each story is told to both."""

from __future__ import annotations

import os as host_os
import select as host
import socket as host_socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from rumpel import Kernel, VirtualClock

pytestmark = pytest.mark.kernel

Story = Callable[[Any, Any, Any], Any]
STORIES: list[Story] = []


def story(function: Story) -> Story:
    """A function of select, socket and os; what it returns is compared."""
    STORIES.append(function)
    return function


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_same_end(story: Story, kernel: Kernel) -> None:
    ours = story(kernel.select, kernel.socket, kernel.os)
    assert ours == story(host, host_socket, host_os)


def error_of(function: Callable[..., Any], *args: Any) -> Any:
    """Which error it is."""
    try:
        function(*args)
    except Exception as error:
        return type(error).__name__
    return None


@story
def polling(select: Any, socket: Any, os: Any) -> Any:
    a, b = socket.socketpair()
    with a, b:
        poll = select.poll()
        poll.register(a, select.POLLIN)
        poll.register(b.fileno())
        result = [len(poll.poll(0)), [e for _, e in poll.poll(100)]]
        b.send(b"x")
        result += [sorted(e for _, e in poll.poll()), dict(poll.poll())[a.fileno()]]
        poll.modify(b, select.POLLIN)
        poll.unregister(a)
        result += [poll.poll(20), error_of(poll.unregister, a), error_of(poll.modify, a, 1)]
        b.close()
        poll = select.poll()
        poll.register(a)
        result += [[e for _, e in poll.poll(0)]]
        return [*result, error_of(poll.register, -1), error_of(poll.register, "x")]


@story
def epolling(select: Any, socket: Any, os: Any) -> Any:
    a, b = socket.socketpair()
    with a, b, select.epoll() as epoll:
        epoll.register(a, select.EPOLLIN)
        result = [epoll.poll(0), epoll.closed, epoll.fileno() >= 0]
        b.send(b"x")
        result += [[e for _, e in epoll.poll()], [fd == a.fileno() for fd, _ in epoll.poll(1, 1)]]
        epoll.modify(a, select.EPOLLIN | select.EPOLLOUT)
        result += [[e for _, e in epoll.poll(1)], error_of(epoll.register, a)]
        epoll.unregister(a)
        result += [epoll.poll(0.01), error_of(epoll.unregister, a), error_of(epoll.poll, 0, 0)]
    return [*result, epoll.closed, error_of(epoll.poll), error_of(epoll.fileno)]


@story
def selecting(select: Any, socket: Any, os: Any) -> Any:
    a, b = socket.socketpair()
    with a, b:
        result = [select.select([a], [], [], 0.01), select.select([], [b], [], 0)[1] == [b]]
        b.send(b"x")
        r, w, x = select.select([a, b], [a, b], [a], 1)
        result += [r == [a], w == [a, b], x]
        result += [select.select([a.fileno()], [], [])[0] == [a.fileno()]]
        result += [error_of(select.select, [-1], [], []), error_of(select.select, [], [], [], -1)]
        number = os.dup(a.fileno())
        os.close(number)
        result += [error_of(select.select, [number], [], [], 0)]
        a.close()
        return [*result, select.select([b], [], [], 1)[0] == [b], select.error, select.PIPE_BUF]


def test_selectors(kernel: Kernel) -> None:
    a, b = kernel.socket.socketpair()
    for name in ("PollSelector", "EpollSelector", "SelectSelector", "DefaultSelector"):
        with getattr(kernel.selectors, name)() as selector:
            selector.register(a, kernel.selectors.EVENT_READ, "data")
            assert selector.select(0) == []
            b.send(b"x")
            assert [(key.fileobj, key.data) for key, _ in selector.select(5)] == [(a, "data")]
            a.recv(1)
    a.close()
    b.close()


def test_timeouts_are_on_the_kernels_clock(boot: Callable[..., Kernel]) -> None:
    clock = VirtualClock()
    kernel = boot(clock=clock)
    r, _ = kernel.os.pipe()
    poll = kernel.select.poll()
    poll.register(r, kernel.select.POLLIN)
    real, before = time.monotonic(), clock.now
    assert poll.poll(100_000) == []
    with kernel.select.epoll() as epoll:
        assert epoll.poll(100) == []
    assert clock.now - before >= 200
    assert time.monotonic() - real < 60
