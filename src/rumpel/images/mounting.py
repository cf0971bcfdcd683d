# SPDX-License-Identifier: GPL-2.0-only
"""Mount a file system so that its root is the kernel's root, and unmount it.

:func:`attach` and :func:`detach` are jobs (:mod:`rumpel.images.jobs`): one message instead of ten.
"""

from __future__ import annotations

import os as host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rumpel.images.jobs import Where
    from rumpel.kernel import Kernel

__all__ = ["TOP", "attach", "detach", "go_in", "go_out", "mount_device"]

TOP = "/mnt"
_NOSUID, _NODEV, _NOATIME = 2, 4, 1024
_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY
_EROFS, _EACCES = 30, 13
_MOUNTED_AS = {"ntfs": "ntfs3"}
"""Where the kernel has another name for what is there."""


def mount_device(kernel: Kernel, device: str, top: str, kind: str, read_only: bool) -> None:
    """Mount what is on a device.

    Args:
        kernel: has the device.
        device: its path.
        top: a directory, which is made if need be.
        kind: of the file system; "" tries all.
        read_only: refuse writes.

    Raises:
        OSError: with what the kernel has logged.
    """
    flags, fstype = _NOSUID | _NODEV | _NOATIME, _MOUNTED_AS.get(kind, kind) or None
    try:
        kernel.mount(device, top, fstype, flags=flags, read_only=read_only)
    except OSError as error:
        # As mount(8): of what can only be read, nobody has to say so.
        if read_only or error.errno not in (_EROFS, _EACCES):
            raise
        kernel.mount(device, top, fstype, flags=flags, read_only=True)


def go_in(kernel: Kernel) -> None:
    """Make it the root, so that absolute symbolic links lead where they should."""
    kernel.os.chroot(TOP)
    kernel.os.chdir("/")


def go_out(kernel: Kernel, outside: int) -> None:
    """Have the kernel's own root again, of which that is a descriptor."""
    kernel.os.fchdir(outside)
    kernel.os.chroot(".")


def attach(where: Where, device: str, kind: str, read_only: bool) -> Iterator[tuple[Any, Any]]:
    """Mount a device as the root; a descriptor of the root that was before."""
    kernel = where.kernel
    mount_device(kernel, device, TOP, kind, read_only)
    outside = kernel.os.open("/", _DIRECTORY)
    go_in(kernel)
    yield outside, b""


def detach(where: Where, outside: int, written: bool) -> Iterator[tuple[Any, Any]]:
    """Unmount it again.

    Args:
        where: the worker.
        outside: what :func:`attach` said.
        written: something may have to be written.

    Raises:
        OSError: if not all could be written, which is an error here and nowhere else; EBUSY, if
            a file is open. Then it is still there.
    """
    kernel = where.kernel
    if written:
        top = kernel.os.open("/", _DIRECTORY)
        try:
            kernel.syscall("syncfs", top)
        finally:
            kernel.os.close(top)
    go_out(kernel, outside)
    try:
        kernel.umount(TOP)
    except BaseException:
        go_in(kernel)
        raise
    kernel.os.close(outside)
    yield 0, b""
