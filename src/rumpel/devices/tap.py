# SPDX-License-Identifier: GPL-2.0-only
"""A TAP device of the host."""

from __future__ import annotations

import fcntl
import os

from rumpel import _native
from rumpel.devices.device import to_fd
from rumpel.devices.netns import inside
from rumpel.devices.nic import Nic, to_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices.shapes import HasFileno

__all__ = ["Tap"]

_TUNGETIFF = 0x800454D2
_IFREQ, _IFNAMSIZ = 40, 16


class Tap(Nic):
    """A network interface with a TAP device of the host at its other end.

    The host's kernel is then a neighbour: give the device an address with ``ip``, or put
    it into a bridge. Checksums and segmentation are left to whoever needs them, so what
    goes from one kernel to the other is up to 64 KiB at a time. To make a device takes
    CAP_NET_ADMIN; to attach to a persistent one (``ip tuntap add mode tap user ...``)
    being its owner. When the device is deleted, what is sent is lost
    (see :attr:`link_up` for how the kernel gets to know).

    Args:
        name: of the device, which is made unless it exists, or a pattern such as
            ``"vm%d"``; None lets the host choose.
        fd: the descriptor of a TAP device (IFF_TAP and IFF_NO_PI; with IFF_VNET_HDR for
            offloads) instead of a name. It is duplicated, and becomes non-blocking.
        netns: of the host, where the device is or will be: a name as of ``ip netns``, or
            a path; None is the caller's.
        persist: the device stays when the kernel is gone.
        offloads: leave checksums and segmentation to the other side, both ways.
        mac: of the kernel's interface; None makes one up.
        mtu: of the kernel's interface; None is the device's.

    Attributes:
        name: the device's name.

    Raises:
        OSError: EPERM; EBUSY if somebody else is attached to it; ENOENT if there is no
            /dev/net/tun or no such namespace; EPROTOTYPE if the descriptor is another's.
        ValueError: if the name is too long or another kind of interface has it.

    Example:
        >>> with rumpel.boot(nics=[Tap("tap0")]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", "10.0.0.2/24", gateway="10.0.0.1")
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        fd: int | HasFileno | None = None,
        netns: str | os.PathLike[str] | None = None,
        persist: bool = False,
        offloads: bool = True,
        mac: str | None = None,
        mtu: int | None = None,
    ) -> None:
        if fd is not None and (name is not None or netns is not None or persist):
            raise ValueError("a descriptor has a name, a namespace and a persistence already")
        flags = 0 if offloads else _native.NO_OFFLOADS
        with inside(netns):
            own = -1
            if fd is None:
                if name is not None and len(os.fsencode(name)) >= _IFNAMSIZ:
                    raise ValueError(
                        f"name: {name!r} is longer than the {_IFNAMSIZ - 1} bytes of an interface"
                    )
                own, _ = _native.tap_open(name or "", _native.TAP_PERSIST * persist)
            try:
                given = own if fd is None else to_fd(fd)
                super().__init__(_native.net_tap(given, flags, to_mac(mac), mtu or 0))
                self.name = _name_of(given)
            finally:
                if own >= 0:
                    os.close(own)


def _name_of(fd: int) -> str:
    request = fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ))
    return os.fsdecode(request[:_IFNAMSIZ].split(b"\0", 1)[0])
