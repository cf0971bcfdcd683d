# SPDX-License-Identifier: GPL-2.0-only
"""File systems of btrfs that have several devices.

Source: include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["scan_device"]

_ARGS = struct.Struct("=q4088s")
_SCAN_DEV = 1 << 30 | _ARGS.size << 16 | 0x94 << 8 | 4


def scan_device(kernel: Kernel, path: str) -> None:
    """Let the kernel know that a device is a part of a file system, which can be mounted then.

    Raises:
        OSError: if it is none.
    """
    fd = kernel.os.open("/dev/btrfs-control", os.O_RDWR)
    try:
        args = bytearray(_ARGS.pack(0, os.fsencode(path)))
        kernel.syscall("ioctl", fd, _SCAN_DEV, args)
    finally:
        kernel.os.close(fd)
