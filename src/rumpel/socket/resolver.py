# SPDX-License-Identifier: GPL-2.0-only
"""Names of hosts: addresses as text, the kernel's /etc/hosts, and localhost.

There is no DNS yet. Names of services and protocols are the host's: they are the same
everywhere.

The order of what is found is that of the GNU C library.
"""

from __future__ import annotations

import contextlib
import errno
import socket as host
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rumpel.netlink import Rtnetlink

if TYPE_CHECKING:
    from rumpel.os import Os

__all__ = ["Resolver"]

AF_INET, AF_INET6, AF_UNSPEC = host.AF_INET, host.AF_INET6, host.AF_UNSPEC
_ANY: dict[int, bytes] = {AF_INET: bytes(4), AF_INET6: bytes(16)}
_LOOPBACK: dict[int, bytes] = {AF_INET: b"\x7f\0\0\1", AF_INET6: bytes(15) + b"\1"}
_BROADCAST = b"\xff" * 4
_IPPROTO_MPTCP = 262
# Socket type, protocol, in whose services to look; those behind the third only on request.
_WAYS = (
    (host.SOCK_STREAM, host.IPPROTO_TCP, "tcp"),
    (host.SOCK_DGRAM, host.IPPROTO_UDP, "udp"),
    (host.SOCK_RAW, 0, ""),
    (host.SOCK_SEQPACKET, host.IPPROTO_SCTP, "sctp"),
    (host.SOCK_STREAM, host.IPPROTO_SCTP, "sctp"),
    (host.SOCK_STREAM, _IPPROTO_MPTCP, "tcp"),
)
_NO_DNS = (
    "{!r} is neither an address nor in the kernel's /etc/hosts (there is no DNS yet; "
    "look it up on the host, or write it there)"
)
Found = tuple[int, bytes, int]
"""Family, address and scope."""


class Resolver:
    """Looks up hosts, and interfaces for addresses with a scope."""

    def __init__(self, os: Os) -> None:
        self._os = os
        self._has_ipv6: bool | None = None

    # ---- interfaces ----

    def if_nameindex(self) -> list[tuple[int, str]]:
        """Numbers and names of the kernel's interfaces."""
        with Rtnetlink(self._os) as netlink:
            return netlink.interfaces()

    def if_nametoindex(self, name: str, /) -> int:
        """Find an interface's number."""
        for index, other in self.if_nameindex():
            if other == name:
                return index
        raise OSError(errno.ENODEV, f"no interface with this name: {name!r}")

    def if_indextoname(self, index: int, /) -> str:
        """Find an interface's name."""
        for other, name in self.if_nameindex():
            if other == index:
                return name
        raise OSError(errno.ENXIO, f"no interface with this index: {index}")

    @property
    def has_ipv6(self) -> bool:
        """Is the kernel configured for IPv6?"""
        if self._has_ipv6 is None:
            try:
                self._os.close(self._os._call("socket")(AF_INET6, host.SOCK_DGRAM, 0))
                self._has_ipv6 = True
            except OSError:
                self._has_ipv6 = False
        return self._has_ipv6

    # ---- hosts ----

    def hosts(self) -> Iterator[tuple[int, bytes, list[str]]]:
        """The lines of /etc/hosts: family, address, names."""
        try:
            fd = self._os.open("/etc/hosts", self._os.O_RDONLY)
        except OSError:
            return
        try:
            data = b""
            while part := self._os.read(fd, 65536):
                data += part
        finally:
            self._os.close(fd)
        for line in data.decode(errors="replace").splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            found = literal(address)
            if found and names:
                yield found[0], found[1], names

    def find(self, name: str, family: int) -> list[Found]:
        """All addresses of a host.

        Args:
            name: an address, or a name of /etc/hosts.
            family: AF_UNSPEC for any.

        Raises:
            gaierror: if there is none.
        """
        text, _, zone = name.partition("%")
        address = literal(text)
        if address:
            if family not in (AF_UNSPEC, address[0]):
                raise host.gaierror(
                    host.EAI_ADDRFAMILY, f"Address family for hostname not supported: {name!r}"
                )
            scope = (int(zone) if zone.isdigit() else self.if_nametoindex(zone)) if zone else 0
            return [(*address, scope)]
        wanted = name.rstrip(".").lower()
        if not wanted:
            raise host.gaierror(host.EAI_NONAME, "Name or service not known")
        every = [
            (kind, packed, 0)
            for kind, packed, names in self.hosts()
            if wanted in (n.lower() for n in names)
        ]
        if not every and (wanted == "localhost" or wanted.endswith(".localhost")):
            every = [(kind, _LOOPBACK[kind], 0) for kind in self._families()]
        found = [row for row in every if family in (AF_UNSPEC, row[0])]
        if not found:
            if every:
                raise host.gaierror(host.EAI_NODATA, f"{name!r} has no address of this family")
            raise host.gaierror(host.EAI_NONAME, _NO_DNS.format(name))
        return found

    def _families(self) -> tuple[int, ...]:
        return (AF_INET6, AF_INET) if self.has_ipv6 else (AF_INET,)

    def resolve(self, name: str | bytes, family: int) -> tuple[bytes, int]:
        """Find one address for a socket's family; see :class:`addresses.Names`."""
        text = _text(name)
        if text == "":
            return _ANY[family], 0
        if text == "<broadcast>" and family == AF_INET:
            return _BROADCAST, 0
        return self.find(text, family)[0][1:]

    def getaddrinfo(
        self,
        name: str | bytes | None,
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
        if name is None and port is None:
            raise host.gaierror(host.EAI_NONAME, "Name or service not known")
        text = None if name is None else _text(name)
        if text is None:
            table = _ANY if flags & host.AI_PASSIVE else _LOOPBACK
            order = sorted(self._families(), reverse=table is _LOOPBACK)
            rows = [(kind, table[kind], 0) for kind in order if family in (AF_UNSPEC, kind)]
        else:
            if flags & host.AI_NUMERICHOST and not literal(text.partition("%")[0]):
                raise host.gaierror(host.EAI_NONAME, "Name or service not known")
            rows = self.find(text, family)
        canonical = text if text and flags & host.AI_CANONNAME else ""
        result: list[tuple[Any, Any, int, str, Any]] = []
        for kind, packed, scope in rows:
            for socket_type, protocol, number in _services(port, type, proto, flags):
                where = host.inet_ntop(kind, packed)
                result.append(
                    (
                        host.AddressFamily(kind),
                        socket_type,
                        protocol,
                        "" if result else canonical,
                        (where, number) if kind == AF_INET else (where, number, 0, scope),
                    )
                )
        if not result:
            raise host.gaierror(host.EAI_FAMILY, "ai_family not supported")
        return result

    def by_address(self, name: str) -> tuple[str, list[str], list[str]]:
        """As :func:`socket.gethostbyaddr`."""
        kind, packed, _ = self.find(name, AF_UNSPEC)[0]
        for family, address, names in self.hosts():
            if (family, address) == (kind, packed):
                return names[0], names[1:], [host.inet_ntop(kind, packed)]
        if packed == _LOOPBACK[kind]:
            return "localhost", [], [host.inet_ntop(kind, packed)]
        raise host.herror(1, "Unknown host")

    def by_name(self, name: str) -> tuple[str, list[str], list[str]]:
        """As :func:`socket.gethostbyname_ex`."""
        if name == "":
            return "", [], ["0.0.0.0"]
        rows = self.find(name, AF_INET)
        aliases = [n for _, _, names in self.hosts() if name in names for n in names if n != name]
        return name, aliases, [host.inet_ntop(AF_INET, packed) for _, packed, _ in rows]

    def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As :func:`socket.getnameinfo`."""
        if not isinstance(sockaddr, tuple):
            raise TypeError("getnameinfo() argument 1 must be a tuple")
        where, port = sockaddr[0], sockaddr[1]
        if not literal(where.partition("%")[0]):
            raise host.gaierror(host.EAI_NONAME, "Name or service not known")
        if not flags & host.NI_NUMERICHOST:
            try:
                where = self.by_address(where)[0]
            except host.herror:
                if flags & host.NI_NAMEREQD:
                    raise host.gaierror(host.EAI_NONAME, _NO_DNS.format(where)) from None
        service = str(port)
        if not flags & host.NI_NUMERICSERV:
            with contextlib.suppress(OSError):
                service = host.getservbyport(port, "udp" if flags & host.NI_DGRAM else "tcp")
        return where, service


def _text(name: str | bytes | bytearray) -> str:
    if isinstance(name, bytes | bytearray):
        return bytes(name).decode("ascii")
    if not isinstance(name, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(name).__name__}")
    return name if name.isascii() else name.encode("idna").decode("ascii")


def literal(text: str) -> tuple[int, bytes] | None:
    """Parse an address: family and bytes, or None if it is a name.

    Example:
        >>> literal("::1") == (AF_INET6, bytes(15) + b"\\1"), literal("127.1"), literal("a.b")
        (True, (<AddressFamily.AF_INET: 2>, b'\\x7f\\x00\\x00\\x01'), None)
    """
    if ":" in text:
        try:
            return AF_INET6, host.inet_pton(AF_INET6, text)
        except OSError:
            return None
    if not text[:1].isdigit() or " " in text:
        return None
    try:
        return AF_INET, host.inet_aton(text)
    except OSError:
        return None


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
        and (proto in (0, protocol) or kind == type == host.SOCK_RAW)
        and (at < 3 or proto or type == host.SOCK_SEQPACKET)
    ]
    if not ways:
        raise host.gaierror(host.EAI_SOCKTYPE, "ai_socktype not supported")
    if isinstance(number, int):
        return [(kind, protocol, number) for kind, protocol, _ in ways]
    found = []
    for kind, protocol, service in ways:
        if service and not flags & host.AI_NUMERICSERV:
            with contextlib.suppress(OSError):
                found.append((kind, protocol, host.getservbyname(number, service)))
    if not found:
        raise host.gaierror(host.EAI_SERVICE, "Servname not supported for ai_socktype")
    return found
