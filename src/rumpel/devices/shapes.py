# SPDX-License-Identifier: GPL-2.0-only
"""Types of what devices take and tell, apart from them: such classes take long to make."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["DeviceStats", "HasFileno"]


class HasFileno(Protocol):
    """Anything with a descriptor, such as a socket."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class DeviceStats(NamedTuple):
    """What went through a device, as the kernel sees it.

    Attributes:
        received: frames or read requests.
        received_bytes: their size.
        sent: frames or write requests.
        sent_bytes: their size.
        errors: requests that failed.
        dropped: frames for which there was no room.
    """

    received: int
    received_bytes: int
    sent: int
    sent_bytes: int
    errors: int
    dropped: int
