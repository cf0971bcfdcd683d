# SPDX-License-Identifier: GPL-2.0-only
"""List a tree where the kernel is; :mod:`rumpel.images.found` is the other end.

Source: statx(2).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.images.jobs import Where

__all__ = ["STATX_SIZE", "walk"]

STATX_SIZE = 256
_AT_FDCWD, _NOFOLLOW, _BASIC = -100, 0x100, 0x7FF
_MODE = 14
"""Where stx_mode is, counted in its own size."""
_ENTRIES, _LENGTH = 256, 64 << 10
"""How many entries a message has at most, and how long their names are together."""


def walk(where: Where, path: str, depth: int, follow: bool) -> Iterator[tuple[Any, Any]]:
    """The entries of a tree, each before what is in it, in the order of their names.

    Args:
        where: the worker.
        path: of its top.
        depth: how far down; 0 is the top alone, below 0 all.
        follow: if the top is a symbolic link, take what it leads to.

    Returns:
        Messages ``[paths, targets, failures]``, and as many struct statx as there are paths,
        which are relative to the top. Targets are those of symbolic links, as pairs of an index
        and a path; failures are pairs of a path and a reason.
    """
    return _Walk(where.kernel, path).run(depth, follow)


class _Walk:
    def __init__(self, kernel: Any, top: str) -> None:
        self.os = kernel.os
        self.call = kernel.syscall
        self.top = top.rstrip("/")
        room = memoryview(bytearray(_ENTRIES * STATX_SIZE))
        self.room = room
        self.slots = [room[at : at + STATX_SIZE] for at in range(0, len(room), STATX_SIZE)]
        self.modes = room.cast("H")
        self.clear()

    def clear(self) -> None:
        self.paths: list[str] = []
        self.targets: list[tuple[int, str]] = []
        self.failures: list[tuple[str, str | None]] = []
        self.length = 0

    def batch(self) -> tuple[Any, Any]:
        """What was found since the last one."""
        said = self.paths, self.targets, self.failures
        data = bytes(self.room[: len(self.paths) * STATX_SIZE])
        self.clear()
        return said, data

    def run(self, depth: int, follow: bool) -> Iterator[tuple[Any, Any]]:
        """All of it; not by functions that call each other, as trees may be deeper."""
        mode = self.entry("", self.top or "/", 0 if follow else _NOFOLLOW)
        ahead: list[Iterator[str]] = []
        above: list[str] = []
        if depth and stat.S_ISDIR(mode):
            self.enter("", ahead, above)
        while ahead:
            if len(self.paths) == _ENTRIES or self.length > _LENGTH:
                yield self.batch()
            name = next(ahead[-1], None)
            if name is None:
                ahead.pop()
                above.pop()
                continue
            rel = above[-1] + name
            try:
                mode = self.entry(rel, f"{self.top}/{rel}", _NOFOLLOW)
            except OSError as error:
                self.fail(rel, error)
                continue
            if stat.S_ISDIR(mode) and len(ahead) != depth:
                self.enter(rel, ahead, above)
        yield self.batch()

    def enter(self, rel: str, ahead: list[Iterator[str]], above: list[str]) -> None:
        try:
            names = self.os.listdir(f"{self.top}/{rel}" if rel else self.top or "/")
        except OSError as error:
            self.fail(rel, error)
        else:
            ahead.append(iter(sorted(names)))
            above.append(f"{rel}/" if rel else "")

    def fail(self, rel: str, error: OSError) -> None:
        self.failures.append((rel, error.strerror))
        self.length += len(rel)

    def entry(self, rel: str, path: str, flags: int) -> int:
        """Have one more; its mode."""
        at = len(self.paths)
        self.call("statx", _AT_FDCWD, path, flags, _BASIC, self.slots[at])
        mode: int = self.modes[at * (STATX_SIZE // 2) + _MODE]
        if stat.S_ISLNK(mode):
            target = self.os.readlink(path)
            self.targets.append((at, target))
            self.length += len(target)
        self.paths.append(rel)
        self.length += len(rel)
        return mode
