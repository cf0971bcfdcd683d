# SPDX-License-Identifier: GPL-2.0-only
"""A stage as a process: its kernel between pipes."""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rumpel.devices.pipe import PacketFormat, PipeNic
from rumpel.kernel import Kernel, boot
from rumpel.nf.stage import LEFT, RIGHT, Side, Stage
from rumpel.nf.wire import name_ports

if TYPE_CHECKING:
    from rumpel.devices import Nic

__all__ = ["Ends", "descriptors", "run"]

MTU = 1500
QUIET = 0.002
"""Seconds between two looks at whether anything still moves."""
PATIENCE = 10.0
"""Seconds after which a stage ends whose packets do not come to an end."""

BROKEN_PIPE = 128 + signal.SIGPIPE


class Ends:
    """The descriptors of a stage: what comes in on a side, what goes out there; or None."""

    def __init__(self) -> None:
        self.left_in: int | None = None
        self.left_out: int | None = None
        self.right_in: int | None = None
        self.right_out: int | None = None

    def of(self, side: Side) -> tuple[int | None, int | None]:
        """What comes in on a side, and what goes out there."""
        if side == LEFT:
            return self.left_in, self.left_out
        return self.right_in, self.right_out


def run(
    stage: Stage,
    ends: Ends,
    name: str,
    *,
    linux: Mapping[str, Any] | None = None,
    write: PacketFormat = "text",
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Run a stage until its input ends, or it has done what it does.

    Args:
        stage: the stage.
        ends: its descriptors. Sockets, which other stages are behind, get pcap.
        name: which messages begin with.
        linux: which kernel: ``version`` or ``image``, as :func:`rumpel.boot` has them.
        write: how packets are written to others than sockets.
        ready: called when all is set up, before anything is done.

    Returns:
        The exit code.

    Raises:
        StageError: if the stage cannot be set up as asked for.
    """
    ports: dict[Side, PipeNic] = {
        side: pipe(ends.of(side), side, name, write) for side in stage.ports
    }
    stage.one_way = frozenset(side for side in stage.ports if None in ends.of(side))
    _let_go(ends)
    if len(ports) == 2:
        ports[LEFT].join(ports[RIGHT])
    outside = stage.nics()
    nics: list[Nic] = [*ports.values(), *outside.values()]
    with boot(nics=nics, **(linux or {})) as k:
        name_ports(k, [*ports, *outside])
        stage.configure(k)
        for port in ports.values():
            port.resume()
        ready()
        try:
            return _Life(stage, k, ports, ends).run()
        finally:
            stage.end(k)


def _let_go(ends: Ends) -> None:
    """The ports have descriptors of their own; who reads ours would not see their end."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in {fd for fd in vars(ends).values() if fd is not None}:
        # Standard input and output keep their places.
        if fd <= 2:
            os.dup2(null, fd)
        else:
            os.close(fd)
    os.close(null)


def pipe(fds: tuple[int | None, int | None], side: Side, name: str, write: PacketFormat) -> PipeNic:
    """Make a port of two descriptors."""
    come, go = fds
    if go is not None and stat.S_ISSOCK(os.fstat(go).st_mode):
        write = "pcap"
    return PipeNic(
        come,
        go,
        write=write,
        backward=side == LEFT,
        paused=True,
        report=2,
        name=name,
        mtu=MTU,
    )


def settle(kernels: Sequence[Kernel], nics: Sequence[Nic]) -> None:
    """Wait until nothing moves any more: what has come in has gone out, or nowhere."""
    clock = kernels[0].clock
    limit = clock.now + PATIENCE
    before = None
    while clock.now < limit:
        now = [nic.stats for nic in nics]
        if now == before and not any(qdisc.qlen for k in kernels for qdisc in k.net.qdisc):
            return
        before = now
        kernels[0].sleep(QUIET)


class _Life:
    """A stage until its end, which comes from the left and goes to the right, and back."""

    def __init__(self, stage: Stage, k: Kernel, ports: dict[Side, PipeNic], ends: Ends) -> None:
        self.stage = stage
        self.k = k
        self.ports = ports
        self.code = 0
        # The sides on which something may still come.
        self.open = {side for side in ports if ends.of(side)[0] is not None}

    def run(self) -> int:
        code = self.stage.run(self.k)
        if code is not None:
            self._end(self.stage.port)
            return code
        poll = select.poll()
        for port in self.ports.values():
            poll.register(port, select.POLLIN)
        while self.open:
            poll.poll()
            for side, port in self.ports.items():
                for event in port.events():
                    self._event(side, event)
        return self.code

    def _event(self, side: Side, event: str) -> None:
        if event == "broken":
            # Nobody upstream is interested in answers any more: no reason to end.
            if side == RIGHT:
                self.open.clear()
                self.code = BROKEN_PIPE
            return
        if event == "damaged":
            self.code = 1
        self.open.discard(side)
        other = RIGHT if side == LEFT else LEFT
        self._end(other if other in self.ports else side)

    def _end(self, side: Side) -> None:
        if side in self.ports:
            settle([self.k], list(self.ports.values()))
            self.ports[side].end_output()


def descriptors(stage: Stage, returns: dict[Side, str]) -> Ends:
    """Standard input and output, and named pipes for the way back.

    Args:
        stage: whose ports they are for.
        returns: for a side, the path of the named pipe for answers there.
    """
    ends = Ends()
    if LEFT in stage.ports:
        ends.left_in = 0
        if LEFT in returns:
            ends.left_out = os.open(returns[LEFT], os.O_WRONLY | os.O_CLOEXEC)
    if RIGHT in stage.ports:
        ends.right_out = 1
        if RIGHT in returns:
            ends.right_in = os.open(returns[RIGHT], os.O_RDONLY | os.O_CLOEXEC)
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    return ends
