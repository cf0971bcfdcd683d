# SPDX-License-Identifier: GPL-2.0-only
"""A file's content, piece by piece."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Room = Callable[[int], memoryview | None]

__all__ = ["Room", "read"]


def read(os: Any, fd: int, size: int, room: Room | None) -> Any:
    """Read from a file, into room for it if there is any.

    Args:
        os: the module of the side on which it is.
        fd: its descriptor.
        size: how much at most.
        room: where it may be read to; None, or one that has none: to new bytes.
    """
    view = room(size) if room else None
    if view is None:
        return os.read(fd, size)
    return view[: os.readv(fd, [view])]
