# SPDX-License-Identifier: GPL-2.0-only
"""Compare a tree with Debian's source of the same version."""

from __future__ import annotations

import filecmp
from pathlib import Path

from rumpel.build.layout import Layout
from rumpel.build.pin import Source, makefile_release, pinned
from rumpel.build.tree import ARCH, walk


def differs(layout: Layout, source: Source) -> bool | None:
    """Does a source differ from Debian's? None if Debian's is not in the cache.

    Files of the same size and time are taken as equal, as rsync does; all
    others are read. ``verify`` reads all of them.
    """
    branch = ".".join(makefile_release(source.tree).split(".")[:2])
    known = pinned(layout, branch)
    if known is None or not known.tree.is_dir():
        return None
    if known.identity == source.identity:
        return False
    return not same(known.tree, source.tree)


def same(one: Path, other: Path) -> bool:
    """Do two trees hold the same files, but for the port?"""
    port = f"arch/{ARCH}/"
    names = {n for n, _ in walk(one) if not n.startswith(port)}
    if names != {n for n, _ in walk(other) if not n.startswith(port)}:
        return False
    return all(_same_file(one / n, other / n) for n in names)


def _same_file(a: Path, b: Path) -> bool:
    if a.is_symlink() or b.is_symlink():
        return a.is_symlink() and b.is_symlink() and a.readlink() == b.readlink()
    x, y = a.stat(), b.stat()
    if x.st_size != y.st_size:
        return False
    return x.st_mtime_ns == y.st_mtime_ns or filecmp.cmp(a, b, shallow=False)
