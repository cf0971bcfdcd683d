# SPDX-License-Identifier: GPL-2.0-only
"""A chain in one process: one kernel, and each stage in a network namespace of its own.

Packets pass from one to the next by reference, whole segments of TCP too. Cables of the runtime
are only where a port has to be a device, and Python code where a stage has no kernel.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rumpel.booting import boot
from rumpel.clock import VirtualClock
from rumpel.devices.link import Link
from rumpel.devices.pipe import PipeNic
from rumpel.kernel import Kernel
from rumpel.nf.between import Between
from rumpel.nf.ending import Ended, Poll, ended_by_signals
from rumpel.nf.ends import BROKEN_PIPE
from rumpel.nf.members import Member, Program
from rumpel.nf.namespaces import Namespace, Namespaces, join, named, wait_for_links
from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.runner import pipe, settle
from rumpel.nf.stage import LEFT, RIGHT, Side, Stage, StageError
from rumpel.nf.wire import MTU_MOST, name_ports, passed, plain, waiting
from rumpel.nf.work import Work
from rumpel.packets import PacketFormat

if TYPE_CHECKING:
    from rumpel.devices import Nic

__all__ = ["run_fused"]

Joint = Link | Between | None
"""What is between two stages: a cable, stages without a kernel, or a pair of Linux's own."""
NAME = "rumpel nf chain"
_MEMORY, _STAGES = 128, 8
"""MiB of memory of a chain with fewer stages than this; twice that with up to twice as many, and
so on."""
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
        clock: of the kernel. On a virtual clock every run is the same.
        write: how packets are written to standard output.

    Returns:
        The exit code.

    Raises:
        StageError: if there is a program in the chain.
    """
    with ended_by_signals():
        try:
            return _run(chain, linux or {}, clock, write)
        except Ended as error:
            return error.code


def _run(
    chain: Sequence[Member | Program],
    linux: Mapping[str, Any],
    clock: VirtualClock | None,
    write: PacketFormat,
) -> int:
    members, joints = _joined(chain)
    outer: list[PipeNic | None] = [None, None]
    if LEFT in members[0].stage.ports:
        outer[0] = pipe((0, None), LEFT, NAME, write)
    if RIGHT in members[-1].stage.ports:
        outer[1] = pipe((None, 1), RIGHT, NAME, write)
    between = [joint for joint in joints if isinstance(joint, Between)]
    with contextlib.ExitStack() as stack:
        for each in between:
            stack.callback(each.finish)
            stack.callback(each.end)
            each.begin()
        devices = _devices(members, joints, outer)
        _let_wait(joints, outer)
        nics = [nic for some in devices for nic in some.values()]
        memory = f"{_MEMORY << (len(members) // _STAGES).bit_length()}M"
        k = stack.enter_context(boot(nics=nics, clock=clock, memory=memory, **linux))
        namespaces = _arrange(k, members, joints, devices)
        for member, namespace in zip(members, namespaces, strict=True):
            with named(namespace), namespace:
                member.stage.configure(k)
            stack.callback(_end, member.stage, k, namespace)
        wait_for_links(k, namespaces)
        for each in between:
            each.start(k.clock)
            stack.callback(each.close)
        inner = {nic for joint in joints if joint is not None for nic in joint}
        others = [nic for nic in nics if nic not in inner]
        stages = [member.stage for member in members]
        looked_at = [
            (namespace, {*stage.ports, *stage.interfaces})
            for namespace, stage in zip(namespaces, stages, strict=True)
        ]
        look = partial(_look, k, looked_at, nics, between)
        return _Life(k, stages, look, others, between, outer[1]).run()


def _look(
    k: Kernel,
    looked_at: Sequence[tuple[Namespace, Collection[str]]],
    nics: Sequence[Nic],
    between: Sequence[Between],
) -> tuple[int, object]:
    """Count what waits, and what changes when it does not: see :func:`rumpel.nf.runner.settle`."""
    count = sum(each.moving for each in between) + sum(nic.stalled for nic in nics)
    seen: list[object] = [nic.stats for nic in nics]
    for namespace, names in looked_at:
        with namespace:
            count += waiting(k, names)
            seen += passed(k, names)
    return count, seen


def _devices(
    members: Sequence[Member], joints: Sequence[Joint], outer: Sequence[PipeNic | None]
) -> list[dict[str, Nic]]:
    """The devices of each stage, by name: those of its ports that are any, and its own."""
    left = [outer[0], *(None if joint is None else joint[1] for joint in joints)]
    right = [*(None if joint is None else joint[0] for joint in joints), outer[1]]
    found = []
    for member, *ports in zip(members, left, right, strict=True):
        sides: dict[str, Nic] = {
            side: nic for side, nic in zip((LEFT, RIGHT), ports, strict=True) if nic is not None
        }
        try:
            found.append({**sides, **member.stage.nics()})
        except StageError as error:
            raise StageError(f"{member.name}: {error}") from None
    return found


class _Interfaces(dict[str, "Nic"]):
    def __missing__(self, name: str) -> Nic:
        raise StageError(f"its interface {name!r} is no device: the stage has to say so in devices")


def _let_wait(joints: Sequence[Joint], outer: Sequence[PipeNic | None]) -> None:
    """What comes in through a device waits for the next one that it goes out through."""
    before: Nic | None = outer[0]
    for after, following in [*((j[0], j[1]) for j in joints if j is not None), (outer[1], None)]:
        if before is not None and after is not None:
            before.join(after)
        before = following


def _arrange(
    k: Kernel,
    members: Sequence[Member],
    joints: Sequence[Joint],
    devices: Sequence[Mapping[str, Nic]],
) -> list[Namespace]:
    """Give each stage a namespace of the kernel, with interfaces that are joined."""
    some = Namespaces(k)
    namespaces = [some.add(member.name) for member in members]
    for number, (member, nics) in enumerate(zip(members, devices, strict=True)):
        stage = member.stage
        stage.namespace, stage.interfaces = namespaces[number], _Interfaces(nics)
        ends = {LEFT: number == 0, RIGHT: number == len(joints)}
        stage.one_way = frozenset([*(s for s in stage.ports if ends[s]), *stage.one_way])
    names = [name for nics in devices for name in nics]
    name_ports(
        k, names, [at.fd for at, nics in zip(namespaces, devices, strict=True) for _ in nics]
    )
    for number, joint in enumerate(joints):
        if joint is None:
            join(k, number, ((namespaces[number], RIGHT), (namespaces[number + 1], LEFT)))
    for number, member in enumerate(members):
        if cut := [side for side in member.stage.ports if _is_cut(members, number, side)]:
            with namespaces[number]:
                plain(k, cut)
    return namespaces


def _joined(chain: Sequence[Member | Program]) -> tuple[list[Member], list[Joint]]:
    """The stages with a namespace of the kernel, and what is between each two."""
    members: list[Member] = []
    joints: list[Joint] = []
    held: list[tuple[str, PacketStage]] = []

    def add(member: Member) -> None:
        if members:
            joints.append(_joint(members[-1].stage, member.stage, held))
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


def _joint(left: Stage, right: Stage, held: Sequence[tuple[str, PacketStage]]) -> Joint:
    if held:
        return Between(list(held), MTU_MOST)
    return Link(mtu=MTU_MOST) if RIGHT in left.devices or LEFT in right.devices else None


def _bridge() -> Member:
    from rumpel.nf.stages.bridge import Bridge

    return Member("bridge", Bridge(port=()))


def _is_cut(members: Sequence[Member], number: int, side: Side) -> bool:
    """Are packets on one side of a stage to be as on a wire, for it or for its neighbour?"""
    other = number - 1 if side == LEFT else number + 1
    both = [members[n] for n in (number, other) if 0 <= n < len(members)]
    return not all(member.stage.offloads for member in both)


def _end(stage: Stage, k: Kernel, namespace: Namespace) -> None:
    with named(namespace), namespace if k.state == "running" else contextlib.nullcontext():
        stage.end(k)


class _Life:
    """A chain until its end."""

    def __init__(
        self,
        k: Kernel,
        stages: Sequence[Stage],
        look: Callable[[], tuple[int, object]],
        others: Sequence[Nic],
        between: Sequence[Between],
        output: PipeNic | None,
    ) -> None:
        self._k = k
        self._stages = stages
        self._look = look
        self._others = others
        self._between = between
        self._output = output
        self._streams = [nic for nic in others if isinstance(nic, PipeNic)]
        # The inputs that have not ended, the outputs that have, and those that nobody reads.
        self._open = {nic for nic in self._streams if nic.reads and not nic.writes}
        self._done: set[PipeNic] = set()
        self._broken: set[PipeNic] = set()
        self._damaged = False

    def run(self) -> int:
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
        with Work(self._k, self._stages) as work:
            if work.fd >= 0:
                poll.register(work.fd, select.POLLIN)
            code = work.run(wires)
            if code is None:
                code = self._until_end(poll, work)
            self._settle(work)
            for stream in self._streams:
                if stream.writes and stream not in self._broken:
                    stream.end_output()
                    while stream not in self._done:
                        self._wait(poll, work)
        if code == 0 and self._output in self._broken:
            return BROKEN_PIPE
        return code or int(self._damaged)

    def _is_over(self) -> bool:
        """Is there nobody any more who reads standard output, or nothing that works?"""
        for stream in self._streams:
            for event in stream.events():
                match event:
                    case "broken":
                        self._broken.add(stream)
                        self._done.add(stream)
                        # A copy that cannot be written: it has been said why.
                        if stream is not self._output and stream.stats.errors:
                            self._damaged = True
                    case "done":
                        self._done.add(stream)
                    case _:
                        self._open.discard(stream)
                        self._damaged |= event == "damaged"
        errors = [each.error for each in self._between if each.error is not None]
        for error in errors:
            if isinstance(error, Ended):
                raise error
        return self._output in self._broken or bool(errors)

    def _wait(self, poll: Poll, work: Work) -> bool:
        """Wait for events. One event loop of all has nobody else who lets it live."""
        if work.together:
            work.sleep(STEP)
            poll.poll(1)
        else:
            poll.poll()
        work.check()
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
        if not any(each.error for each in self._between):
            settle(work, self._k, self._others, NAME, self._look)
        for each in self._between:
            if each.error is not None:
                raise each.error
