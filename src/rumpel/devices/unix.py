# SPDX-License-Identifier: GPL-2.0-only
"""Network interfaces whose frames go through unix sockets."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.clock import to_ns
from rumpel.devices.nic import Nic, to_mac

__all__ = ["UnixNic"]


class UnixNic(Nic):
    """A network interface with another process at the other end of a unix socket.

    That may be another kernel of this library, QEMU (``-netdev stream`` and ``-netdev
    dgram`` with unix addresses), or passt, which gives a network without privileges. When
    the other process goes away, what is sent is lost (see :attr:`link_up` for how the kernel
    gets to know); when it comes back, all goes on.

    Args:
        path: of the socket. One that begins with ``@`` is an abstract address.
        listen: wait for peers there, one at a time, instead of connecting.
        local: datagrams instead of a stream: the path of our own socket; ``path`` is the
            peer's then.
        reconnect: seconds between attempts to connect, also to a peer that is not there
            yet; None tries once, now.
        mac: of the kernel's interface; None makes one up.
        mtu: in bytes.

    Raises:
        OSError: if nobody listens there (and ``reconnect`` is None), or the address is
            somebody else's.

    Example:
        >>> UnixNic("/tmp/passt.socket", mtu=65520)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        listen: bool = False,
        local: str | os.PathLike[str] | None = None,
        reconnect: float | None = 1.0,
        mac: str | None = None,
        mtu: int = 1500,
    ) -> None:
        if listen and local is not None:
            raise ValueError("datagrams have no listener: give two paths, or listen")
        if reconnect is not None and reconnect <= 0:
            raise ValueError("reconnect must be more than 0 seconds, or None")
        if local is not None:
            native = _native.net_datagram(local, path, to_mac(mac), mtu)
        else:
            flags = _native.UNIX_LISTEN if listen else 0
            again = 0 if reconnect is None else to_ns(reconnect)
            native = _native.net_unix(path, flags, again, to_mac(mac), mtu)
        super().__init__(native)
