# SPDX-License-Identifier: GPL-2.0-only
"""A chain as processes: stages joined full duplex, and programs of the host between them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rumpel import _native
from rumpel.booting import boot
from rumpel.errors import RumpelError
from rumpel.nf.ending import GRACE, SIGNALS, Ended, ended_by_signals
from rumpel.nf.ends import Ends
from rumpel.nf.members import Member, Program
from rumpel.nf.processes import Processes
from rumpel.nf.stage import LEFT, RIGHT
from rumpel.packets import PacketFormat

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["run_chain"]


class _Wires:
    """The descriptors between the members, all of which this process gives away."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def pair(self) -> tuple[int, int]:
        """Two connected sockets."""
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fds = a.detach(), b.detach()
        self.fds += fds
        return fds

    def memory(self) -> int:
        """A file in memory."""
        fd = os.memfd_create("rumpel nf", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.fds.append(fd)
        return fd

    def pipe(self) -> tuple[int, int]:
        """A pipe: where it is read, where it is written."""
        fds = os.pipe2(os.O_CLOEXEC)
        self.fds += fds
        return fds

    def close(self, *, but: Collection[int] = ()) -> None:
        """Close them, some excepted."""
        for fd in self.fds:
            if fd not in but:
                os.close(fd)
        self.fds = []


class _Start:
    """Nobody sends before all are ready: their kernels are booted and set up.

    Each process says so with a byte, and those that send wait for the end of a pipe that
    the parent holds.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.ready = os.pipe2(os.O_CLOEXEC)
        self.go = os.pipe2(os.O_CLOEXEC)

    def wait(self) -> None:
        """In a stage's process."""
        os.close(self.go[1])
        os.write(self.ready[1], b"r")
        os.close(self.ready[1])
        os.read(self.go[0], 1)

    def fire(self) -> None:
        """In the parent: returns when all are ready, or one will never be."""
        os.close(self.ready[1])
        os.close(self.go[0])
        left = self.count
        while left and (got := os.read(self.ready[0], left)):
            left -= len(got)
        os.close(self.ready[0])
        os.close(self.go[1])


def run_chain(
    chain: Sequence[Member | Program],
    *,
    linux: Mapping[str, Any] | None = None,
    write: PacketFormat = "text",
    take: Callable[[], Kernel | None] | None = None,
) -> int:
    """Run a chain until it ends, a process for each member.

    Args:
        chain: stages and programs.
        linux: which kernel: ``version`` or ``image``, as :func:`rumpel.boot` has them.
        write: how packets are written to standard output.
        take: gives such a kernel, without any device, if there is one already.

    Returns:
        The exit code: that of the member that failed, whose name is said on standard error.
    """
    # Longer than the stages have, and then some time to end what is left of them.
    with ended_by_signals(GRACE + 2):
        processes = Processes()
        try:
            _begin(chain, linux or {}, write, processes, take)
        except Ended as error:
            processes.interrupt(error)
        return processes.wait()


def _begin(
    chain: Sequence[Member | Program],
    linux: Mapping[str, Any],
    write: PacketFormat,
    processes: Processes,
    take: Callable[[], Kernel | None] | None,
) -> None:
    """Start all, and let them begin."""
    wires = _Wires()
    stages: list[tuple[Member, Ends]] = []
    programs: list[tuple[Program, int, int]] = []
    between: list[Program] = []
    try:
        for member in chain:
            if isinstance(member, Program):
                between.append(member)
                continue
            ends = Ends()
            if stages:
                _join(wires, stages[-1][1], ends, between, programs)
                if not between and member.stage.offloads and stages[-1][0].stage.offloads:
                    stages[-1][1].offload.add(RIGHT)
                    ends.offload.add(LEFT)
                    stages[-1][1].shared[RIGHT] = ends.shared[LEFT] = wires.memory()
                between = []
            stages.append((member, ends))
        # What comes before the chain and behind it is the command's own.
        if LEFT in stages[0][0].stage.ports:
            stages[0][1].left_in = 0
        if RIGHT in stages[-1][0].stage.ports:
            stages[-1][1].right_out = 1
        for program, stdin, stdout in programs:
            started = program.start(stdin, stdout)
            processes.add(started, program.name, chain.index(program))
        start = _Start(len(stages))
        # Each stage gets a copy of it: a fork is much faster than a boot.
        kernel = (take() if take else None) or boot(**linux)
        for member, ends in stages:
            run = partial(member.stage.process, ends, linux=linux, write=write, kernel=kernel)
            pid = _fork(run, member, ends, wires, start)
            place, reads, writes = chain.index(member), ends.left_in == 0, ends.right_out == 1
            processes.add(pid, member.name, place, reads=reads, output=writes)
        kernel.close()
    finally:
        wires.close()
    start.fire()


def _join(
    wires: _Wires,
    before: Ends,
    after: Ends,
    between: Sequence[Program],
    programs: list[tuple[Program, int, int]],
) -> None:
    """Make what lies between two stages: a pair of sockets, or pipes through programs."""
    if not between:
        before.right_in, after.left_in = wires.pair()
        before.right_out, after.left_out = before.right_in, after.left_in
        return
    reader, before.right_out = wires.pipe()
    for program in between:
        if program.direction != "<":
            following, writer = wires.pipe()
            programs.append((program, reader, writer))
            reader = following
    after.left_in = reader
    reader, after.left_out = wires.pipe()
    for program in reversed(between):
        if program.direction != ">":
            following, writer = wires.pipe()
            programs.append((program, reader, writer))
            reader = following
    before.right_in = reader


def _fork(run: Callable[..., int], member: Member, ends: Ends, wires: _Wires, start: _Start) -> int:
    """Start a stage's process."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is when the descriptor is closed
            stream.flush()
    parent = os.getpid()
    code = 1
    name = f"rumpel nf {member.name}"
    # Between the fork and the child's own handlers nothing may be raised.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid
    try:
        with ended_by_signals():
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # Also when its parent is killed.
            _native.end_with_parent(signal.SIGTERM)
            if os.getppid() != parent:
                raise Ended(signal.SIGTERM)
            # Whoever holds another stage's descriptors would never see its end.
            wires.close(but=ends.fds())
            code = run(name=name, ready=start.wait)
    except RumpelError as error:
        print(f"{name}: {error}", file=sys.stderr)
    except Ended as error:
        code = error.code
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
