# SPDX-License-Identifier: GPL-2.0-only
"""Superblocks of md: which devices are one array.

Source: include/uapi/linux/raid/md_p.h.
"""

from __future__ import annotations

import _struct as struct
from itertools import pairwise

from rumpel.named import NamedTuple

__all__ = ["Member", "offsets", "parse"]

MAGIC = struct.pack("<I", 0xA92B4EFC)
ROOM = 512
"""So much of a superblock has to be read."""


class Member(NamedTuple):
    """A device of an array.

    Attributes:
        uuid: of the array, as blkid writes it.
        name: of the array, without the host that it was made on; or "".
        version: major and minor number of the superblock's format.
        level: 0, 1, 5, ...; -1 is linear.
        disks: how many devices the array has.
    """

    uuid: str
    name: str
    version: tuple[int, int]
    level: int
    disks: int


def offsets(size: int) -> list[tuple[int, tuple[int, int]]]:
    """Where on a device of so many bytes superblocks may be, and of which format."""
    found = [(4096, (1, 2)), (0, (1, 1))]
    if size >= 128 << 10:
        found += [
            ((size // 512 - 16) // 8 * 8 * 512, (1, 0)),
            (size // 65536 * 65536 - 65536, (0, 90)),
        ]
    return found


def parse(data: bytes, at: int, version: tuple[int, int]) -> Member | None:
    """A superblock, if it is one of that format.

    Args:
        data: its beginning.
        at: where on the device it was.
        version: the format that is looked for there.
    """
    if len(data) < ROOM or data[:4] != MAGIC:
        return None
    (major,) = struct.unpack_from("<I", data, 4)
    if major != version[0]:
        return None
    if major == 0:
        level, _, _, disks = struct.unpack_from("<iIII", data, 28)
        raw = data[20:24] + data[52:64]
        uuid = b"".join(raw[start : start + 4][::-1] for start in range(0, 16, 4))
        return Member(_uuid(uuid), "", version, level, disks)
    (start,) = struct.unpack_from("<Q", data, 144)
    if start * 512 != at:
        return None
    level, _, _, _, disks = struct.unpack_from("<iIQII", data, 72)
    name = data[32:64].partition(b"\0")[0].decode("utf-8", "replace")
    return Member(_uuid(data[16:32]), name.rpartition(":")[2], version, level, disks)


def _uuid(raw: bytes) -> str:
    digits = raw.hex()
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[start:end] for start, end in pairwise(cuts))
