# SPDX-License-Identifier: GPL-2.0-only
"""Disks by description, to be opened here or in another process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rumpel.devices import Disk, Overlay

__all__ = ["DiskSpec"]


class DiskSpec(NamedTuple):
    """A disk that is to be opened.

    Attributes:
        path: of a file or block device.
        read_only: refuse writes.
        overlay: what is written goes elsewhere, as :class:`rumpel.Overlay` has it.
        file: where an overlay is kept; None is memory.
    """

    path: str
    read_only: bool = False
    overlay: bool = False
    file: str | None = None

    def open(self) -> Disk | Overlay:
        """Make the device.

        Raises:
            OSError: as :class:`rumpel.Disk` and :class:`rumpel.Overlay`.
        """
        if self.overlay:
            from rumpel.devices import Overlay

            return Overlay(self.path, self.file)
        from rumpel.devices import Disk

        return Disk(self.path, self.read_only)

    def largest_file(self) -> int | None:
        """How long a file may become that belongs to it; None if there is no telling."""
        size = os.stat(self.path).st_size  # noqa: PTH116
        return None if not size else size + (size >> 2) + (64 << 20)
