# SPDX-License-Identifier: GPL-2.0-only
"""A network interface on a socket of the host."""

from __future__ import annotations

from rumpel import _native
from rumpel.devices.device import to_fd
from rumpel.devices.nic import Nic, to_mac

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices.shapes import HasFileno

__all__ = ["FdNic"]


class FdNic(Nic):
    """An interface whose frames go through a socket of the host.

    Args:
        fd: a socket (its number or an object with ``fileno()``), which is duplicated. Of
            type SOCK_SEQPACKET or SOCK_DGRAM: each message is a frame; SOCK_STREAM: frames
            have their length before them, in four bytes (``!I``), as QEMU's and passt's.
        mac: as text, such as ``"02:00:00:00:00:01"``; None makes one up.
        mtu: in bytes.

    Raises:
        OSError: if it is no open descriptor.
        TypeError: if it has none.
    """

    def __init__(self, fd: int | HasFileno, mac: str | None = None, mtu: int = 1500) -> None:
        number = to_fd(fd)
        super().__init__(_native.net_fd(number, to_mac(mac), mtu))
