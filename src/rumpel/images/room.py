# SPDX-License-Identifier: GPL-2.0-only
"""Why there is no room for a file, of which the kernel in an image hears only EIO."""

from __future__ import annotations

import errno
import os
import resource

__all__ = ["no_room"]

_LEAST = 64 << 10
"""Where less is free, a write has failed for that."""


def no_room(path: str) -> str:
    """Why a file cannot be written to; "" if it is not for want of room.

    Args:
        path: of the file.

    Example:
        >>> no_room(".")
        ''
    """
    try:
        length, room = os.stat(path).st_size, os.statvfs(path)  # noqa: PTH116
    except OSError:
        return ""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and most < length:
        return f"{os.strerror(errno.EFBIG)}: files may have {most} bytes here (ulimit -f)"
    if room.f_bavail * room.f_frsize < _LEAST:
        return f"{os.strerror(errno.ENOSPC)}, where {path} lies"
    return ""
