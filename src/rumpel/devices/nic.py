# SPDX-License-Identifier: GPL-2.0-only
"""What all network interfaces have in common, and MAC addresses."""

from __future__ import annotations

from typing import IO

from rumpel.devices.device import Device

__all__ = ["Nic", "to_mac"]


class Nic(Device):
    """A network interface: eth0 and so on, in the order given at boot."""

    def capture(self, file: IO[bytes] | int | None) -> None:
        """Write all frames to a file in pcap format, with times of the kernel's clock.

        Args:
            file: a binary file or a descriptor, which is duplicated; None stops.
        """
        if file is None:
            self._native.capture(-1)
        else:
            self._native.capture(file if isinstance(file, int) else file.fileno())


def to_mac(text: str | None) -> bytes | None:
    """Parse a MAC address.

    Example:
        >>> to_mac("02:00:00:00:00:01")
        b'\\x02\\x00\\x00\\x00\\x00\\x01'
    """
    if text is None:
        return None
    try:
        mac = bytes(int(x, 16) for x in text.replace("-", ":").split(":"))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise ValueError(f"not a MAC address: {text!r}")
    return mac
