# SPDX-License-Identifier: GPL-2.0-only
"""A queue of an interface of the host, taken over by AF_XDP."""

from __future__ import annotations

import errno
import os
from typing import Literal

from rumpel import _native
from rumpel.devices.netns import inside
from rumpel.devices.nic import Nic, to_mac

__all__ = ["XdpNic"]

_MODES: tuple[Literal["generic", "native", "zerocopy"], ...] = ("generic", "native", "zerocopy")

_WHY = {
    errno.EPERM: "AF_XDP takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, outside of user "
    "namespaces: be root, or use PacketNic, which takes CAP_NET_RAW alone",
    errno.EBUSY: "it has an XDP program already, or its queue a socket (ip link show, "
    "bpftool net show)",
    errno.ECHRNG: "it has no such queue (ethtool --show-channels)",
    errno.EMSGSIZE: "a frame of AF_XDP lies in one page, so the MTU is 3,818 at most: set that "
    "of the interface lower, or use PacketNic",
    errno.EPROTOTYPE: "it does not carry Ethernet",
    errno.ENOBUFS: "this process may not lock the memory that AF_XDP shares with the host: "
    "ulimit -l 16384",
    errno.EAFNOSUPPORT: "the host has no AF_XDP with need_wakeup, which is in Linux since 5.4 "
    "(CONFIG_XDP_SOCKETS)",
}


class XdpNic(Nic):
    """A network interface that takes over a queue of an interface of the host.

    What comes there goes to the kernel and no longer to the host, and what the kernel sends
    leaves by that interface: the kernel is in the host's place. With several queues the host
    keeps the others, so give the interface one (``ethtool -L eth1 combined 1``), or steer to
    the queue what it shall have (``ethtool -N``). The host has all back when the kernel is
    closed or the process ends. The interface is promiscuous meanwhile. Takes CAP_NET_RAW,
    CAP_NET_ADMIN and CAP_BPF, and a host of Linux 5.9.

    It pays for many small packets: see docs/interfaces.md. There are no segments
    larger than the MTU in either direction, and what the interface has put together (GRO) or
    whose VLAN tag it has taken off does not come as it was on the wire: ``ethtool -K eth1 lro
    off rxvlan off``.

    Args:
        interface: of the host, one that carries Ethernet.
        queue: its number.
        mode: how the host leads frames here. ``native`` is the driver, without a copy if it
            can; ``generic`` the host's network stack. None is the driver if it can at all.
        netns: of the host, where it is: a name as of ``ip netns``, or a path; None is the
            caller's.
        offloads: pass on what the other end of a veth has left to hardware: the checksums of
            TCP and UDP. Without, they are filled in.
        mac: of the kernel's interface; None makes one up.
        mtu: of the kernel's interface, at most 3,818; None is that of the host's.

    Raises:
        OSError: EPERM; ENODEV if there is no such interface; EPROTOTYPE if it does not carry
            Ethernet; EBUSY if the interface has an XDP program, or somebody has the queue;
            ECHRNG if there is no such queue; EMSGSIZE if the MTU is too large; EOPNOTSUPP if
            the driver cannot do what ``mode`` asks for.

    Example:
        >>> with rumpel.boot(nics=[XdpNic("eth1")]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", "192.0.2.77/24")
    """

    def __init__(
        self,
        interface: str,
        *,
        queue: int = 0,
        mode: Literal["native", "generic"] | None = None,
        netns: str | os.PathLike[str] | None = None,
        offloads: bool = True,
        mac: str | None = None,
        mtu: int | None = None,
    ) -> None:
        if mode not in ("native", "generic", None):
            raise ValueError(f"mode {mode!r} is neither 'native' nor 'generic'")
        if not 0 <= queue < 1 << 16:
            raise ValueError(f"not the number of a queue: {queue}")
        flags = 0 if offloads else _native.NO_OFFLOADS
        flags |= _native.XDP_GENERIC if mode == "generic" else 0
        with inside(netns):
            try:
                device, found = _native.net_xdp(interface, queue, flags, to_mac(mac), mtu or 0)
            except OSError as error:
                if error.errno not in _WHY:
                    raise
                raise OSError(error.errno, _WHY[error.errno], interface) from None
        if mode == "native" and not found:
            del device  # the host has its frames back
            raise OSError(errno.EOPNOTSUPP, "its driver has no XDP, or not as it is set", interface)
        super().__init__(device)
        self._mode: Literal["generic", "native", "zerocopy"] = _MODES[found]

    @property
    def mode(self) -> Literal["generic", "native", "zerocopy"]:
        """How the host leads frames here, from the slowest to the fastest."""
        return self._mode
