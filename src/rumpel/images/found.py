# SPDX-License-Identifier: GPL-2.0-only
"""Entries of trees in images."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rumpel.errors import SandboxError

__all__ = ["Found", "entries"]

_MOST = 1 << 96
"""More than any number of stat(2), times in ns among them."""


class Found(NamedTuple):
    """An entry of a tree; see :func:`rumpel.images.walking.walk`.

    Attributes:
        path: relative to where the walk began, which is "".
        mode, inode, device, links, uid, gid, size: as of :class:`os.stat_result`.
        atime, mtime, ctime: in ns.
        blocks: of 512 bytes.
        rdev: of a device.
        target: of a symbolic link.
    """

    path: str
    mode: int
    inode: int
    device: int
    links: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int
    blocks: int
    rdev: int
    target: str | None


def entries(messages: Iterable[tuple[Any, Any]], top: str) -> Iterator[Found]:
    """The entries of which a walk tells, each below a directory that it told of before.

    Args:
        messages: of :func:`rumpel.images.walking.walk`, which may run in a sandbox.
        top: the path where it began.

    Raises:
        OSError: at the end, if parts of it cannot be read.
        SandboxError: if what is told makes no sense.
    """
    failed: OSError | None = None
    above: list[str] = []
    is_first = True
    for batch, _ in messages:
        for rel, numbers, target in _listed(batch):
            if numbers is None:
                failed = failed or OSError(errno.EIO, str(target), f"{top.rstrip('/')}/{rel}")
                continue
            entry = _checked(rel, numbers, target)
            if not is_first:
                parent = entry.path.rpartition("/")[0]
                while above and above[-1] != parent:
                    above.pop()
            if not (above or is_first) or is_first != (not entry.path):
                raise SandboxError(f"a sandbox sends nonsense about {entry.path!r}")
            if stat.S_ISDIR(entry.mode):
                above.append(entry.path)
            is_first = False
            yield entry
    if failed:
        raise failed


def _listed(batch: Any) -> list[Any]:
    if not isinstance(batch, list) or not all(isinstance(e, list) and len(e) == 3 for e in batch):
        raise SandboxError("a sandbox sends nonsense")
    return batch


def _checked(rel: Any, numbers: Any, target: Any) -> Found:
    """One of them, whose name may become one on the host."""
    try:
        path = str(rel)
        entry = Found._make((path, *numbers, target))
        # Once for all of them: there may be a million.
        fits = {*map(type, numbers)} == {int} and -_MOST < min(numbers) <= max(numbers) < _MOST
    except TypeError as error:
        raise SandboxError("a sandbox sends nonsense") from error
    inside = f"/{path}/"
    if (
        (path and any(part in inside for part in ("//", "/./", "/../", "\0")))
        or not fits
        or not isinstance(target, str | None)
    ):
        raise SandboxError(f"a sandbox sends nonsense about {path!r}")
    return entry
