# SPDX-License-Identifier: GPL-2.0-only
"""What all virtual devices have in common."""

from __future__ import annotations

from rumpel import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices.shapes import DeviceStats, HasFileno

__all__ = ["ERRORS", "Device", "to_fd"]

ERRORS = 4
"""Where :attr:`DeviceStats.errors` are among the numbers."""


class Device:
    """What all devices have in common."""

    _kind = "device"
    """Or ``nic``, or ``disk``: what a boot takes it for."""
    _owner = 0
    """The process whose it is alone, if it is; 0: the child of a fork may use its copy."""
    _claim = ""
    """What no second device of the kernel may be too, in the plural."""
    _counts: tuple[int, ...] = (0,) * 6

    def __init__(self, native: _native.Device) -> None:
        self._native = native

    @property
    def stats(self) -> DeviceStats:
        """The counters so far; when its kernel is gone, what they were then."""
        from rumpel.devices.shapes import DeviceStats

        return DeviceStats(*self._count())

    def _count(self) -> tuple[int, ...]:
        """The same as numbers without names, which take no import; see :data:`ERRORS`."""
        if not self._native.gone:
            self._counts = self._native.stats()
        return self._counts

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
