# SPDX-License-Identifier: GPL-2.0-only
"""Disks by description, to be opened here or in another process."""

from __future__ import annotations

import _socket
import os

from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import Disk, NbdDisk, Overlay

__all__ = ["DiskSpec"]


class DiskSpec(NamedTuple):
    """A disk that is to be opened.

    Attributes:
        path: of a file or block device; "" is none, of a disk that is served.
        read_only: refuse writes.
        overlay: what is written goes elsewhere, as :class:`rumpel.Overlay` has it.
        file: where an overlay is kept; None is memory.
        served: a server of NBD has the disk: the connection's descriptor there, the disk's size,
            the transmission flags, and the format of the file at ``path``, which is looked at
            only.
    """

    path: str
    read_only: bool = False
    overlay: bool = False
    file: str | None = None
    served: tuple[int, int, int, str] | None = None

    def open(self) -> Disk | NbdDisk | Overlay:
        """Make the device.

        Raises:
            OSError: as :class:`rumpel.Disk` and :class:`rumpel.Overlay`.
        """
        base = self.served_disk() if self.served else self.path
        if self.overlay:
            from rumpel.devices import Overlay

            return Overlay(base, self.file)
        if not isinstance(base, str):
            return base
        from rumpel.devices import Disk

        return Disk(base, self.read_only)

    def served_disk(self) -> NbdDisk:
        """The disk that is served, or what an overlay lies over."""
        from rumpel.devices import NbdDisk

        assert self.served
        fd, size, flags, format = self.served
        connection = _socket.socket(fileno=os.dup(fd))
        return NbdDisk.from_connection(connection, size, flags, self.path or None, format)

    def largest_file(self) -> int | None:
        """How long a file may become that belongs to it; None if there is no telling."""
        size = self.served[1] if self.served else os.stat(self.path).st_size  # noqa: PTH116
        return None if not size else size + (size >> 2) + (64 << 20)
