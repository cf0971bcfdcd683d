# SPDX-License-Identifier: GPL-2.0-only
"""A packet socket on an interface of the host."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.devices.netns import inside
from rumpel.devices.nic import Nic, to_mac

__all__ = ["PacketNic"]


class PacketNic(Nic):
    """A network interface that is a station on the network of an interface of the host.

    It has a MAC address of its own there, and the host's interface is promiscuous as long
    as it exists. The host's own frames do not come here, nor do ours reach the host: for
    that there is :class:`Tap`. But the host sees what comes from the network: give it no
    address that the kernel has. Takes CAP_NET_RAW.

    Args:
        interface: of the host, one that carries Ethernet.
        netns: of the host, where it is: a name as of ``ip netns``, or a path; None is the
            caller's.
        offloads: leave checksums and segmentation to the other side, both ways. Without,
            frames that the host's interface has put together (GRO, or a veth's whole
            segments) are dropped: switch that off with ``ethtool -K``.
        mac: of the kernel's interface; None makes one up.
        mtu: of the kernel's interface; None is that of the host's.

    Raises:
        OSError: EPERM; ENODEV if there is no such interface; EPROTOTYPE if it does not
            carry Ethernet.

    Example:
        >>> with rumpel.boot(nics=[PacketNic("eth1")]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", "192.0.2.77/24")
    """

    def __init__(
        self,
        interface: str,
        *,
        netns: str | os.PathLike[str] | None = None,
        offloads: bool = True,
        mac: str | None = None,
        mtu: int | None = None,
    ) -> None:
        flags = 0 if offloads else _native.NO_OFFLOADS
        with inside(netns):
            super().__init__(_native.net_packet(interface, flags, to_mac(mac), mtu or 0))
