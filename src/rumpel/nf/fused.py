# SPDX-License-Identifier: GPL-2.0-only
"""A chain in one process: the same kernels, joined by cables instead of pipes."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rumpel.booting import boot
from rumpel.clock import VirtualClock
from rumpel.devices.link import Link
from rumpel.devices.pipe import PipeNic
from rumpel.kernel import Kernel
from rumpel.nf.chain import Member, Program
from rumpel.nf.ending import Ended, Poll, ended_by_signals
from rumpel.nf.ends import BROKEN_PIPE
from rumpel.nf.runner import MTU, pipe, settle
from rumpel.nf.stage import LEFT, RIGHT, Side, StageError
from rumpel.nf.wire import name_ports
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
    members: list[Member] = []
    for member in chain:
        if isinstance(member, Program):
            raise StageError(f"{member.name!r} is a program, which cannot be fused with stages")
        if member.stage.unfusable:
            why = member.stage.unfusable
            raise StageError(f"{member.name!r} {why}, and cannot be fused with others")
        members.append(member)
    links = [Link(mtu=MTU) for _ in members[1:]]
    outer: dict[Side, PipeNic] = {}
    if LEFT in members[0].stage.ports:
        outer[LEFT] = pipe((0, None), LEFT, NAME, write)
    if RIGHT in members[-1].stage.ports:
        outer[RIGHT] = pipe((None, 1), RIGHT, NAME, write)
    with contextlib.ExitStack() as stack:
        kernels: dict[Kernel, dict[str, Nic]] = {}
        for number, member in enumerate(members):
            ports: dict[str, Nic] = {}
            for side in member.stage.ports:
                inner = number - (side == LEFT)
                inside = 0 <= inner < len(links)
                ports[side] = links[inner][side == LEFT] if inside else outer[side]
                if not inside:
                    member.stage.one_way = frozenset([side, *member.stage.one_way])
            if len(ports) == 2:
                ports[LEFT].join(ports[RIGHT])
            ports.update(member.stage.nics())
            member.stage.interfaces = ports
            kernels[_stage(stack, member, ports, linux, clock)] = ports
        cables = {nic for link in links for nic in link}
        others = [nic for ports in kernels.values() for nic in ports.values() if nic not in cables]
        return _live(members, kernels, others, outer.get(RIGHT), clock)


def _stage(
    stack: contextlib.ExitStack,
    member: Member,
    ports: Mapping[str, Nic],
    linux: Mapping[str, Any] | None,
    clock: VirtualClock | None,
) -> Kernel:
    member.stage.linux = linux or {}
    k = stack.enter_context(boot(nics=list(ports.values()), clock=clock, **(linux or {})))
    name_ports(k, list(ports))
    member.stage.configure(k)
    stack.callback(member.stage.end, k)
    return k


def _live(
    members: Sequence[Member],
    kernels: Mapping[Kernel, Mapping[str, Nic]],
    others: Sequence[Nic],
    output: PipeNic | None,
    clock: VirtualClock | None,
) -> int:
    streams = [nic for nic in others if isinstance(nic, PipeNic)]
    for stream in streams:
        stream.resume()
    poll = Poll()
    for stream in streams:
        poll.register(stream, select.POLLIN)
    with Work({m.stage: k for m, k in zip(members, kernels, strict=True)}) as work:
        codes = [work.run(m.stage, k) for m, k in zip(members, kernels, strict=True)]
        code = next((code for code in codes if code is not None), None)
        if code is None:
            code = _until_end(poll, clock, work, streams, output)
        settle(work, kernels, others, NAME)
        for stream in streams:
            if stream.writes and not (stream is output and code == BROKEN_PIPE):
                stream.end_output()
                while not {"done", "broken"} & set(stream.events()):
                    _wait(poll, clock, work)
    return code


def _wait(poll: Poll, clock: object, work: Work) -> None:
    """Wait for events. A virtual clock has nobody else who lets its kernels run."""
    if isinstance(clock, VirtualClock):
        work.sleep(STEP)
        poll.poll(1)
    else:
        poll.poll()


def _until_end(
    poll: Poll,
    clock: object,
    work: Work,
    streams: Sequence[PipeNic],
    output: PipeNic | None,
) -> int:
    """Wait for the end of all input, or of whoever reads standard output.

    Without any, for an interrupt.
    """
    code, left = 0, sum(stream.reads and not stream.writes for stream in streams)
    endless = not left
    while left or endless:
        _wait(poll, clock, work)
        for stream in streams:
            for event in stream.events():
                if event == "broken" and stream is output:
                    return BROKEN_PIPE
                if event in ("end", "damaged") and not stream.writes:
                    left -= 1
                    code |= event == "damaged"
    return code
