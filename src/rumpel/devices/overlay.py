# SPDX-License-Identifier: GPL-2.0-only
"""Disks whose base stays as it is."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.devices.device import Device
from rumpel.devices.nbd import NbdDisk

__all__ = ["Overlay"]


class Overlay(Device):
    """A copy-on-write disk: all that is written goes elsewhere, the base is only read.

    It can be booted again and again, one kernel at a time; :meth:`commit`,
    :meth:`discard` and :meth:`snapshot` are for the time between. In the child of a fork it is
    the parent's: EBUSY.

    Args:
        base: a file or block device, which may be read-only; bytes, which are copied; a disk
            of a server; or another overlay, which is then not written to as long as this one
            is there.
        file: where to keep what is written, a qcow2 file with the base as backing file. It is
            made if it does not exist. What the kernel has flushed is there after a crash of
            this process or of the machine. None keeps it in memory, as long as this object.

    Raises:
        OSError: if something cannot be opened; EBUSY if a disk uses the base or the file.
        DeviceError: if the base is not what it was when the file was made, or the file is no
            overlay of it.

    Example:
        >>> disk = Overlay("debian.img", "changes.qcow2")  # doctest: +SKIP
        >>> with rumpel.boot(disks=[disk]) as k:  # doctest: +SKIP
        ...     k.mount("/dev/vda", "/mnt", "ext4")
        >>> disk.commit()  # doctest: +SKIP
    """

    _kind = "disk"

    def __init__(
        self,
        base: str | os.PathLike[str] | bytes | bytearray | memoryview | NbdDisk | Overlay,
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.base = base
        self.file = None if file is None else os.fspath(file)
        self._device: _native.Device | None = None
        self._opened: _native.Overlay | None = None
        self._overlay()

    def _overlay(self) -> _native.Overlay:
        """Open it, unless it is."""
        if self._opened is None:
            if isinstance(self.base, Overlay):
                self.base._rest()
                below = self.base._overlay()
                # The name of what is below is for the file's header.
                name = None if self.file is None else self.base.file
                self._opened = _native.Overlay(name, below, self.file)
            elif isinstance(self.base, bytes | bytearray | memoryview):
                self._opened = _over_bytes(self.base, self.file)
            elif isinstance(self.base, NbdDisk):
                self._opened = self.base._overlay(self.file)
            else:
                self._opened = _native.Overlay(self.base, None, self.file)
        return self._opened

    @property
    def _native(self) -> _native.Device:  # type: ignore[override]
        """The device for the next kernel, or the one that a kernel has."""
        if self._device is None or self._device.gone:
            self._device = self._overlay().device()
        return self._device

    def _count(self) -> tuple[int, ...]:
        """The counters of the kernel that has it, or had it last."""
        if self._device is not None and not self._device.gone:
            self._counts = self._device.stats()
        return self._counts

    def close(self) -> None:
        """Let others open base and file; it opens itself again when it is used.

        A kernel does so when it is gone. What is in memory stays.

        Raises:
            OSError: if not all that was written is in the file, as when the host's disk is full.
        """
        self._rest()
        if self.file is not None and isinstance(self.base, str | os.PathLike | NbdDisk | Overlay):
            opened, self._device, self._opened = self._opened, None, None
            if opened is not None:
                opened.sync()

    def commit(self) -> None:
        """Put all that was written into the base, and be empty again.

        If it is interrupted it can be made again.

        Raises:
            OSError: EBUSY if a kernel or another overlay uses it, or a disk the base.
        """
        self._rest()
        self._overlay().commit()

    def discard(self) -> None:
        """Forget all that was written: the disk is the base again, at once.

        Raises:
            OSError: EBUSY if a kernel or another overlay uses it.
        """
        self._rest()
        self._overlay().discard()

    def snapshot(self, file: str | os.PathLike[str] | None = None) -> Overlay:
        """Freeze the state: what is written from now on goes into a new overlay over this one.

        It takes no time. To roll back, discard the new one; to keep its changes, commit it.

        Args:
            file: of the new overlay.

        Returns:
            The disk to go on with.
        """
        return Overlay(self, file)

    def _rest(self) -> None:
        """Give back a device that no kernel took."""
        if self._device is not None and not self._device.taken:
            self._device = None


def _over_bytes(data: bytes | bytearray | memoryview, file: str | None) -> _native.Overlay:
    fd = os.memfd_create("rumpel-base")
    try:
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(fd, view) :]
        return _native.Overlay(f"/proc/self/fd/{fd}", None, file)
    finally:
        os.close(fd)
