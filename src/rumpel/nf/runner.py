# SPDX-License-Identifier: GPL-2.0-only
"""A stage as a process: its kernel between pipes."""

from __future__ import annotations

import os
import select
import stat
import sys

from rumpel.booting import boot
from rumpel.devices.pipe import PipeNic
from rumpel.nf.ending import Poll
from rumpel.nf.ends import BROKEN_PIPE, let_go
from rumpel.nf.stage import LEFT, RIGHT
from rumpel.nf.wire import MTU_MOST, name_ports, waiting
from rumpel.nf.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from rumpel.devices import Nic
    from rumpel.kernel import Kernel
    from rumpel.nf.ends import Ends
    from rumpel.nf.stage import Side, Stage
    from rumpel.packets import PacketFormat

__all__ = ["look", "pipe", "run", "settle"]

QUIET = 0.002
"""Seconds between two looks at whether anything still moves."""
_INTERRUPT = "interrupt"
"""What a stage waits for that has no input to end, such as a TAP device in a pipeline."""
PAUSE = 2.5
"""Seconds in which those who go on to send do so, but not those who only look for a router."""
PATIENCE = 10.0
"""Seconds after which a stage ends to which others go on to send."""


def run(
    stage: Stage,
    ends: Ends,
    name: str,
    *,
    linux: Mapping[str, Any] | None = None,
    write: PacketFormat = "text",
    ready: Callable[[], None] = lambda: None,
    kernel: Kernel | None = None,
) -> int:
    """Run a stage until its input ends, or it has done what it does.

    Args:
        stage: the stage.
        ends: its descriptors. Sockets, which other stages are behind, get pcap.
        name: which messages begin with.
        linux: which kernel: ``version`` or ``image``, as :func:`rumpel.boot` has them.
        write: how packets are written to others than sockets.
        ready: called when all is set up, before anything is done.
        kernel: one that is booted, but has no interfaces yet; it is halted in the end.

    Returns:
        The exit code.

    Raises:
        StageError: if the stage cannot be set up as asked for.
    """
    stage.linux = linux or {}
    ports: dict[str, PipeNic] = {
        side: pipe(
            ends.of(side),
            side,
            name,
            write,
            offload=side in ends.offload,
            shared=ends.shared.get(side, 0),
        )
        for side in stage.ports
    }
    ended: list[Side] = [side for side in stage.ports if None in ends.of(side)]
    stage.one_way = frozenset([*ended, *stage.one_way])
    let_go(ends)
    if len(ports) == 2:
        ports[LEFT].join(ports[RIGHT])
    stage.interfaces = nics = {**ports, **stage.nics()}
    if kernel is None:
        kernel = boot(nics=list(nics.values()), **(linux or {}))
    else:
        for nic in nics.values():
            kernel.plug(nic)
    with kernel as k:
        name_ports(k, list(nics))
        stage.configure(k)
        streams = {name: nic for name, nic in nics.items() if isinstance(nic, PipeNic)}
        try:
            with Work(k, [stage]) as work:
                ready()
                for stream in streams.values():
                    stream.resume()
                return _Life(stage, k, work, streams, name).run()
        finally:
            stage.end(k)


def pipe(
    fds: tuple[int | None, int | None],
    side: Side,
    name: str,
    write: PacketFormat,
    *,
    offload: bool = False,
    shared: int = 0,
) -> PipeNic:
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
        offload=offload,
        shared=shared,
        report=2,
        name=name,
        mtu=MTU_MOST,
    )


def settle(
    work: Work,
    k: Kernel,
    others: Collection[Nic],
    name: str,
    look: Callable[[], tuple[int, object]],
) -> None:
    """Wait until nothing moves any more: what has come in has gone out, or nowhere.

    That takes as long as it takes (a slow reader, a long delay). But if others go on to send,
    it may never end: then it is left, and what is lost is told.

    Args:
        work: what stages do meanwhile.
        k: the kernel, whose clock counts.
        others: interfaces through which something may still come.
        name: which the message begins with.
        look: counts the packets that wait somewhere; and something that is another one after
            any has moved.
    """
    clock = k.clock
    start = heard = busy = clock.now
    before, received = None, None
    while True:
        # What lasts for long is not looked at so often.
        work.sleep(max(QUIET, min((clock.now - start) / 16, 0.25)))
        # A number without its name, which takes an import.
        come = [nic._count()[0] for nic in others]
        left, now = look()
        if not left and now == before:
            return
        if come != received:
            # Since when has there been no pause?
            busy = clock.now if clock.now - heard > PAUSE else busy
            heard = clock.now
        if clock.now - busy > PATIENCE and clock.now - heard < PAUSE:
            if left:
                print(f"{name}: ended while {left} packets were on their way", file=sys.stderr)
            return
        before, received = now, come


def look(k: Kernel, ports: Mapping[str, Nic]) -> tuple[int, list[object]]:
    """Count what waits at ports; and what changes when it does not. See :func:`settle`."""
    count = waiting(k, ports) + sum(nic.stalled for nic in ports.values())
    return count, [nic._count() for nic in ports.values()]


class _Life:
    """A stage until its end, which comes from the left and goes to the right, and back.

    Besides those on its sides a stage may have streams of its own (:meth:`Stage.nics`). One
    that is only read counts as on the left, one that is written as on the right.
    """

    def __init__(
        self, stage: Stage, k: Kernel, work: Work, streams: dict[str, PipeNic], name: str
    ) -> None:
        self.stage = stage
        self.k = k
        self.work = work
        self.streams = streams
        self.name = name
        self.code = 0
        self.sources = {name for name, nic in streams.items() if nic.reads and not nic.writes} - {
            LEFT,
            RIGHT,
        }
        # The streams whose output is to be closed, and those where nobody reads it.
        self.ending: set[str] = set()
        self.broken: set[str] = set()
        # Those from which something may still come, and which are waited for.
        self.open = self.sources | {side for side in stage.ports if streams[side].reads}

    def run(self) -> int:
        poll = Poll()
        for stream in self.streams.values():
            poll.register(stream, select.POLLIN)
        ports = [(side, self.streams[side]) for side in self.stage.ports]
        wires = {stream.fileno(): self._asked(name) for name, stream in ports}
        if self.work.fd >= 0:
            poll.register(self.work.fd, select.POLLIN)
        code = self.work.run(wires)
        if code is not None:
            self.code = code
            self.open.clear()
            self._end(self.streams)
        elif not self.open:
            self.open.add(_INTERRUPT)
        # What is on its way out is waited for, whoever may read it.
        while self.open or self.ending:
            poll.poll()
            self.work.check()
            for name, stream in self.streams.items():
                for event in stream.events():
                    self._event(name, event)
        return self.code

    def _asked(self, name: str) -> Callable[[], bool]:
        return lambda: self._is_gone(name)

    def _is_gone(self, name: str) -> bool:
        """Is there nobody any more behind a port? Asked while the stage does what it does."""
        events = self.streams[name].events()
        if "broken" in events:
            self.broken.add(name)
        if not {"end", "damaged"}.isdisjoint(events):
            self.open.discard(name)
        return name in self.broken or (self.stage.needs_answers and name not in self.open)

    def _event(self, name: str, event: str) -> None:
        if event in ("done", "broken"):
            self.ending.discard(name)
            if event == "broken":
                self.broken.add(name)
                # A copy that cannot be written: it has been said why.
                if name not in self.stage.ports and self.streams[name].stats.errors:
                    self.code = 1
            # Nobody upstream is interested in answers any more: no reason to end.
            if event == "broken" and name == RIGHT:
                self.open.clear()
                self.ending.clear()
                self.code = BROKEN_PIPE
            return
        if name not in self.open:
            return
        if event == "damaged":
            self.code = 1
        self.open.discard(name)
        if len(self.stage.ports) == 1 and name in self.stage.ports:
            self._end(self.streams)
        elif name == RIGHT:
            self._end([LEFT])
        elif not self.open & {LEFT, *self.sources}:
            self._end(self.streams.keys() - {LEFT})

    def _end(self, names: Collection[str]) -> None:
        names = [n for n in names if self.streams[n].writes and n not in self.broken]
        looked_at = {name: self.streams[name] for name in names}
        settle(
            self.work,
            self.k,
            self.streams.values(),
            self.name,
            lambda: look(self.k, looked_at),
        )
        for name in names:
            self.ending.add(name)
            self.streams[name].end_output()
