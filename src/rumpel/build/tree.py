# SPDX-License-Identifier: GPL-2.0-only
"""The composed tree: a source that is never written to, plus ``arch/rumpel``.

A directory of symbolic links stands in for the source. Only ``arch`` is real,
its entries again links, so that one more can lie beside them: a copy of the
port, at a path that does not depend on where the checkout is, so that two
checkouts share objects and compiler cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from rumpel.build.layout import Layout, make_dir

ARCH = "rumpel"
NOT_SOURCE = {".git"}


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files and links below a directory as (relative path, entry), in order.

    Links are not followed, but for ``root`` itself.
    """
    stack = [""]
    while stack:
        at = stack.pop()
        with os.scandir(root / at) as entries:
            found = sorted(entries, key=lambda e: e.name)
        for entry in found:
            name = f"{at}/{entry.name}" if at else entry.name
            if name in NOT_SOURCE:
                continue
            if entry.is_dir(follow_symlinks=False):
                stack.append(name)
            else:
                yield name, entry


def manifest(root: Path) -> str:
    """Hash of the path, size and modification time of every file: finds edits, reads none."""
    digest = sha256()
    for name, entry in walk(root):
        st = entry.stat(follow_symlinks=False)
        digest.update(f"{name}\0{st.st_size}\0{st.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def compose(layout: Layout, source: Path, home: Path) -> Path:
    """Bring ``home/tree`` up to date and return it.

    The port finds the header that it shares with the host as it does in a
    checkout: in ``../../../include`` of its own directory.
    """
    tree = make_dir(home / "tree")
    arch = make_dir(tree / "arch")
    _link_all(source, tree, keep={"arch"}, leave_out=NOT_SOURCE)
    _link_all(source / "arch", arch, keep={ARCH}, leave_out={ARCH})
    # A copy, not a link: "../.." in the port has to lead into the tree.
    sync(layout.port, arch / ARCH)
    header = home / "include/rumpel"
    make_dir(header)
    if layout.host_ops.exists():
        _copy_if_different(layout.host_ops, header / layout.host_ops.name)
    return tree


def sync(origin: Path, copy: Path) -> None:
    """Make ``copy`` equal to ``origin``; files that are equal keep their times."""
    make_dir(copy)
    wanted = set()
    for name, _ in walk(origin):
        wanted.add(name)
        make_dir((copy / name).parent)
        _copy_if_different(origin / name, copy / name)
    for name, _ in list(walk(copy)):
        if name not in wanted:
            (copy / name).unlink()


def _copy_if_different(origin: Path, copy: Path) -> None:
    # Finding an image, which every boot does, needs none of these.
    import filecmp
    import shutil

    if copy.exists() and filecmp.cmp(origin, copy, shallow=False):
        return
    part = copy.with_name(copy.name + ".part")
    shutil.copyfile(origin, part)
    shutil.copymode(origin, part)
    part.replace(copy)


def _link_all(source: Path, into: Path, keep: set[str], leave_out: set[str]) -> None:
    wanted = {x.name for x in os.scandir(source)} - keep - leave_out
    for name in wanted:
        _link(source / name, into / name)
    for entry in list(os.scandir(into)):
        if entry.name not in wanted | keep:
            Path(entry.path).unlink()


def _link(target: Path, link: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
