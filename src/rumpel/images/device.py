# SPDX-License-Identifier: GPL-2.0-only
"""Disks, partitions and volumes of an image."""

from __future__ import annotations

from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Device"]


class Device(NamedTuple):
    """A disk or a partition, and what is on it.

    Attributes:
        name: in the kernel, such as ``vda1``.
        number: of the partition; 0 is the disk itself.
        start: where it begins on the disk, in bytes.
        size: in bytes.
        table: of a disk: the kind of its partition table, ``gpt``, ``dos`` or "".
        part_label: its name in the partition table, where that has names.
        part_uuid: its UUID there.
        kind: of the file system or whatever is on it, such as ``ext4``; "" is not known.
        label: of the file system.
        uuid: of the file system.
        mountable: is it a file system?
        features: of the file system, with spaces between them; see
            :mod:`rumpel.images.features`.
        below: the names of the devices that it is made of; a partition's disk is none.
        volume: how it is called if it is no disk and no partition of one, such as ``vg/lv``.
        problem: why nothing can be read from it; then it may have no name.
    """

    name: str
    number: int
    start: int
    size: int
    table: str
    part_label: str
    part_uuid: str
    kind: str
    label: str
    uuid: str
    mountable: bool
    features: str = ""
    below: Sequence[str] = ()
    volume: str = ""
    problem: str = ""

    @property
    def path(self) -> str:
        """Its name under /dev."""
        return f"/dev/{self.name}"

    @property
    def title(self) -> str:
        """How it is called behind the image's name: a number, or a volume's name."""
        return self.volume or str(self.number)

    @property
    def suffix(self) -> str:
        """What makes the image's name its own: nothing for the whole disk."""
        return f":{self.title}" if self.number or self.volume else ""
