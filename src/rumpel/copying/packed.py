# SPDX-License-Identifier: GPL-2.0-only
"""Small files of a directory as one item: they are read and made without the interpreter.

``["b", path, names]`` with, for each name, a :data:`RECORD` and the content: mode, user, group,
size, seconds of access and modification, nanoseconds of both. Such files have one name, no
extended attributes and no holes.
"""

from __future__ import annotations

import _struct as struct
import os as host

from rumpel import _native
from rumpel.copying.attributes import nonsense

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["RECORD", "can_pack", "length", "place_of", "unpacked"]

RECORD = struct.Struct("=IIIIqqII")
_S = 1_000_000_000


def can_pack(os: Any) -> bool:
    """Are the files of this side in the reach of this process?"""
    return os is host or isinstance(getattr(os, "_native", None), _native.Kernel)


def place_of(os: Any) -> _native.Kernel | None:
    """The side as :func:`rumpel._native.read_files` has it."""
    kernel: _native.Kernel | None = None if os is host else os._native
    return kernel


def length(names: list[str], data: Any) -> int:
    """How long the contents are together."""
    return len(data) - RECORD.size * len(names)


def unpacked(item: list[Any], data: Any) -> Iterator[tuple[list[Any], Any]]:
    """The same as an item for each file.

    Raises:
        OSError: EINVAL, if there are not as many.
    """
    _, path, names = item
    view, at = memoryview(data), 0
    for name in names:
        rel = f"{path}/{name}" if path else f"{name}"
        start = at + RECORD.size
        if len(view) < start:
            raise nonsense(rel, "not as many files as names")
        mode, uid, gid, size, *times, atime_ns, mtime_ns = RECORD.unpack(view[at:start])
        at = start + size
        if len(view) < at:
            raise nonsense(rel, "not as many files as names")
        stamps = times[0] * _S + atime_ns, times[1] * _S + mtime_ns
        attributes = [mode, uid, gid, *stamps, 1, []]
        yield ["f", rel, attributes, True, size], view[start:at]
    if at != len(view):
        raise nonsense(path, "not as many files as names")
