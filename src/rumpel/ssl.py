# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`ssl` on a library kernel: ``kernel.ssl``.

Keys, certificates and ciphers are the business of the host's OpenSSL, files of them are
the host's. Only what touches a socket is ours: see :mod:`rumpel.socket.tls`.
"""

from __future__ import annotations

import ssl as host
from types import FunctionType
from typing import TYPE_CHECKING, Any

from rumpel.socket.tls import SSLSocket

if TYPE_CHECKING:
    from rumpel.socket import SocketModule

__all__ = ["SslModule"]

_MAKERS = (
    "create_default_context",
    "_create_unverified_context",
    "_create_default_https_context",
    "_create_stdlib_context",
    "get_server_certificate",
)


class SslModule:
    """The module :mod:`ssl` for sockets of a kernel. All but what is here is the host's.

    Example:
        >>> with rumpel.boot(nics=[net]) as k:  # doctest: +SKIP
        ...     sock = k.socket.create_connection((net.gateway, 443))
        ...     context = k.ssl.create_default_context()
        ...     with context.wrap_socket(sock, server_hostname="example.org") as secure:
        ...         secure.version()
        'TLSv1.3'

    Attributes:
        SSLContext: a subclass of :class:`ssl.SSLContext` that wraps the kernel's sockets.
        SSLSocket: what it makes of them.
    """

    SSLContext: type[host.SSLContext]
    SSLSocket: type[SSLSocket]

    def __init__(self, socket: SocketModule) -> None:
        self.socket = socket
        own = {"__module__": "rumpel.ssl", "__doc__": SSLSocket.__doc__, "_module": self}
        self.SSLSocket = type("SSLSocket", (SSLSocket, socket.socket), own)
        self.SSLContext = type(
            "SSLContext",
            (host.SSLContext,),
            {
                "__module__": "rumpel.ssl",
                "__doc__": host.SSLContext.__doc__,
                "sslsocket_class": self.SSLSocket,
            },
        )
        # The standard library's own functions, which know its defaults, with our class.
        names = {
            **vars(host),
            "SSLContext": self.SSLContext,
            "SSLSocket": self.SSLSocket,
            "create_connection": socket.create_connection,
        }
        for name in _MAKERS:
            function = getattr(host, name)
            maker = FunctionType(function.__code__, names, name, function.__defaults__)
            maker.__kwdefaults__ = function.__kwdefaults__
            maker.__doc__ = function.__doc__
            names[name] = maker
            setattr(self, name, maker)

    def __getattr__(self, name: str) -> Any:
        """All else is the host's."""
        if name.startswith("__"):
            raise AttributeError(f"kernel.ssl has no {name!r}")
        value = self.__dict__[name] = getattr(host, name)
        return value
