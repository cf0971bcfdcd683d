# SPDX-License-Identifier: GPL-2.0-only
"""Netlink: a socket for requests, and the few messages that it takes to configure an interface.

This is what :meth:`rumpel.Kernel.ifup` needs right after a boot, and where structures are
simpler than pyroute2, which takes a while to import. All else is in :mod:`rumpel.net`.

Source: netlink(7), rtnetlink(7), include/uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import _socket as socket  # which is quick to import
import _struct as struct
import errno
from os import O_WRONLY, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from rumpel.kernel import Kernel
    from rumpel.os import Os

__all__ = ["Calls", "Netlink", "attribute", "attributes", "ifup"]

_NETLINK_ROUTE = 0
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_REPLACE, _NLM_F_CREATE = 1, 4, 0x100, 0x400
_NLM_F_DUMP = 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR, _RTM_NEWROUTE = 16, 18, 20, 22, 24
_IFLA_IFNAME, _IFLA_MTU = 3, 4
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD = 2
_RTA_OIF, _RTA_GATEWAY = 4, 5
_IFF_UP = 1
_CLOCK_MONOTONIC = 1
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1
_RT_SCOPE_LINK = 253
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


def attribute(kind: int, value: bytes) -> bytes:
    """Encode an attribute: length, type, value, padding to four bytes."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Decode attributes, of which the last of a kind counts."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Encode a message that asks for an acknowledgement."""
    flags |= _NLM_F_REQUEST | _NLM_F_ACK
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def parse_address(text: str) -> tuple[int, bytes, int]:
    """Split an address with a prefix length into family, bytes and length.

    Without a prefix length it is the address's whole length.

    Raises:
        ValueError: if it is no address.

    Example:
        >>> parse_address("10.0.2.15/24")
        (2, b'\\n\\x00\\x02\\x0f', 24)
    """
    address, _, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
        bits = int(length) if length else 8 * len(packed)
    except (OSError, ValueError):
        bits, packed = -1, b""
    if not 0 <= bits <= 8 * len(packed):
        raise ValueError(f"not an address: {text!r} (write 10.0.2.15/24 or fd00::2/64)")
    return family, packed, bits


class Calls:
    """The few functions of a kernel's os that it takes to configure interfaces, and to wait.

    To import all of os takes longer than to boot.

    Args:
        k: the kernel.
    """

    def __init__(self, k: Kernel) -> None:
        self._k = k
        self._buffer = bytearray()

    def _call(self, name: str) -> Callable[..., int]:
        return lambda *args: self._k.syscall(name, *args)

    def sleep(self, seconds: float) -> None:
        """Wait, on the kernel's clock."""
        request = struct.pack("=qq", *divmod(max(1, round(seconds * 1e9)), 10**9))
        self._call("clock_nanosleep")(_CLOCK_MONOTONIC, 0, request, None)

    def read(self, fd: int, size: int) -> bytes:
        """Read bytes."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return bytes(memoryview(self._buffer)[: self._k.syscall("read", fd, self._buffer, size)])

    def write(self, fd: int, data: bytes) -> int:
        """Write bytes."""
        return self._k.syscall("write", fd, data, len(data))

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        self._k.syscall("close", fd)

    def set(self, name: str, value: int | str) -> None:
        """Write a number, or several, to a file of /proc/sys."""
        self.put(f"/proc/sys/{name}", value)

    def put(self, path: str, value: int | str) -> None:
        """Write it to any file."""
        fd = self._k.syscall("openat", -100, path, O_WRONLY)
        try:
            self.write(fd, (value if isinstance(value, str) else f"{value:d}").encode())
        finally:
            self.close(fd)


class Netlink:
    """A netlink socket in a kernel that sends requests and waits for the answer.

    Args:
        os: of the kernel.
        protocol: NETLINK_ROUTE and so on.
    """

    def __init__(self, os: Os | Calls, protocol: int) -> None:
        self._os = os
        self._sequence = 0
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._fd = os._call("socket")(socket.AF_NETLINK, kind, protocol)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            os._call("setsockopt")(self._fd, _SOL_NETLINK, option, struct.pack("=i", 1), 4)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._os.close(self._fd)

    def request(self, kind: int, flags: int, payload: bytes, what: str) -> list[bytes]:
        """Send a request; return the payloads of the answers before the last.

        Raises:
            OSError: with ``what`` as file name, and what the kernel said about it.
        """
        self._sequence += 1
        self._os.write(self._fd, message(kind, flags, self._sequence, payload))
        answers: list[bytes] = []
        while True:
            data = self._os.read(self._fd, 65536)
            while data:
                length, type_, given, sequence, _ = _HEADER.unpack_from(data)
                body, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if sequence != self._sequence:
                    continue
                if type_ not in (_NLMSG_ERROR, _NLMSG_DONE):
                    answers.append(body)
                    continue
                error = -struct.unpack_from("=i", body)[0]
                if error:
                    raise OSError(error, _explanation(error, type_, given, body), what)
                return answers


def _explanation(error: int, kind: int, flags: int, body: bytes) -> str:
    """The error's name, and the kernel's own words about it if there are any."""
    text = strerror(error)
    if not flags & _NLM_F_ACK_TLVS:
        return text
    at = 4
    if kind == _NLMSG_ERROR:
        # Behind the error is the request: its header, and the rest if it was not cut off.
        (length,) = struct.unpack_from("=I", body, 4)
        at += _HEADER.size if flags & _NLM_F_CAPPED else (length + 3) & ~3
    said = attributes(body[at:]).get(_NLMSGERR_ATTR_MSG)
    return f"{text}: {said.rstrip(bytes(1)).decode(errors='replace')}" if said else text


class Rtnetlink(Netlink):
    """Interfaces, addresses and routes."""

    def __init__(self, os: Os | Calls) -> None:
        super().__init__(os, _NETLINK_ROUTE)

    def interfaces(self) -> list[tuple[int, str]]:
        """Numbers and names of all interfaces."""
        found = []
        for body in self.request(_RTM_GETLINK, _NLM_F_DUMP, _IFINFO.pack(0, 0, 0, 0, 0), "links"):
            name = attributes(body[_IFINFO.size :])[_IFLA_IFNAME]
            found.append((_IFINFO.unpack_from(body)[2], name.rstrip(b"\0").decode()))
        return found

    def families(self) -> list[int]:
        """Families of the addresses that any interface but lo has, those of a link left out."""
        payload = _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        found = set()
        for body in self.request(_RTM_GETADDR, _NLM_F_DUMP, payload, "addresses"):
            family, _, _, scope, _ = _IFADDR.unpack_from(body)
            if scope < _RT_SCOPE_LINK:
                found.add(family)
        return sorted(found)

    def index(self, name: str) -> int:
        """Find the number of an interface."""
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
        answers = self.request(_RTM_GETLINK, 0, payload, name)
        if not answers:
            raise OSError(errno.ENODEV, strerror(errno.ENODEV), name)
        number: int = _IFINFO.unpack_from(answers[0])[2]
        return number

    def name(self, index: int) -> str:
        """Find the name of an interface."""
        answer = self.request(_RTM_GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), f"#{index}")[0]
        return attributes(answer[_IFINFO.size :])[_IFLA_IFNAME].rstrip(b"\0").decode()

    def link(self, name: str, index: int, mtu: int | None) -> None:
        """Set an interface up."""
        payload = _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP)
        if mtu is not None:
            payload += attribute(_IFLA_MTU, struct.pack("=I", mtu))
        self.request(_RTM_NEWLINK, 0, payload, name)

    def address(self, index: int, text: str) -> None:
        """Give an interface an address; it is usable at once."""
        family, packed, bits = parse_address(text)
        payload = _IFADDR.pack(family, bits, 0, 0, index) + attribute(_IFA_LOCAL, packed)
        payload += attribute(_IFA_ADDRESS, packed)
        if family == socket.AF_INET and bits < 31:
            host = (1 << (32 - bits)) - 1
            broadcast = int.from_bytes(packed, "big") | host
            payload += attribute(_IFA_BROADCAST, broadcast.to_bytes(4, "big"))
        if family == socket.AF_INET6:
            # Nobody else is on a link of ours: no need to look for a second.
            payload += attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
        self.request(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE, payload, text)

    def default_route(self, index: int, gateway: str) -> None:
        """Send what is for nobody near to a gateway."""
        family, packed, _ = parse_address(gateway)
        payload = _ROUTE.pack(
            family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0
        )
        payload += attribute(_RTA_GATEWAY, packed)
        payload += attribute(_RTA_OIF, struct.pack("=i", index))
        self.request(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_REPLACE, payload, gateway)


def ifup(
    os: Os | Calls, name: str, address: str | None, gateway: str | None, mtu: int | None
) -> None:
    """See :meth:`rumpel.Kernel.ifup`."""
    for text in (address, gateway):
        if text is not None:
            parse_address(text)
    with Rtnetlink(os) as netlink:
        index = netlink.index(name)
        netlink.link(name, index, mtu)
        if address is not None:
            netlink.address(index, address)
        if gateway is not None:
            netlink.default_route(index, gateway)
