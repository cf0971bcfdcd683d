# SPDX-License-Identifier: GPL-2.0-only
"""The functions of :mod:`socket` that turn names into addresses and back.

Who knows hosts is in :mod:`rumpel.socket.hosts`. Names of services and protocols are the
host's: they are the same everywhere. Errors, and the order of what is found, are those of
the GNU C library.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import socket as std
from typing import Any

from rumpel.netlink import Rtnetlink
from rumpel.socket.hosts import LOOPBACK, UNKNOWN, Found, Hosts, literal
from rumpel.socket.order import preferred

__all__ = ["Resolver"]

AF_INET, AF_INET6, AF_UNSPEC = std.AF_INET, std.AF_INET6, std.AF_UNSPEC
_ANY: dict[int, bytes] = {AF_INET: bytes(4), AF_INET6: bytes(16)}
_BROADCAST = b"\xff" * 4
_IPPROTO_MPTCP = 262
# Socket type, protocol, in whose services to look; those behind the third only on request.
_WAYS = (
    (std.SOCK_STREAM, std.IPPROTO_TCP, "tcp"),
    (std.SOCK_DGRAM, std.IPPROTO_UDP, "udp"),
    (std.SOCK_RAW, 0, ""),
    (std.SOCK_SEQPACKET, std.IPPROTO_SCTP, "sctp"),
    (std.SOCK_STREAM, std.IPPROTO_SCTP, "sctp"),
    (std.SOCK_STREAM, _IPPROTO_MPTCP, "tcp"),
)
_MAPPED = bytes(10) + b"\xff\xff"


class Resolver(Hosts):
    """Answers as the functions of :mod:`socket` do."""

    # ---- interfaces ----

    def if_nameindex(self) -> list[tuple[int, str]]:
        """Numbers and names of the kernel's interfaces."""
        with Rtnetlink(self._os) as netlink:
            return netlink.interfaces()

    def if_nametoindex(self, name: str, /) -> int:
        """Find an interface's number."""
        if not isinstance(name, str | bytes | os.PathLike):
            raise TypeError(f"expected str, bytes or os.PathLike object, not {type(name).__name__}")
        name = os.fsdecode(name)
        for index, other in self.if_nameindex():
            if other == name:
                return index
        raise OSError(errno.ENODEV, f"no interface with this name: {name!r}")

    def if_indextoname(self, index: int, /) -> str:
        """Find an interface's name."""
        index = operator.index(index)
        for other, name in self.if_nameindex():
            if other == index:
                return name
        raise OSError(errno.ENXIO, f"no interface with this index: {index}")

    # ---- hosts ----

    def _sorted(self, rows: list[Found]) -> list[Found]:
        """The best address first."""
        return preferred(rows, self._source) if len(rows) > 1 and self.socket else rows

    def _source(self, family: int, packed: bytes, scope: int) -> bytes | None:
        """From which address the kernel would reach another."""
        assert self.socket is not None
        text = std.inet_ntop(family, packed)
        try:
            with self.socket(family, std.SOCK_DGRAM) as sock:
                sock.connect((text, 9) if family == AF_INET else (text, 9, 0, scope))
                return std.inet_pton(family, sock.getsockname()[0])
        except OSError:
            return None

    def resolve(self, name: str | bytes, family: int) -> tuple[bytes, int]:
        """Find one address for a socket's family; see :class:`addresses.Names`."""
        text = _text(name)
        if text == "":
            return _ANY[family], 0
        if text == "<broadcast>" and family == AF_INET:
            return _BROADCAST, 0
        return self._sorted(self.look_up(text, family).addresses)[0][1:]

    def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, Any, int, str, Any]]:
        """As :func:`socket.getaddrinfo`.

        Raises:
            gaierror: if the name or the port is not known.
        """
        if host is None and port is None:
            raise std.gaierror(std.EAI_NONAME, UNKNOWN)
        if family not in (AF_UNSPEC, AF_INET, AF_INET6):
            raise std.gaierror(std.EAI_FAMILY, "ai_family not supported")
        canonical = ""
        if host is None:
            table = _ANY if flags & std.AI_PASSIVE else LOOPBACK
            order = sorted(self._families(family), reverse=table is LOOPBACK)
            rows = [(kind, table[kind], 0) for kind in order]
        else:
            text = _text(host)
            if flags & std.AI_NUMERICHOST and not literal(text.partition("%")[0]):
                raise std.gaierror(std.EAI_NONAME, UNKNOWN)
            canonical, rows = self._addresses(text, family, flags)
            if not flags & std.AI_CANONNAME:
                canonical = ""
        result: list[tuple[Any, Any, int, str, Any]] = []
        for kind, packed, scope in rows:
            for socket_type, protocol, number in _services(port, type, proto, flags):
                where = std.inet_ntop(kind, packed)
                result.append(
                    (
                        std.AddressFamily(kind),
                        socket_type,
                        protocol,
                        "" if result else canonical,
                        (where, number) if kind == AF_INET else (where, number, 0, scope),
                    )
                )
        if not result:
            raise std.gaierror(std.EAI_FAMILY, "ai_family not supported")
        return result

    def _addresses(self, name: str, family: int, flags: int) -> tuple[str, list[Found]]:
        """Canonical name and addresses of a host, as the flags want them."""
        mapped = family == AF_INET6 and flags & std.AI_V4MAPPED
        found = self.look_up(name, AF_UNSPEC if mapped else family)
        rows = found.addresses
        if flags & std.AI_ADDRCONFIG and not literal(name.partition("%")[0]):
            configured = self._configured()
            # glibc asks for either family then, so that localhost is found without a network.
            if configured or family != AF_UNSPEC:
                rows = [row for row in rows if row[0] in configured]
        if mapped:
            six = [row for row in rows if row[0] == AF_INET6]
            four: list[Found] = [
                (AF_INET6, _MAPPED + packed, 0) for kind, packed, _ in rows if kind == AF_INET
            ]
            rows = six + four if flags & std.AI_ALL else six or four
        if not rows:
            raise std.gaierror(std.EAI_NONAME, f"{UNKNOWN}: {name!r}")
        return found.name, self._sorted(rows)

    def _configured(self) -> list[int]:
        """The families of which the kernel has an address besides those of lo."""
        with Rtnetlink(self._os) as netlink:
            return netlink.families()

    def by_address(self, name: str) -> tuple[str, list[str], list[str]]:
        """As :func:`socket.gethostbyaddr`."""
        kind, packed, _ = self._sorted(self.look_up(_text(name)).addresses)[0]
        try:
            found = self.name_of(kind, packed)
        except std.gaierror as error:
            again = error.errno == std.EAI_AGAIN
            raise std.herror(*((2, str(error)) if again else (1, "Unknown host"))) from None
        return found.name, found.aliases, [std.inet_ntop(kind, packed)]

    def by_name(self, name: str) -> tuple[str, list[str], list[str]]:
        """As :func:`socket.gethostbyname_ex`."""
        text = _text(name)
        if text == "":
            return "", [], ["0.0.0.0"]
        found = self.look_up(text, AF_INET)
        where = [std.inet_ntop(AF_INET, packed) for _, packed, _ in found.addresses]
        return found.name, [alias for alias in found.aliases if alias != found.name], where

    def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As :func:`socket.getnameinfo`."""
        if not isinstance(sockaddr, tuple):
            raise TypeError("getnameinfo() argument 1 must be a tuple")
        where, port, *rest = sockaddr
        flow, scope = [*rest, 0, 0][:2]
        if not 0 <= flow <= 0xFFFFF:
            raise OverflowError("getnameinfo(): flowinfo must be 0-1048575.")
        address = literal(where.partition("%")[0])
        if not address:
            raise std.gaierror(std.EAI_NONAME, UNKNOWN)
        where = std.inet_ntop(*address)
        if scope:
            where += f"%{self._scope(scope)}"
        if not flags & std.NI_NUMERICHOST:
            try:
                where = self.name_of(*address).name
            except std.gaierror:
                if flags & std.NI_NAMEREQD:
                    raise
        service = str(port)
        if not flags & std.NI_NUMERICSERV:
            with contextlib.suppress(OSError):
                service = std.getservbyport(port, "udp" if flags & std.NI_DGRAM else "tcp")
        return where, service

    def _scope(self, index: int) -> str:
        """An interface in an address: its name, as long as it has one."""
        try:
            return self.if_indextoname(index)
        except OSError:
            return str(index)


def _text(name: str | bytes | bytearray) -> str:
    if isinstance(name, bytes | bytearray):
        return bytes(name).decode("ascii")
    if not isinstance(name, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(name).__name__}")
    return name if name.isascii() else name.encode("idna").decode("ascii")


def _services(
    port: str | bytes | int | None, type: int, proto: int, flags: int
) -> list[tuple[Any, int, int]]:
    """Socket type, protocol and port for each way to reach a service."""
    if isinstance(port, bytes):
        port = port.decode("ascii")
    number = 0 if port is None or port == "" else port
    if isinstance(number, str) and number.isdecimal():
        number = int(number)
    if isinstance(number, int):
        number &= 0xFFFF
    ways = [
        (kind, protocol or proto, service)
        for at, (kind, protocol, service) in enumerate(_WAYS)
        if type in (0, kind)
        and (proto in (0, protocol) or kind == type == std.SOCK_RAW)
        and (at < 3 or proto or type == std.SOCK_SEQPACKET)
    ]
    if not ways:
        raise std.gaierror(std.EAI_SOCKTYPE, "ai_socktype not supported")
    if isinstance(number, int):
        return [(kind, protocol, number) for kind, protocol, _ in ways]
    found = []
    for kind, protocol, service in ways:
        if service and not flags & std.AI_NUMERICSERV:
            with contextlib.suppress(OSError):
                found.append((kind, protocol, std.getservbyname(number, service)))
    if not found:
        raise std.gaierror(std.EAI_SERVICE, "Servname not supported for ai_socktype")
    return found
