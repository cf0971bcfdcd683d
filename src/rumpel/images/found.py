# SPDX-License-Identifier: GPL-2.0-only
"""Entries of trees in images."""

from __future__ import annotations

import errno
import os
import stat
from _struct import Struct

from rumpel.errors import SandboxError
from rumpel.images.walking import STATX_SIZE
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Batch = tuple[list[str], dict[int, str], list[tuple[str, str]]]

__all__ = ["Found", "entries", "paths"]

_STATX = Struct("<4xI8xIIIH2xQQQ8xqI4x16xqI4xqI4xIIII112x")
"""Block size, links, uid, gid, mode, inode, size, blocks, atime, ctime, mtime, rdev, dev."""
_S = 1_000_000_000
_NONE = ("//", "/./", "/../")
"""In no path between slashes."""


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
    for batch, data in messages:
        paths, targets, failures = _checked(batch, data)
        for rel, why in failures:
            failed = failed or OSError(errno.EIO, str(why), f"{top.rstrip('/')}/{rel}")
        for at, (path, numbers) in enumerate(zip(paths, _STATX.iter_unpack(data), strict=True)):
            if not is_first:
                parent = path.rpartition("/")[0]
                while above and above[-1] != parent:
                    above.pop()
            if not (above or is_first) or is_first != (not path):
                raise SandboxError(f"a sandbox sends nonsense about {path!r}")
            entry = _found(path, numbers, targets.get(at))
            if stat.S_ISDIR(entry.mode):
                above.append(path)
            is_first = False
            yield entry
    if failed:
        raise failed


def paths(messages: Iterable[tuple[Any, Any]], top: str) -> Iterator[list[str]]:
    """The paths alone, some at a time, as :func:`rumpel.images.walking.walk_names` has them.

    Unlike :func:`entries`, what they are below need not have been told of: they are for people
    to read.
    """
    failed: OSError | None = None
    for failures, data in messages:
        try:
            for rel, why in failures:
                failed = failed or OSError(errno.EIO, str(why), f"{top.rstrip('/')}/{rel}")
            *told, end = os.fsdecode(bytes(data)).split("\0")
        except (TypeError, ValueError) as error:
            raise SandboxError("a sandbox sends nonsense") from error
        if end:
            raise SandboxError("a sandbox sends nonsense")
        _check(told)
        yield told
    if failed:
        raise failed


def _found(path: str, numbers: tuple[int, ...], target: str | None) -> Found:
    _, links, uid, gid, mode, inode, size, blocks, atime, atime_ns, *rest = numbers
    ctime, ctime_ns, mtime, mtime_ns, major, minor, on_major, on_minor = rest
    return Found(
        path,
        mode,
        inode,
        os.makedev(on_major, on_minor),
        links,
        uid,
        gid,
        size,
        atime * _S + atime_ns,
        mtime * _S + mtime_ns,
        ctime * _S + ctime_ns,
        blocks,
        os.makedev(major, minor),
        target,
    )


def _checked(batch: Any, data: Any) -> Batch:
    """A message, whose paths may become some on the host."""
    try:
        paths, targets, failures = batch
        led: dict[int, str] = dict(targets)
        failed = [(str(rel), str(why)) for rel, why in failures]
        # Once for all of them: there may be a million.
        fits = {*map(type, paths)} <= {str} and len(data) == len(paths) * STATX_SIZE
        links = {*map(type, led)} <= {int} and {*map(type, led.values())} <= {str}
    except (TypeError, ValueError) as error:
        raise SandboxError("a sandbox sends nonsense") from error
    if not (fits and links and isinstance(paths, list)):
        raise SandboxError("a sandbox sends nonsense")
    _check(paths)
    return paths, led, failed


def _check(paths: list[str]) -> None:
    """See that they lead nowhere else."""
    inside = "\0/".join(["", *(f"{path}/" for path in paths if path)])
    if "\0" in "".join(paths) or any(part in inside for part in _NONE):
        bad = (each for each in paths if "\0" in each or any(p in f"/{each}/" for p in _NONE))
        raise SandboxError(f"a sandbox sends nonsense about {next(filter(None, bad), '')!r}")
