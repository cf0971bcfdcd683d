# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image stat``."""

from __future__ import annotations

import stat
from datetime import datetime

from rumpel.cli.image.common import Images, show, show_json
from rumpel.cli.image.how import AS_JSON, How
from rumpel.cli.image.ls import to_json
from rumpel.copying.source import xattr_names, xattr_values
from rumpel.options import Argument, Option

_KINDS = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}


PARAMS = (
    Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH..."),
    Option("-L", "follow", is_flag=True, help="Of what symbolic links lead to."),
    AS_JSON,
)


def run(how: How, names: tuple[str, ...], follow: bool, as_json: bool) -> None:
    """Tell all about files: also extended attributes.

    \b
    Example:
      rumpel image stat disk.img:/etc/passwd
    """
    every: list[dict[str, object]] = []
    with Images(how, copies=False) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                each = next(place.volume.walk(place.path, 0, follow=follow))
                os = place.volume.kernel.os
                there = xattr_names(os, place.path, follow_symlinks=follow)
                xattrs = dict(xattr_values(os, place.path, there, follow_symlinks=follow))
                if as_json:
                    texts = {name: value.hex() for name, value in xattrs.items()}
                    every.append({**to_json(place, each), "xattrs": texts})
                    continue
                arrow = f" -> {each.target}" if each.target is not None else ""
                show(f"  File: {place.path}{arrow}")
                kind = _KINDS.get(stat.S_IFMT(each.mode), "unknown")
                show(f"  Size: {each.size}  Blocks: {each.blocks}  {kind}")
                show(f" Inode: {each.inode}  Links: {each.links}")
                mode = f"{stat.S_IMODE(each.mode):04o}/{stat.filemode(each.mode)}"
                show(f"Access: ({mode})  Uid: {each.uid}  Gid: {each.gid}")
                for title, ns in (("Access", each.atime), ("Modify", each.mtime)):
                    show(f"{title}: {_when(ns)}")
                show(f"Change: {_when(each.ctime)}")
                for name, value in sorted(xattrs.items()):
                    show(f" Xattr: {name}={value!r}")
    if as_json:
        show_json(every)


def _when(ns: int) -> str:
    try:
        when = datetime.fromtimestamp(ns // 1_000_000_000).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"@{ns // 1_000_000_000}.{ns % 1_000_000_000:09d}"  # beyond the year 9999
    return f"{when:%Y-%m-%d %H:%M:%S}.{ns % 1_000_000_000:09d} {when:%z}"
