# SPDX-License-Identifier: GPL-2.0-only
"""What stands for the module :mod:`socket`: ``kernel.socket``."""

from __future__ import annotations

import array
import operator
import os as host_os
import socket as host
from typing import TYPE_CHECKING, Any

from rumpel.socket.constants import constants
from rumpel.socket.resolver import Resolver
from rumpel.socket.sendfile import CannotSendfile
from rumpel.socket.sockets import Socket, class_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rumpel.os import Os

__all__ = ["SocketModule"]

# The standard library passes this on where nobody has set a timeout.
_UNSET: Any = host._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]


class SocketModule:
    """The module :mod:`socket` on a kernel's network.

    Constants, exceptions, enumerations and what only computes are the host's own. Names
    of hosts are looked up in the kernel's /etc/hosts, and asked of the name servers in its
    /etc/resolv.conf.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     server = k.socket.create_server(("127.0.0.1", 0))
        ...     client = k.socket.create_connection(server.getsockname())

    Attributes:
        socket: the class of this kernel's sockets.
        has_ipv6: is the kernel configured for it?
    """

    socket: type[Socket]
    has_ipv6: bool

    inet_aton = staticmethod(host.inet_aton)
    inet_ntoa = staticmethod(host.inet_ntoa)
    inet_pton = staticmethod(host.inet_pton)
    inet_ntop = staticmethod(host.inet_ntop)
    htons = staticmethod(host.htons)
    htonl = staticmethod(host.htonl)
    ntohs = staticmethod(host.ntohs)
    ntohl = staticmethod(host.ntohl)
    getservbyname = staticmethod(host.getservbyname)
    getservbyport = staticmethod(host.getservbyport)
    getprotobyname = staticmethod(host.getprotobyname)
    CMSG_LEN = staticmethod(host.CMSG_LEN)
    CMSG_SPACE = staticmethod(host.CMSG_SPACE)
    SocketIO = host.SocketIO
    _GLOBAL_DEFAULT_TIMEOUT = _UNSET
    _GiveupOnSendfile = CannotSendfile
    _LOCALHOST = "127.0.0.1"
    _LOCALHOST_V6 = "::1"
    AddressFamily = host.AddressFamily
    SocketKind = host.SocketKind
    MsgFlag = host.MsgFlag
    AddressInfo = host.AddressInfo
    error = OSError
    timeout = TimeoutError
    gaierror = host.gaierror
    herror = host.herror

    def __init__(self, owner: Os) -> None:
        self._os = owner
        self._names = names = Resolver(owner)
        # A list, so that the class does not refer to this object, nor it to itself.
        self._default: list[float | None] = [None]
        default = self._default
        self.socket = self.SocketType = class_for(owner, names, lambda: default[0])
        names.socket = self.socket
        self.getaddrinfo = names.getaddrinfo
        self.getnameinfo = names.getnameinfo
        self.gethostbyname_ex = names.by_name
        self.gethostbyaddr = names.by_address
        self.if_nameindex = names.if_nameindex
        self.if_nametoindex = names.if_nametoindex
        self.if_indextoname = names.if_indextoname

    def __getattr__(self, name: str) -> int:
        """Constants are the host's, and those that its module does not have."""
        if name == "has_ipv6":
            found: int | None = self._names.has_ipv6
        else:
            found = getattr(host, name, None)
            if not name.isupper() or not isinstance(found, int):
                found = constants().get(name)
        if found is None:
            raise AttributeError(f"kernel.socket has no {name!r}")
        value = self.__dict__[name] = found
        return value

    # ---- connections ----

    def create_connection(
        self,
        address: tuple[str | bytes | None, int],
        timeout: float | None = _UNSET,
        source_address: tuple[str, int] | None = None,
        *,
        all_errors: bool = False,
    ) -> Socket:
        """Connect to a host and port over TCP, by each of its addresses in turn.

        Args:
            address: host and port.
            timeout: of the socket; the default one if it is not given.
            source_address: what to bind the socket to first.
            all_errors: raise an ExceptionGroup of all errors, not the last one.
        """
        errors: list[OSError] = []
        name, port = address
        for family, kind, proto, _, where in self.getaddrinfo(name, port, 0, host.SOCK_STREAM):
            sock = None
            try:
                sock = self.socket(family, kind, proto)
                if timeout is not _UNSET:
                    sock.settimeout(timeout)
                if source_address:
                    sock.bind(source_address)
                sock.connect(where)
                return sock
            except OSError as error:
                errors.append(error)
                if sock is not None:
                    sock.close()
        try:
            if all_errors:
                raise ExceptionGroup("create_connection failed", errors)
            raise errors[-1]
        finally:
            errors.clear()

    def has_dualstack_ipv6(self) -> bool:
        """Can one socket serve IPv6 and IPv4?"""
        if not self.has_ipv6:
            return False
        try:
            with self.socket(host.AF_INET6, host.SOCK_STREAM) as sock:
                sock.setsockopt(host.IPPROTO_IPV6, host.IPV6_V6ONLY, 0)
                return True
        except OSError:
            return False

    def create_server(
        self,
        address: Any,
        *,
        family: int = host.AF_INET,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> Socket:
        """Make a TCP socket that listens.

        Args:
            address: of the family, such as host and port.
            family: AF_INET or AF_INET6.
            backlog: how many connections may wait.
            reuse_port: set SO_REUSEPORT.
            dualstack_ipv6: serve IPv4 too.
        """
        if dualstack_ipv6:
            if not self.has_dualstack_ipv6():
                raise ValueError("dualstack_ipv6 not supported on this platform")
            if family != host.AF_INET6:
                raise ValueError("dualstack_ipv6 requires AF_INET6 family")
        sock = self.socket(family, host.SOCK_STREAM)
        try:
            sock.setsockopt(host.SOL_SOCKET, host.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(host.SOL_SOCKET, host.SO_REUSEPORT, 1)
            if family == host.AF_INET6:
                only = 0 if dualstack_ipv6 else 1
                sock.setsockopt(host.IPPROTO_IPV6, host.IPV6_V6ONLY, only)
            try:
                sock.bind(address)
            except OSError as error:
                message = f"{error.strerror} (while attempting to bind on address {address!r})"
                raise OSError(error.errno, message) from None
            sock.listen(128 if backlog is None else backlog)
            return sock
        except OSError:
            sock.close()
            raise

    def socketpair(
        self, family: int = host.AF_UNIX, type: int = host.SOCK_STREAM, proto: int = 0
    ) -> tuple[Socket, Socket]:
        """Make two connected sockets."""
        pair = array.array("i", [0, 0])
        self._os._call("socketpair")(family, type | host.SOCK_CLOEXEC, proto, pair)
        a = self.socket(family, type, proto, fileno=pair[0])
        return a, self.socket(family, type, proto, fileno=pair[1])

    def fromfd(self, fd: int, family: int, type: int, proto: int = 0) -> Socket:
        """Make a socket object for a duplicate of the kernel's descriptor."""
        return self.socket(family, type, proto, fileno=self._os.dup(fd))

    def send_fds(
        self,
        sock: Socket,
        buffers: Sequence[Any],
        fds: Sequence[int],
        flags: int = 0,
        address: Any = None,
    ) -> int:
        """Send descriptors of the kernel over a unix socket."""
        rights = (host.SOL_SOCKET, host.SCM_RIGHTS, array.array("i", fds))
        return sock.sendmsg(buffers, [rights], flags, address)

    def recv_fds(
        self, sock: Socket, bufsize: int, maxfds: int, flags: int = 0
    ) -> tuple[bytes, list[int], int, Any]:
        """Receive descriptors: data, descriptors, flags and address."""
        fds = array.array("i")
        room = host.CMSG_LEN(maxfds * fds.itemsize)
        data, control, flags, address = sock.recvmsg(bufsize, room, flags)
        for level, kind, part in control:
            if (level, kind) == (host.SOL_SOCKET, host.SCM_RIGHTS):
                fds.frombytes(part[: len(part) - len(part) % fds.itemsize])
        return data, list(fds), flags, address

    def close(self, fd: int, /) -> None:
        """Close a descriptor of the kernel."""
        self._os.close(operator.index(fd))

    def dup(self, fd: int, /) -> int:
        """Duplicate a descriptor of the kernel."""
        return self._os.dup(fd)

    def getdefaulttimeout(self) -> float | None:
        """The timeout of new sockets."""
        return self._default[0]

    def setdefaulttimeout(self, timeout: float | None, /) -> None:
        """Set the timeout of new sockets."""
        if timeout is not None and timeout < 0:
            raise ValueError("Timeout value out of range")
        self._default[0] = timeout

    # ---- names ----

    def gethostname(self) -> str:
        """Name of the kernel's host."""
        return self._os.uname().nodename

    def sethostname(self, name: str | bytes, /) -> None:
        """Set it."""
        raw = host_os.fsencode(name)
        self._os._call("sethostname")(raw, len(raw))

    def gethostbyname(self, name: str, /) -> str:
        """Find a host's IPv4 address."""
        return self._names.by_name(name)[2][0]

    def getfqdn(self, name: str = "") -> str:
        """Find the longest name of a host; by default of this one."""
        name = name.strip()
        if not name or name in ("0.0.0.0", "::"):
            name = self.gethostname()
        try:
            first, aliases, _ = self.gethostbyaddr(name)
        except OSError:
            return name
        return next((n for n in (first, *aliases) if "." in n), first)
