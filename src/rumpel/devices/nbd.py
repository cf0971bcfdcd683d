# SPDX-License-Identifier: GPL-2.0-only
"""Disks that a server has."""

from __future__ import annotations

import _socket
import os
import weakref
from typing import TYPE_CHECKING

from rumpel import _native, nbd
from rumpel.devices.device import Device

if TYPE_CHECKING:
    from typing import Self

    from rumpel._native import Overlay as NativeOverlay

__all__ = ["NbdDisk"]


class NbdDisk(Device):
    """A disk at the other end of a connection, by the protocol Network Block Device.

    Servers are qemu-nbd (for qcow2, VMDK, ...), nbdkit, nbd-server. If the connection is lost
    all requests fail. The disk is for one kernel, or the base of one :class:`Overlay`.

    Args:
        address: the path of a unix socket, or a host and a port.
        export: which of the server's disks.
        read_only: refuse writes; some exports are so anyway.

    Attributes:
        size: in bytes.
        read_only: does it refuse writes?

    Raises:
        OSError: if nobody listens there.
        DeviceError: if it is no server of NBD, or has no such export.

    Example:
        >>> disk = NbdDisk("/run/disk.socket")  # doctest: +SKIP
        >>> with rumpel.boot(disks=[disk]) as k:  # doctest: +SKIP
        ...     k.mount("/dev/vda", "/mnt", "ext4")
    """

    _kind = "disk"

    def __init__(
        self,
        address: str | os.PathLike[str] | tuple[str, int],
        export: str = "",
        read_only: bool = False,
    ) -> None:
        if isinstance(address, tuple):
            connection = _over_tcp(address)
        else:
            connection = _socket.socket(_socket.AF_UNIX)
        try:
            if not isinstance(address, tuple):
                connection.connect(os.fspath(address))
            size, flags = nbd.handshake(connection, export)
        except BaseException:
            connection.close()
            raise
        self._set(connection, size, flags | (nbd.READ_ONLY if read_only else 0))

    @classmethod
    def from_connection(
        cls,
        connection: _socket.socket,
        size: int,
        flags: int,
        path: str | None = None,
        format: str = "raw",
    ) -> Self:
        """A disk whose handshake is over.

        Args:
            connection: to the server; it is the disk's from now on.
            size: in bytes.
            flags: the transmission flags.
            path: of the file that the server has, for the header of an overlay.
            format: of that file, as QEMU names it.
        """
        self = cls.__new__(cls)
        self._set(connection, size, flags, path, format)
        return self

    def _set(
        self,
        connection: _socket.socket,
        size: int,
        flags: int,
        path: str | None = None,
        format: str = "raw",
    ) -> None:
        self._fd = connection.detach()
        # As the file of any disk it is closed when nobody has the disk any more.
        self._close = weakref.finalize(self, os.close, self._fd)
        self._flags = flags
        self.size = size
        self.read_only = bool(flags & nbd.READ_ONLY)
        self._path, self._format = path, format
        self._device: _native.Device | None = None

    @property
    def _native(self) -> _native.Device:  # type: ignore[override]
        """Made when a kernel wants it: an overlay speaks with the server itself."""
        if self._device is None:
            self._device = _native.block_nbd(self._fd, self.size, self._flags)
        return self._device

    def _overlay(self, file: str | None) -> NativeOverlay:
        """An overlay over it."""
        served = self._fd, self.size, self._flags, self._format
        return _native.Overlay(self._path, None, file, served)

    def close(self) -> None:
        """Hang up."""
        self._close()


def _over_tcp(address: tuple[str, int]) -> _socket.socket:
    import socket  # which takes long to import

    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
