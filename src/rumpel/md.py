# SPDX-License-Identifier: GPL-2.0-only
"""Software RAID: arrays of the md driver.

Source: include/uapi/linux/raid/md_u.h, Documentation/admin-guide/md.rst.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["assemble", "stop"]

_ARRAY, _DISK = struct.Struct("=18i"), struct.Struct("=5i")
_MD = 0x900
_ADD_NEW_DISK = 1 << 30 | _DISK.size << 16 | _MD | 0x21
_SET_ARRAY_INFO = 1 << 30 | _ARRAY.size << 16 | _MD | 0x23
_RUN_ARRAY = 1 << 30 | 12 << 16 | _MD | 0x30
_STOP_ARRAY = _MD | 0x32
_PARAMETERS = "/sys/module/md_mod/parameters"


def assemble(kernel: Kernel, devices: Sequence[str], version: tuple[int, int] = (1, 2)) -> str:
    """Start an array from devices that have superblocks, as ``mdadm --assemble`` does.

    Nothing is written, nor are members made equal again, before something is written to it.

    Args:
        kernel: has the devices.
        devices: paths; a few may be missing, as far as the array's level allows.
        version: the format of the superblocks.

    Returns:
        The array's path.

    Raises:
        OSError: if it cannot be started, with the kernel's own words.

    Example:
        >>> path = assemble(k, ["/dev/vda", "/dev/vdb"])  # doctest: +SKIP
        >>> k.mount(path, "/mnt", "ext4")  # doctest: +SKIP
    """
    seen = len(kernel.log)
    _write(kernel, f"{_PARAMETERS}/start_ro", "1")
    name = _new(kernel)
    path = f"/dev/{name}"
    try:
        fd = kernel.os.open(path, os.O_RDWR)
        try:
            major, minor = version
            _ioctl(kernel, fd, _SET_ARRAY_INFO, _ARRAY.pack(major, minor, *[0] * 16))
            for device in devices:
                number = kernel.os.stat(device).st_rdev
                disk = _DISK.pack(0, os.major(number), os.minor(number), 0, 0)
                with contextlib.suppress(OSError):  # others may be enough
                    _ioctl(kernel, fd, _ADD_NEW_DISK, disk)
            _ioctl(kernel, fd, _RUN_ARRAY, bytes(12))
        except OSError:
            with contextlib.suppress(OSError):
                kernel.syscall("ioctl", fd, _STOP_ARRAY, 0)
            raise
        finally:
            kernel.os.close(fd)
        # Whoever opens it first finds its partitions.
        kernel.os.close(kernel.os.open(path, os.O_RDONLY))
    except OSError as error:
        said = [record.text for record in kernel.log[seen:] if record.level <= 4]
        text = "; ".join([error.strerror or "", *said[-3:]])
        raise OSError(error.errno, text, path) from None
    return path


def stop(kernel: Kernel, path: str) -> None:
    """Stop an array: its superblocks say that it is clean, and its devices are free.

    Args:
        kernel: has it.
        path: the array's.

    Raises:
        OSError: EBUSY while somebody has it open.
    """
    fd = kernel.os.open(path, os.O_RDONLY)
    try:
        kernel.syscall("ioctl", fd, _STOP_ARRAY, 0)
    finally:
        kernel.os.close(fd)


def _new(kernel: Kernel) -> str:
    """Make an array of nothing: its name."""
    there = kernel.os.listdir("/sys/block")
    name = next(name for number in range(127, -1, -1) if (name := f"md{number}") not in there)
    _write(kernel, f"{_PARAMETERS}/new_array", name)
    return name


def _ioctl(kernel: Kernel, fd: int, request: int, data: bytes) -> None:
    kernel.syscall("ioctl", fd, request, bytearray(data))


def _write(kernel: Kernel, path: str, text: str) -> None:
    fd = kernel.os.open(path, os.O_WRONLY)
    try:
        kernel.os.write(fd, text.encode())
    finally:
        kernel.os.close(fd)
