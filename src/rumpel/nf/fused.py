# SPDX-License-Identifier: GPL-2.0-only
"""A chain in one process: the same kernels, joined by cables instead of pipes."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rumpel.devices.link import Link
from rumpel.devices.pipe import PacketFormat, PipeNic
from rumpel.kernel import Kernel, boot
from rumpel.nf.chain import Member, Program
from rumpel.nf.runner import BROKEN_PIPE, MTU, pipe, settle
from rumpel.nf.stage import LEFT, RIGHT, Side, StageError
from rumpel.nf.wire import name_ports

if TYPE_CHECKING:
    from rumpel.clock import VirtualClock
    from rumpel.devices import Nic

__all__ = ["run_fused"]


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
    members: list[Member] = []
    for member in chain:
        if isinstance(member, Program):
            raise StageError(f"{member.name!r} is a program, which cannot be fused with stages")
        members.append(member)
    links = [Link(mtu=MTU) for _ in members[1:]]
    outer: dict[Side, PipeNic] = {}
    if LEFT in members[0].stage.ports:
        outer[LEFT] = pipe((0, None), LEFT, "rumpel nf chain", write)
    if RIGHT in members[-1].stage.ports:
        outer[RIGHT] = pipe((None, 1), RIGHT, "rumpel nf chain", write)
    with contextlib.ExitStack() as stack:
        kernels = []
        for number, member in enumerate(members):
            ports: dict[str, Nic] = {}
            for side in member.stage.ports:
                inner = number - (side == LEFT)
                inside = 0 <= inner < len(links)
                ports[side] = links[inner][side == LEFT] if inside else outer[side]
                if not inside:
                    member.stage.one_way = frozenset([side, *member.stage.one_way])
            kernels.append(stack.enter_context(_stage(stack, member, ports, linux, clock)))
        for port in outer.values():
            port.resume()
        return _live(members, kernels, links, outer)


def _stage(
    stack: contextlib.ExitStack,
    member: Member,
    ports: dict[str, Nic],
    linux: Mapping[str, Any] | None,
    clock: VirtualClock | None,
) -> Kernel:
    ports.update(member.stage.nics())
    k = boot(nics=list(ports.values()), clock=clock, **(linux or {}))
    try:
        name_ports(k, list(ports))
        member.stage.configure(k)
    except BaseException:
        k.halt()
        raise
    stack.callback(member.stage.end, k)
    return k


def _live(
    members: Sequence[Member],
    kernels: Sequence[Kernel],
    links: Sequence[Link],
    outer: dict[Side, PipeNic],
) -> int:
    codes = [member.stage.run(k) for member, k in zip(members, kernels, strict=True)]
    code = next((code for code in codes if code is not None), None)
    if code is None:
        code = _until_end(outer)
    settle(kernels, [nic for link in links for nic in link] + list(outer.values()))
    if RIGHT in outer and code != BROKEN_PIPE:
        outer[RIGHT].end_output()
    return code


def _until_end(outer: dict[Side, PipeNic]) -> int:
    """Wait for the end of standard input, or of whoever reads standard output."""
    poll = select.poll()
    for port in outer.values():
        poll.register(port, select.POLLIN)
    while True:
        poll.poll()
        for side, port in outer.items():
            for event in port.events():
                if event == "broken":
                    return BROKEN_PIPE
                if side == LEFT:
                    return int(event == "damaged")
