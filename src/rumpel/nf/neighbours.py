# SPDX-License-Identifier: GPL-2.0-only
"""Neighbour discovery of IPv6 for everybody on the other side of a router.

Linux answers ARP for whole networks (``proxy_arp``), but neighbour solicitations only for
addresses that it is told one by one. So a program of BPF turns them into answers, before
Linux sees them; another keeps the reports of multicast groups (MLD) that Linux sends for
its own addresses from a wire on which nobody asked for them.

A third one takes frames for other stations to be for this one: what comes out of a capture,
on a wire with one direction, is for a router that nobody can ask.

Source: bpf(2), bpf-helpers(7), RFC 4861 4.3 and 4.4, RFC 3810 5.2.
"""

from __future__ import annotations

import _struct as struct

from rumpel import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["answer_for_all", "report_nothing", "take_all"]

_PROG_LOAD, _PROG_ATTACH = 5, 8
_SCHED_CLS, _TCX_INGRESS, _TCX_EGRESS = 3, 46, 47
_NEXT, _DROP = -1, 2
_LOAD_BYTES, _STORE_BYTES, _REDIRECT, _CSUM_DIFF, _CHANGE_TYPE = 26, 9, 23, 28, 32
_SKB_TYPE, _SKB_PROTOCOL, _SKB_IFINDEX = 4, 16, 40
_PACKET_HOST, _PACKET_OTHERHOST = 0, 3
_IPV6 = 0xDD86  # ETH_P_IPV6 as it lies in memory
_INSTRUCTION = struct.Struct("=BBhi")
_B, _H, _W, _DW = 0x10, 0x08, 0x00, 0x18
_R0, _R1, _R2, _R3, _R4, _R5, _R6, _FP = 0, 1, 2, 3, 4, 5, 6, 10

# A solicitation with the sender's address: Ethernet, IPv6, ICMPv6, target, one option.
_SOLICITATION = 86
# Where a copy of it lies in the program's stack, so that its addresses are aligned.
_COPY = -94


class _Program:
    """A program that is left early, with a verdict, when a condition does not hold."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int, int]] = []
        self.exits: list[int] = []

    def put(self, code: int, to: int = 0, of: int = 0, offset: int = 0, value: int = 0) -> None:
        self.code.append((code, to, of, offset, value))

    def move(self, to: int, value: int) -> None:
        self.put(0xB7, to, value=value)

    def copy(self, to: int, of: int) -> None:
        self.put(0xBF, to, of)

    def address(self, to: int, offset: int) -> None:
        """Of something in the stack."""
        self.copy(to, _FP)
        self.put(0x07, to, value=offset)

    def load(self, size: int, to: int, of: int, offset: int) -> None:
        self.put(0x61 | size, to, of, offset)

    def store(self, size: int, offset: int, of: int) -> None:
        self.put(0x63 | size, _FP, of, offset)

    def store_value(self, size: int, offset: int, value: int) -> None:
        self.put(0x62 | size, _FP, 0, offset, value)

    def call(self, helper: int) -> None:
        self.put(0x85, value=helper)

    def leave_unless(self, register: int, value: int) -> None:
        self.exits.append(len(self.code))
        self.put(0x55, register, value=value)

    def leave_if(self, register: int, value: int) -> None:
        self.exits.append(len(self.code))
        self.put(0x15, register, value=value)

    def leave(self) -> None:
        self.put(0x95)

    def encode(self) -> bytes:
        """The program, at whose end Linux goes on with the packet."""
        end = len(self.code)
        self.move(_R0, _NEXT)
        self.leave()
        for at in self.exits:
            code, to, of, _, value = self.code[at]
            self.code[at] = code, to, of, end - at - 1, value
        return b"".join(
            _INSTRUCTION.pack(code, of << 4 | to, offset, value)
            for code, to, of, offset, value in self.code
        )

    def read(self, start: int, size: int, to: int) -> None:
        """Copy a part of the packet, whose context is in register 6, into the stack."""
        self.copy(_R1, _R6)
        self.move(_R2, start)
        self.address(_R3, to)
        self.move(_R4, size)
        self.call(_LOAD_BYTES)
        self.leave_unless(_R0, 0)

    def begin(self) -> None:
        """Only IPv6 is of interest."""
        self.copy(_R6, _R1)
        self.load(_W, _R2, _R6, _SKB_PROTOCOL)
        self.leave_unless(_R2, _IPV6)


def _answer(mac: bytes) -> bytes:
    """Solicitations become advertisements of this hardware address, and go back."""
    program = _Program()
    program.begin()
    program.read(0, _SOLICITATION, _COPY)

    def at(offset: int) -> int:
        return _COPY + offset

    # ICMPv6 of 32 bytes, from a neighbour; a solicitation with the sender's address, which
    # those that look for duplicates have not.
    for size, offset, value in (
        (_H, 18, 0x2000), (_B, 20, 58), (_B, 21, 255), (_H, 54, 135), (_H, 78, 0x0101),
    ):  # fmt: skip
        program.load(size, _R2, _FP, at(offset))
        program.leave_unless(_R2, value)
    # Link-local addresses are our own.
    program.load(_B, _R2, _FP, at(62))
    program.leave_if(_R2, 0xFE)
    for i in range(0, 6, 2):
        program.load(_H, _R2, _FP, at(6 + i))
        program.store(_H, at(i), _R2)
        half = int.from_bytes(mac[i : i + 2], "little")
        program.store_value(_H, at(6 + i), half)
        program.store_value(_H, at(80 + i), half)
    for to, of in ((38, 22), (22, 62)):
        for i in range(0, 16, 8):
            program.load(_DW, _R2, _FP, at(of + i))
            program.store(_DW, at(to + i), _R2)
    program.store_value(_B, at(54), 136)
    program.store_value(_H, at(56), 0)
    # A router, asked for; others may know better (RFC 4861, 7.2.8).
    program.store_value(_W, at(58), 0xC0)
    program.store_value(_B, at(78), 2)
    _checksum(program, at(22), at(54))
    program.store(_H, at(56), _R0)
    program.copy(_R1, _R6)
    program.move(_R2, 0)
    program.address(_R3, _COPY)
    program.move(_R4, _SOLICITATION)
    program.move(_R5, 0)
    program.call(_STORE_BYTES)
    program.leave_unless(_R0, 0)
    program.load(_W, _R1, _R6, _SKB_IFINDEX)
    program.move(_R2, 0)
    program.call(_REDIRECT)
    program.leave()
    return program.encode()


def _checksum(program: _Program, addresses: int, message: int) -> None:
    """Of ICMPv6 with 32 bytes: two addresses, length, number of the protocol, message."""
    # Both are numbers of 32 bits in network order.
    program.move(_R5, (32 + 58) << 24)
    for start in (addresses, message):
        program.move(_R1, 0)
        program.move(_R2, 0)
        program.address(_R3, start)
        program.move(_R4, 32)
        program.call(_CSUM_DIFF)
        program.copy(_R5, _R0)
    for _ in range(2):
        program.copy(_R1, _R0)
        program.put(0x77, _R1, value=16)
        program.put(0x57, _R0, value=0xFFFF)
        program.put(0x0F, _R0, _R1)
    program.put(0xA7, _R0, value=-1)


def _quiet(start: int) -> bytes:
    """Reports of multicast groups are dropped: they have a hop-by-hop header."""
    program = _Program()
    program.begin()
    program.read(start + 6, 1, -8)
    program.load(_B, _R2, _FP, -8)
    program.leave_unless(_R2, 0)
    program.read(start + 48, 1, -8)
    program.load(_B, _R2, _FP, -8)
    for kind in (131, 132):
        program.put(0x15, _R2, offset=2 if kind == 131 else 1, value=kind)
    program.leave_unless(_R2, 143)
    program.move(_R0, _DROP)
    program.leave()
    return program.encode()


def _for_us() -> bytes:
    """What is for another station is for this one."""
    program = _Program()
    program.load(_W, _R2, _R1, _SKB_TYPE)
    program.leave_unless(_R2, _PACKET_OTHERHOST)
    program.move(_R2, _PACKET_HOST)
    program.call(_CHANGE_TYPE)
    return program.encode()


def _attach(k: Kernel, program: bytes, index: int, where: int) -> None:
    # Where both lie, which takes no module for buffers.
    pinned = _native.Vector([program, b"GPL\0"])
    code, _, license, _ = struct.unpack("=4Q", pinned)
    request = struct.pack(
        "=IIQQIIQII",
        _SCHED_CLS,
        len(program) // _INSTRUCTION.size,
        code,
        license,
        0,
        0,
        0,
        0,
        0,
    )
    fd = k.syscall("bpf", _PROG_LOAD, request, len(request))
    try:
        request = struct.pack("=IIII", index, fd, where, 0)
        k.syscall("bpf", _PROG_ATTACH, request, len(request))
    finally:
        k.syscall("close", fd)


def answer_for_all(k: Kernel, index: int, mac: bytes) -> None:
    """Answer neighbour solicitations that an interface receives, whatever they ask for.

    Args:
        k: the kernel.
        index: of the interface.
        mac: its hardware address, which is the answer.
    """
    _attach(k, _answer(mac), index, _TCX_INGRESS)


def report_nothing(k: Kernel, index: int, *, ethernet: bool = True) -> None:
    """Do not tell on an interface which multicast groups the kernel listens to."""
    _attach(k, _quiet(14 if ethernet else 0), index, _TCX_EGRESS)


def take_all(k: Kernel, index: int) -> None:
    """Take what an interface receives for other stations as if it were for this one."""
    _attach(k, _for_us(), index, _TCX_INGRESS)
