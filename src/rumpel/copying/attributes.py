# SPDX-License-Identifier: GPL-2.0-only
"""What an item says, checked: archives and sandboxes may say anything."""

from __future__ import annotations

import errno
import os

from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Attributes", "check_device", "check_name", "check_text", "checked", "nonsense"]

_LAST = (1 << 62) * 1_000_000_000
"""Times in ns whose seconds are no time_t lie beyond."""


class Attributes(NamedTuple):
    """The attributes of an item."""

    mode: int
    uid: int
    gid: int
    atime: int
    mtime: int
    names: int
    xattrs: list[tuple[str, str]]


def checked(values: Any, rel: str) -> Attributes:
    """The attributes that an item has, if a file can have such.

    Raises:
        OSError: EINVAL, if not.
        TypeError: if it has another number of them.
    """
    attributes = Attributes(*values)
    try:
        fits = _fits(attributes)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise nonsense(rel, "no attributes of a file")
    return attributes


def _fits(attributes: Attributes) -> bool:
    mode, uid, gid, atime, mtime, names, xattrs = attributes
    return (
        {*map(type, attributes[:6])} == {int}
        and 0 <= mode < 1 << 32
        and -1 <= uid < 1 << 32
        and -1 <= gid < 1 << 32
        and -_LAST < atime < _LAST
        and -_LAST < mtime < _LAST
        and names >= 0
        and (xattrs == [] or all(_is_xattr(name, value) for name, value in xattrs))
    )


def _is_xattr(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and "\0" not in name
        and max(value, default="") <= "\xff"
    )


def check_name(name: str, rel: str) -> None:
    """Refuse what is no name of an entry of a directory."""
    if name in ("", ".", ".."):
        raise nonsense(rel)
    check_text(name, rel)


def check_text(text: str, rel: str) -> None:
    """Refuse what no path can be."""
    try:
        fits = "\0" not in text if text.isascii() else b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise nonsense(rel)


def check_device(number: int, rel: str) -> None:
    """Refuse what is no number of a device."""
    if not 0 <= number < 1 << 64:
        raise nonsense(rel, "no number of a device")


def nonsense(rel: str, what: str = "no name for an entry") -> OSError:
    """The error for what makes no sense."""
    return OSError(errno.EINVAL, what, rel)
