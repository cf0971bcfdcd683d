# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image ls``."""

from __future__ import annotations

import os
import stat
import time

from rumpel.cli.image.common import Images, Place, show, show_all, show_json, size
from rumpel.cli.image.how import AS_JSON, How
from rumpel.images.found import Found
from rumpel.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMS = (
    Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION][:PATH]..."),
    Option("-l", "long", is_flag=True, help="Modes, owners, sizes and times as well."),
    Option("-a", "hidden", is_flag=True, help="Names that begin with a dot as well."),
    Option("-d", "directory", is_flag=True, help="Directories themselves, not their entries."),
    Option("-R", "recursive", is_flag=True, help="All that is below."),
    Option("-h", "human", is_flag=True, help="Sizes with units."),
    Option("-i", "inode", is_flag=True, help="Numbers of inodes."),
    AS_JSON,
)


def run(
    how: How,
    names: tuple[str, ...],
    long: bool,
    hidden: bool,
    directory: bool,
    recursive: bool,
    human: bool,
    inode: bool,
    as_json: bool,
) -> None:
    """List directories of images.

    \b
    Example:
      rumpel image ls -l disk.img:LABEL=root:/etc
    """
    with Images(how, copies=False) as images:
        places = list(images.places(names))
        if as_json:
            every: list[dict[str, object]] = []
            depth = 0 if directory else -1 if recursive else 1
            for place in places:
                with images.attempt(place.name):
                    found = list(place.volume.walk(place.path, depth, follow=not directory))
                    every += [to_json(place, each) for each in _chosen(found, hidden, directory)]
            show_json(every)
            return
        # As everywhere: first what is no directory, without a heading.
        rows, rest = [], []
        for place in places:
            with images.attempt(place.name):
                top = _top(place, follow=not directory)
                if directory or not stat.S_ISDIR(top.mode):
                    rows.append(_row(place.path, top, long, human, inode))
                else:
                    rest.append(place)
        _show(rows)
        for number, place in enumerate(rest):
            with images.attempt(place.name):
                found = list(place.volume.walk(place.path, -1 if recursive else 1, follow=True))
                if len(places) > 1:
                    if number or rows:
                        show()
                    show(f"{place.name}:")
                _tree(place, found, recursive, hidden, long, human, inode)


def _top(place: Place, follow: bool) -> Found:
    """What a name leads to; of a symbolic link that leads nowhere itself."""
    try:
        return next(iter(list(place.volume.walk(place.path, 0, follow=follow))))
    except FileNotFoundError:
        if not follow:
            raise
        return _top(place, follow=False)


def _tree(place: Place, found: list[Found], recursive: bool, hidden: bool, *how: bool) -> None:
    """What is in a directory, or in all that are below it too."""
    for rel, entries in _groups(found, recursive):
        if not hidden and any(part.startswith(".") for part in rel.split("/")):
            continue
        if recursive:
            if rel:
                show()
            show(f"{place.path.rstrip('/')}/{rel}:" if rel else f"{place.path}:")
        chosen = [each for each in entries if hidden or not _is_hidden(each)]
        _show([_row(place.path, each, *how) for each in chosen])


def _chosen(found: list[Found], hidden: bool, directory: bool) -> list[Found]:
    """What is listed: not the directory itself, unless that is asked for."""
    if directory or not stat.S_ISDIR(found[0].mode):
        return found[:1]
    return [each for each in found[1:] if hidden or not _is_hidden(each)]


def _is_hidden(entry: Found) -> bool:
    return entry.path.rpartition("/")[2].startswith(".")


def _groups(found: list[Found], recursive: bool) -> list[tuple[str, list[Found]]]:
    if not recursive:
        return [("", found[1:])]
    below: dict[str, list[Found]] = {each.path: [] for each in found if stat.S_ISDIR(each.mode)}
    for each in found[1:]:
        below[each.path.rpartition("/")[0]].append(each)
    return list(below.items())


def _show(rows: Sequence[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(" ".join([*cells, row[-1]]))
    show_all(lines)


def _row(top: str, each: Found, long: bool, human: bool, inode: bool) -> list[str]:
    row = [str(each.inode)] if inode else []
    name = each.path.rpartition("/")[2] or top
    if not long:
        return [*row, name]
    length = size(each.size, human)
    if stat.S_ISCHR(each.mode) or stat.S_ISBLK(each.mode):
        length = f"{os.major(each.rdev)},{os.minor(each.rdev)}"
    when = _when(each.mtime)
    arrow = f" -> {each.target}" if each.target is not None else ""
    links, user, group = str(each.links), str(each.uid), str(each.gid)
    return [*row, stat.filemode(each.mode), links, user, group, length, when, name + arrow]


def _when(ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return f"@{ns // 1_000_000_000}"  # a year that the C library does not know


def to_json(place: Place, each: Found) -> dict[str, object]:
    """An entry for programs."""
    path = f"{place.path.rstrip('/')}/{each.path}".rstrip("/") or "/"
    row = {"path": path, **each._asdict(), "mode": oct(each.mode)}
    return {**row, "path": path}
