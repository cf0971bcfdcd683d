# SPDX-License-Identifier: GPL-2.0-only
"""Virtual devices: make them, and hand them to :func:`rumpel.boot`.

A device belongs to the one kernel that is booted with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, NamedTuple, Protocol

from rumpel import _native
from rumpel.clock import to_ns
from rumpel.sizes import to_bytes

__all__ = [
    "Console",
    "Device",
    "DeviceStats",
    "Disk",
    "Entropy",
    "FdNic",
    "Link",
    "MemoryDisk",
    "Nic",
]


class HasFileno(Protocol):
    """Anything with a descriptor, such as a socket."""

    def fileno(self) -> int:
        """The descriptor."""


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

    def __init__(self, native: _native.Device) -> None:
        self._native = native

    @property
    def stats(self) -> DeviceStats:
        """The counters so far."""
        return DeviceStats(*self._native.stats())

    def close(self) -> None:
        """Called when the kernel is gone."""


class Disk(Device):
    """A file or block device of the host as a disk: /dev/vda and so on.

    A flush by the kernel is an fdatasync on the host.

    Args:
        path: of the file.
        read_only: open it so, and tell the kernel.

    Raises:
        OSError: if it cannot be opened.

    Example:
        >>> with rumpel.boot(disks=[Disk("root.img", read_only=True)]) as k:  # doctest: +SKIP
        ...     k.mount("/dev/vda", "/mnt", "ext4", read_only=True)
    """

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        self.path = os.fspath(path)
        self.read_only = read_only
        super().__init__(_native.block_file(path, _native.READ_ONLY if read_only else 0))


class MemoryDisk(Device):
    """Memory as a disk.

    Args:
        data: a size, in bytes or such as ``"64M"``, for zeroes; or a buffer, which the
            disk uses in place for as long as the kernel lives.
        read_only: refuse writes; necessary for a buffer such as bytes.
    """

    def __init__(
        self, data: int | str | bytes | bytearray | memoryview, read_only: bool = False
    ) -> None:
        what = to_bytes(data) if isinstance(data, int | str) else data
        super().__init__(_native.block_memory(what, _native.READ_ONLY if read_only else 0))


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


class FdNic(Nic):
    """An interface whose frames are the messages of a socket of the host.

    Args:
        fd: a SOCK_SEQPACKET or SOCK_DGRAM socket (its number or an object with
            ``fileno()``), which is duplicated.
        mac: as text, such as ``"02:00:00:00:00:01"``; None makes one up.
        mtu: in bytes.
    """

    def __init__(self, fd: int | HasFileno, mac: str | None = None, mtu: int = 1500) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        super().__init__(_native.net_fd(number, to_mac(mac), mtu))


class Link:
    """A cable: two network interfaces, for two kernels of this process or for one.

    Args:
        delay: propagation delay each way, in seconds.
        mtu: in bytes.
        macs: the two ends' addresses; None makes one up.

    Example:
        >>> a, b = Link(delay=0.001)  # doctest: +SKIP
        >>> with rumpel.boot(nics=[a]) as left, rumpel.boot(nics=[b]) as right:  # doctest: +SKIP
        ...     left.ifup("eth0", "10.0.0.1/24")
    """

    def __init__(
        self,
        delay: float = 0.0,
        mtu: int = 1500,
        macs: tuple[str | None, str | None] = (None, None),
    ) -> None:
        if delay < 0:
            raise ValueError("a delay cannot be negative")
        ends = _native.net_link(to_ns(delay), mtu, to_mac(macs[0]), to_mac(macs[1]))
        self.ends = (Nic(ends[0]), Nic(ends[1]))

    def __iter__(self) -> Iterator[Nic]:
        return iter(self.ends)

    def __getitem__(self, index: int) -> Nic:
        return self.ends[index]


class Entropy(Device):
    """A source of random numbers: /dev/hwrng."""

    def __init__(self) -> None:
        super().__init__(_native.entropy())


class Console(Device):
    """A terminal, /dev/hvc0, on a descriptor of the host, which is duplicated."""

    def __init__(self, fd: int | HasFileno) -> None:
        super().__init__(_native.console(fd if isinstance(fd, int) else fd.fileno()))


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
