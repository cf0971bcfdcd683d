# SPDX-License-Identifier: GPL-2.0-only
"""Mount file systems, with the kernel's own words if that fails."""

from __future__ import annotations

import errno
import os

from rumpel.log import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices import HostDirectory
    from rumpel.kernel import Kernel

__all__ = ["mount"]

_WARNING = 4
_TOO_SHORT = (errno.ENOMEM, errno.EIO)
_NEED_OPTIONS = ("ufs",)
"""Cannot be tried: there are several kinds, and the caller has to know."""


def mount(
    kernel: Kernel,
    source: str | os.PathLike[str] | HostDirectory,
    target: str | os.PathLike[str],
    fstype: str | None,
    flags: int,
    data: str,
) -> None:
    """See :meth:`rumpel.Kernel.mount`."""
    # Nothing is imported for what most mounts are: a device at a directory that is there.
    if not isinstance(source, str | os.PathLike):
        if kernel.state == "running" and all(device is not source for device in kernel._devices):
            raise ValueError(f"the directory {source.path!r} is not one of this kernel's devices")
        fstype, source = fstype or "virtiofs", source.tag
    try:
        kernel.os.mkdir(target)
    except FileExistsError:
        pass
    except FileNotFoundError:
        kernel.os.makedirs(target, exist_ok=True)
    options = data.encode() or None
    failure = OSError(errno.ENODEV, "no file system for devices in the kernel", os.fspath(source))
    _, seen = kernel._native.log_read(0)
    for kind in [fstype] if fstype else _kinds(kernel):
        try:
            kernel.syscall("mount", source, target, os.fsencode(kind), flags, options)
            return
        except OSError as error:
            # Those that do not know what is there say EINVAL, and so may the one that does. Of a
            # disk that is too short for them some say something else.
            if failure.errno != errno.EINVAL or error.errno not in _TOO_SHORT:
                failure = error
        if failure.errno not in (errno.EINVAL, *_TOO_SHORT):
            break
    raise _explained(failure, kernel, seen)


def _kinds(kernel: Kernel) -> list[str]:
    """The file systems that live on devices, in the order in which the kernel tries them."""
    with kernel.open("/proc/filesystems") as file:
        rows = [line.split() for line in file]
    return [row[0] for row in rows if len(row) == 1 and row[0] not in _NEED_OPTIONS]


def _explained(error: OSError, kernel: Kernel, seen: int) -> OSError:
    """The same error, with what the kernel logged meanwhile."""
    new = list(messages(kernel._native.log_read(seen)[0]))
    said = [text for level, _, text in new if level <= _WARNING] or [text for _, _, text in new]
    text = "; ".join([error.strerror or os.strerror(error.errno or 0), *said[-3:]])
    # OSError chooses the subclass by errno.
    return OSError(error.errno, text, error.filename, None, error.filename2)
