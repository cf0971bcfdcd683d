# SPDX-License-Identifier: GPL-2.0-only
"""A chain in one process: the same kernels, joined by cables instead of pipes."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rumpel.booting import boot
from rumpel.clock import VirtualClock
from rumpel.devices.link import Link
from rumpel.devices.pipe import PipeNic
from rumpel.kernel import Kernel
from rumpel.nf.between import Between
from rumpel.nf.chain import Member, Program
from rumpel.nf.ending import Ended, Poll, ended_by_signals
from rumpel.nf.ends import BROKEN_PIPE
from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.runner import pipe, settle
from rumpel.nf.stage import LEFT, RIGHT, Side, Stage, StageError
from rumpel.nf.wire import MTU_MOST, name_ports, plain
from rumpel.nf.work import Work
from rumpel.packets import PacketFormat

if TYPE_CHECKING:
    from rumpel.devices import Nic

__all__ = ["run_fused"]

NAME = "rumpel nf chain"
STEP = 0.02
"""Virtual seconds between two looks at what comes from outside."""


def run_fused(
    chain: Sequence[Member | Program],
    *,
    linux: Mapping[str, Any] | None = None,
    clock: VirtualClock | None = None,
    write: PacketFormat = "text",
) -> int:
    """Run a chain in this process until it ends.

    Args:
        chain: stages only.
        linux: which kernel: ``version`` or ``image``, as :func:`rumpel.boot` has them.
        clock: of all of them. On a virtual clock every run is the same.
        write: how packets are written to standard output.

    Returns:
        The exit code.

    Raises:
        StageError: if there is a program in the chain.
    """
    with ended_by_signals():
        try:
            return _run(chain, linux, clock, write)
        except Ended as error:
            return error.code


def _run(
    chain: Sequence[Member | Program],
    linux: Mapping[str, Any] | None,
    clock: VirtualClock | None,
    write: PacketFormat,
) -> int:
    members, joints = _joined(chain)
    between = [joint for joint in joints if isinstance(joint, Between)]
    outer: dict[Side, PipeNic] = {}
    if LEFT in members[0].stage.ports:
        outer[LEFT] = pipe((0, None), LEFT, NAME, write)
    if RIGHT in members[-1].stage.ports:
        outer[RIGHT] = pipe((None, 1), RIGHT, NAME, write)
    with contextlib.ExitStack() as stack:
        for each in between:
            stack.callback(each.finish)
            for stage in each.stages:
                stage.begin()
                stack.callback(stage.finish)
        kernels: dict[Kernel, dict[str, Nic]] = {}
        for number, member in enumerate(members):
            ports: dict[str, Nic] = {}
            for side in member.stage.ports:
                inner = number - (side == LEFT)
                inside = 0 <= inner < len(joints)
                ports[side] = joints[inner][side == LEFT] if inside else outer[side]
                if not inside:
                    member.stage.one_way = frozenset([side, *member.stage.one_way])
            cut: list[Side] = [
                side for side in member.stage.ports if _is_cut(members, number, side)
            ]
            if len(ports) == 2:
                ports[LEFT].join(ports[RIGHT])
            ports.update(member.stage.nics())
            member.stage.interfaces = ports
            kernels[_stage(stack, member, ports, cut, linux, clock)] = ports
        for each in between:
            each.start(next(iter(kernels)).clock)
            stack.callback(each.close)
        cables = {nic for joint in joints for nic in joint}
        others = [nic for ports in kernels.values() for nic in ports.values() if nic not in cables]
        life = _Life(kernels, others, between, outer.get(RIGHT), clock)
        return life.run({m.stage: k for m, k in zip(members, kernels, strict=True)})


def _joined(chain: Sequence[Member | Program]) -> tuple[list[Member], list[Link | Between]]:
    """The stages with kernels, and what is between each two: a cable, or stages without one."""
    members: list[Member] = []
    joints: list[Link | Between] = []
    held: list[tuple[str, PacketStage]] = []

    def add(member: Member) -> None:
        if members:
            joints.append(Between(held.copy(), MTU_MOST) if held else Link(mtu=MTU_MOST))
        held.clear()
        members.append(member)

    for member in chain:
        if isinstance(member, Program):
            raise StageError(f"{member.name!r} is a program, which cannot be fused with stages")
        if member.stage.unfusable:
            why = member.stage.unfusable
            raise StageError(f"{member.name!r} {why}, and cannot be fused with others")
        if not isinstance(member.stage, PacketStage):
            add(member)
            continue
        # What comes from outside, or goes there, is read and written by a kernel.
        if not members:
            add(_bridge())
        held.append((member.name, member.stage))
    if held:
        add(_bridge())
    return members, joints


def _bridge() -> Member:
    from rumpel.nf.stages.bridge import Bridge

    return Member("bridge", Bridge())


def _is_cut(members: Sequence[Member], number: int, side: Side) -> bool:
    """Are packets on one side of a stage to be as on a wire, for it or for its neighbour?"""
    other = number - 1 if side == LEFT else number + 1
    both = [members[n] for n in (number, other) if 0 <= n < len(members)]
    return not all(member.stage.offloads for member in both)


def _stage(
    stack: contextlib.ExitStack,
    member: Member,
    ports: Mapping[str, Nic],
    cut: Sequence[Side],
    linux: Mapping[str, Any] | None,
    clock: VirtualClock | None,
) -> Kernel:
    member.stage.linux = linux or {}
    k = stack.enter_context(boot(nics=list(ports.values()), clock=clock, **(linux or {})))
    name_ports(k, list(ports))
    if cut:
        plain(k, cut)
    member.stage.configure(k)
    stack.callback(member.stage.end, k)
    return k


class _Life:
    """A chain until its end."""

    def __init__(
        self,
        kernels: Mapping[Kernel, Mapping[str, Nic]],
        others: Sequence[Nic],
        between: Sequence[Between],
        output: PipeNic | None,
        clock: VirtualClock | None,
    ) -> None:
        self._kernels = kernels
        self._others = others
        self._between = between
        self._output = output
        self._clock = clock
        self._streams = [nic for nic in others if isinstance(nic, PipeNic)]
        # The inputs that have not ended, the outputs that have, and those that nobody reads.
        self._open = {nic for nic in self._streams if nic.reads and not nic.writes}
        self._done: set[PipeNic] = set()
        self._broken: set[PipeNic] = set()
        self._damaged = False

    def run(self, stages: Mapping[Stage, Kernel]) -> int:
        """The exit code.

        Raises:
            StageError: if something was wrong with a stage meanwhile.
        """
        for stream in self._streams:
            stream.resume()
        poll = Poll()
        wires: dict[int, Callable[[], bool]] = {}
        for fd in (each.fileno() for some in (self._streams, self._between) for each in some):
            poll.register(fd, select.POLLIN)
            wires[fd] = self._is_over
        with Work(stages) as work:
            codes = [work.run(stage, k, wires) for stage, k in stages.items()]
            code = next((code for code in codes if code is not None), None)
            if code is None:
                code = self._until_end(poll, work)
            self._settle(work)
            for stream in self._streams:
                if stream.writes and stream not in self._broken:
                    stream.end_output()
                    while stream not in self._done:
                        self._wait(poll, work)
        return code

    def _is_over(self) -> bool:
        """Is there nobody any more who reads standard output, or nothing that works?"""
        for stream in self._streams:
            for event in stream.events():
                match event:
                    case "broken":
                        self._broken.add(stream)
                        self._done.add(stream)
                    case "done":
                        self._done.add(stream)
                    case _:
                        self._open.discard(stream)
                        self._damaged |= event == "damaged"
        return self._output in self._broken or any(each.error for each in self._between)

    def _wait(self, poll: Poll, work: Work) -> bool:
        """Wait for events. A virtual clock has nobody else who lets its kernels run."""
        if isinstance(self._clock, VirtualClock):
            work.sleep(STEP)
            poll.poll(1)
        else:
            poll.poll()
        return self._is_over()

    def _until_end(self, poll: Poll, work: Work) -> int:
        """Wait for the end of all input, or of whoever reads standard output.

        Without any, for an interrupt.
        """
        endless = not any(nic.reads and not nic.writes for nic in self._streams)
        over = self._is_over()
        while not over and (self._open or endless):
            over = self._wait(poll, work)
        return BROKEN_PIPE if self._output in self._broken else int(self._damaged)

    def _settle(self, work: Work) -> None:
        """All that is under way arrives, and what stages without a kernel have held back."""
        sides: list[tuple[Side, Sequence[Between]]] = [
            (LEFT, self._between),
            (RIGHT, self._between[::-1]),
        ]
        self._rest(work)
        for side, between in sides:
            for each in between:
                each.drain(side)
                self._rest(work)

    def _rest(self, work: Work) -> None:
        def moving() -> int:
            return sum(each.moving for each in self._between)

        if not any(each.error for each in self._between):
            settle(work, self._kernels, self._others, NAME, moving)
        for each in self._between:
            if each.error is not None:
                raise each.error
