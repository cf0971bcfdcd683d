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

__all__ = ["TOP", "attach", "detach", "go_in", "go_out", "mount_device", "split_options"]

TOP = "/mnt"
_NOSUID, _NODEV, _NOATIME = 2, 4, 1024
_ATIMES = 1 << 21 | 1 << 24
_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY
_EROFS, _EACCES = 30, 13
_MOUNTED_AS = {"ntfs": "ntfs3"}
"""Where the kernel has another name for what is there."""
_OF_KIND = {"ufs": ("ufstype=ufs2", "ufstype=44bsd")}
"""Options without one of which the kernel does not know what is there."""
_FLAGS = {
    "sync": 16, "dirsync": 128, "noexec": 8, "noatime": 0, "nodiratime": 2048,
    "relatime": 1 << 21, "strictatime": 1 << 24, "lazytime": 1 << 25,
    "nosuid": 0, "nodev": 0, "defaults": 0, "rw": 0, "exec": 0,
}  # fmt: skip
"""Options of mount(8) that are no words for the file system."""
_REFUSED = {
    "ro": "that is --read-only, read_only=True",
    "suid": "programs of an image never get the rights of their owners",
    "dev": "devices of an image are none",
    "remount": "it is mounted once",
    "bind": "it is a device that is mounted",
    "loop": "there is no need of it",
}


def split_options(text: str) -> tuple[int, str]:
    """Take options of mount(8) apart: flags, and what the file system is told.

    Raises:
        ValueError: if one is refused here.

    Example:
        >>> split_options("sync,subvol=home,noatime")
        (16, 'subvol=home')
    """
    flags, words = 0, []
    for word in filter(None, text.split(",")):
        if word in _REFUSED:
            raise ValueError(f"{word!r} is no option here: {_REFUSED[word]}")
        flags |= _FLAGS.get(word, 0)
        if word not in _FLAGS:
            words.append(word)
    return flags, ",".join(words)


def mount_device(
    kernel: Kernel, device: str, top: str, kind: str, read_only: bool, options: str = ""
) -> None:
    """Mount what is on a device.

    Args:
        kernel: has the device.
        device: its path.
        top: a directory, which is made if need be.
        kind: of the file system; "" tries all.
        read_only: refuse writes.
        options: as of mount(8); see :func:`split_options`.

    Raises:
        OSError: with what the kernel has logged.
    """
    flags, data = split_options(options)
    if not flags & _ATIMES:
        flags |= _NOATIME
    flags, fstype = flags | _NOSUID | _NODEV, _MOUNTED_AS.get(kind, kind) or None
    *first, last = [",".join(filter(None, (each, data))) for each in _OF_KIND.get(kind, ("",))]
    for each in first:
        try:
            _mount(kernel, device, top, fstype, flags, read_only, each)
        except OSError:
            continue
        return
    _mount(kernel, device, top, fstype, flags, read_only, last)


def _mount(
    kernel: Kernel,
    device: str,
    top: str,
    fstype: str | None,
    flags: int,
    read_only: bool,
    data: str,
) -> None:
    try:
        kernel.mount(device, top, fstype, flags=flags, read_only=read_only, data=data)
    except OSError as error:
        # As mount(8): of what can only be read, nobody has to say so.
        if read_only or error.errno not in (_EROFS, _EACCES):
            raise
        kernel.mount(device, top, fstype, flags=flags, read_only=True, data=data)


def go_in(kernel: Kernel) -> None:
    """Make it the root, so that absolute symbolic links lead where they should."""
    kernel.os.chroot(TOP)
    kernel.os.chdir("/")


def go_out(kernel: Kernel, outside: int) -> None:
    """Have the kernel's own root again, of which that is a descriptor."""
    kernel.os.fchdir(outside)
    kernel.os.chroot(".")


def attach(
    where: Where, device: str, kind: str, read_only: bool, options: str
) -> Iterator[tuple[Any, Any]]:
    """Mount a device as the root; a descriptor of the root that was before."""
    kernel = where.kernel
    mount_device(kernel, device, TOP, kind, read_only, options)
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
