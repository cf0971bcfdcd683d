# SPDX-License-Identifier: GPL-2.0-only
"""A port of a VDE switch."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.devices.nic import Nic, to_mac

__all__ = ["Vde"]

_MTU_MAX = 1500


class Vde(Nic):
    """A network interface on a port of a VDE switch (``vde_switch``, Virtual Distributed Ethernet).

    A switch is a process; others that are plugged into it are virtual machines, TAP
    devices, slirpvde and further switches. Takes no privilege, only access to the switch's
    directory. When the switch ends, what is sent is lost (see
    :attr:`link_up` for how the kernel gets to know).

    Args:
        path: of the switch (``vde_switch -s PATH``).
        port: its number; 0 is any.
        description: what the switch's list of ports shows.
        mac: of the kernel's interface; None makes one up.
        mtu: in bytes, at most 1500: ``vde_switch`` cuts off what is longer.

    Raises:
        OSError: ENOENT or ECONNREFUSED if there is no switch; ETIMEDOUT if it
            has no such port, which it does not answer.

    Example:
        >>> with rumpel.boot(nics=[Vde("/run/vde.ctl")]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", "10.0.0.2/24")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        port: int = 0,
        description: str = "rumpel",
        mac: str | None = None,
        mtu: int = 1500,
    ) -> None:
        if not 0 <= port <= 255:
            raise ValueError(f"not a port of a switch: {port}")
        if mtu > _MTU_MAX:
            raise ValueError(f"the MTU of a VDE switch is at most {_MTU_MAX}")
        super().__init__(_native.net_vde(path, port, description, to_mac(mac), mtu))
