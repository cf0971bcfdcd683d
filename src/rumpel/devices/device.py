# SPDX-License-Identifier: GPL-2.0-only
"""What all virtual devices have in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rumpel import _native

__all__ = ["Device", "DeviceStats", "HasFileno", "to_fd"]


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


class Device:
    """What all devices have in common."""

    _kind = "device"
    """Or ``nic``, or ``disk``: what a boot takes it for."""
    _owner = 0
    """The process whose it is alone, if it is; 0: the child of a fork may use its copy."""
    _claim = ""
    """What no second device of the kernel may be too, in the plural."""
    _last = DeviceStats(0, 0, 0, 0, 0, 0)

    def __init__(self, native: _native.Device) -> None:
        self._native = native

    @property
    def stats(self) -> DeviceStats:
        """The counters so far; when its kernel is gone, what they were then."""
        if not self._native.gone:
            self._last = DeviceStats(*self._native.stats())
        return self._last

    def close(self) -> None:
        """Called when the kernel is gone."""


def to_fd(file: int | HasFileno) -> int:
    """The descriptor of a file of the host, or the descriptor itself.

    Raises:
        TypeError: if it has none.
    """
    if isinstance(file, int):
        return file
    method = getattr(file, "fileno", None)
    if method is None:
        raise TypeError(f"a descriptor is expected, or an object with fileno(), not {file!r}")
    return int(method())
