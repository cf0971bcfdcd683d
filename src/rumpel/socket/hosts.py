# SPDX-License-Identifier: GPL-2.0-only
"""Who knows hosts: addresses as text, the kernel's /etc/hosts, localhost, and DNS.

Whom to ask first says the kernel's /etc/nsswitch.conf; ``files dns`` if it says nothing.
Name servers are those of its /etc/resolv.conf.

Source: nsswitch.conf(5), hosts(5), resolv.conf(5); RFC 6761, section 6.3, for localhost.
"""

from __future__ import annotations

import ipaddress
import socket as host
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rumpel.os import Os
    from rumpel.socket.dns import Answer, Client, Configuration

__all__ = ["LOOPBACK", "UNKNOWN", "Found", "Host", "Hosts", "literal"]

AF_INET, AF_INET6, AF_UNSPEC = host.AF_INET, host.AF_INET6, host.AF_UNSPEC
LOOPBACK: dict[int, bytes] = {AF_INET: b"\x7f\0\0\1", AF_INET6: bytes(15) + b"\1"}
UNKNOWN = "Name or service not known"
_RECORDS: dict[int, str] = {AF_INET: "A", AF_INET6: "AAAA"}

Found = tuple[int, bytes, int]
"""Family, address and scope."""


class Host(NamedTuple):
    """What is known of a host.

    Attributes:
        name: its canonical one.
        aliases: its other names.
        addresses: in the order in which they were found.
    """

    name: str
    aliases: list[str]
    addresses: list[Found]


class Hosts:
    """Looks up hosts.

    Attributes:
        socket: the class of the kernel's sockets, to ask name servers with.
    """

    socket: Callable[..., Any] | None = None
    _client: Client | None = None
    _has_ipv6: bool | None = None

    def __init__(self, os: Os) -> None:
        self._os = os

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

    def _families(self, family: int = AF_UNSPEC) -> list[int]:
        mine = [AF_INET6, AF_INET] if self.has_ipv6 else [AF_INET]
        return [kind for kind in mine if family in (AF_UNSPEC, kind)]

    # ---- the kernel's files ----

    def _file(self, path: str) -> str:
        """The text of a file; none if there is no such file."""
        try:
            fd = self._os.open(path, self._os.O_RDONLY)
        except OSError:
            return ""
        try:
            data = b""
            while part := self._os.read(fd, 65536):
                data += part
        finally:
            self._os.close(fd)
        return data.decode(errors="replace")

    def hosts(self) -> Iterator[tuple[int, bytes, list[str]]]:
        """The lines of /etc/hosts: family, address, names."""
        for line in self._file("/etc/hosts").splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            found = literal(address)
            if found and names:
                yield found[0], found[1], names

    def services(self) -> list[str]:
        """Whom to ask, of ``files`` and ``dns``."""
        for line in self._file("/etc/nsswitch.conf").splitlines():
            database, _, services = line.partition("#")[0].partition(":")
            if database.strip() == "hosts":
                return [word for word in services.split() if word in ("files", "dns")]
        return ["files", "dns"]

    # ---- names ----

    def look_up(self, name: str, family: int = AF_UNSPEC) -> Host:
        """Find a host.

        Args:
            name: an address or a name.
            family: which addresses are wanted; AF_UNSPEC for any.

        Raises:
            gaierror: if there are none.
        """
        text, _, zone = name.partition("%")
        address = literal(text)
        if address:
            if family not in (AF_UNSPEC, address[0]):
                raise host.gaierror(
                    host.EAI_ADDRFAMILY, f"Address family for hostname not supported: {name!r}"
                )
            scope = (int(zone) if zone.isdigit() else self.if_nametoindex(zone)) if zone else 0
            return Host(name, [], [(*address, scope)])
        if not name.rstrip("."):
            raise host.gaierror(host.EAI_NONAME, UNKNOWN)
        failure = host.gaierror(host.EAI_NONAME, f"{UNKNOWN}: {name!r}")
        for service in self.services():
            try:
                return (self._in_file if service == "files" else self._in_dns)(name, family)
            except host.gaierror as error:
                if failure.errno == host.EAI_NONAME:
                    failure = error
        raise failure

    def if_nametoindex(self, name: str, /) -> int:
        """Find an interface's number, for a scope."""
        raise NotImplementedError

    def _in_file(self, name: str, family: int) -> Host:
        wanted = name.rstrip(".").lower()
        lines = [row for row in self.hosts() if wanted in (n.lower() for n in row[2])]
        if not lines and _is_local(wanted):
            lines = [(kind, LOOPBACK[kind], [name]) for kind in self._families()]
        found = [(kind, packed, 0) for kind, packed, _ in lines if family in (AF_UNSPEC, kind)]
        if not found:
            code = host.EAI_NODATA if lines else host.EAI_NONAME
            raise host.gaierror(code, f"{UNKNOWN}: {name!r}")
        names = [n for _, _, names in lines for n in names]
        return Host(names[0], list(dict.fromkeys(names[1:])), found)

    def _in_dns(self, name: str, family: int) -> Host:
        if _is_local(name.rstrip(".").lower()):
            raise host.gaierror(host.EAI_NONAME, UNKNOWN)
        families = self._families(family)
        answer = self._ask(name, [_RECORDS[kind] for kind in families])
        packed = [
            (kind, host.inet_pton(kind, text), 0)
            for kind in families
            for record, text in answer.records
            if record == _RECORDS[kind]
        ]
        return Host(answer.canonical, answer.aliases, packed)

    def _ask(self, name: str, types: Sequence[str], *, search: bool = True) -> Answer:
        if self._client is None:
            from rumpel.socket.dns import Client

            assert self.socket is not None
            self._client = Client(self._configuration, self.socket, self._os._now)
        from rumpel.socket.dns import Failure

        try:
            return self._client.look_up(name, types, search=search)
        except Failure as failure:
            raise host.gaierror(failure.code, str(failure)) from None

    def _configuration(self) -> Configuration:
        from rumpel.socket.dns import Configuration

        domain = self._os.uname().nodename.partition(".")[2]
        return Configuration.parse(self._file("/etc/resolv.conf"), domain)

    # ---- addresses ----

    def name_of(self, kind: int, packed: bytes) -> Host:
        """Find the names of an address.

        Raises:
            gaierror: if it has none.
        """
        where = [(kind, packed, 0)]
        failure = host.gaierror(host.EAI_NONAME, UNKNOWN)
        for service in self.services():
            if service == "files":
                for family, address, names in self.hosts():
                    if (family, address) == (kind, packed):
                        return Host(names[0], names[1:], where)
                if packed == LOOPBACK[kind]:
                    return Host("localhost", [], where)
                continue
            try:
                pointer = ipaddress.ip_address(packed).reverse_pointer
                answer = self._ask(f"{pointer}.", ["PTR"], search=False)
            except host.gaierror as error:
                failure = error
                continue
            name, *others = [text.rstrip(".") for _, text in answer.records]
            return Host(name, others, where)
        raise failure


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


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
