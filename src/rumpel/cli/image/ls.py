# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image ls``."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence

import click

from rumpel.cli.image.common import How, Images, Place, as_json, options, show, show_json, size
from rumpel.images.volume import Found


@click.command()
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION][:PATH]...")
@click.option("-l", "long", is_flag=True, help="Modes, owners, sizes and times as well.")
@click.option("-a", "hidden", is_flag=True, help="Names that begin with a dot as well.")
@click.option("-d", "directory", is_flag=True, help="Directories themselves, not their entries.")
@click.option("-R", "recursive", is_flag=True, help="All that is below.")
@click.option("-h", "human", is_flag=True, help="Sizes with units.")
@click.option("-i", "inode", is_flag=True, help="Numbers of inodes.")
@as_json
def command(
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
    every: list[dict[str, object]] = []
    with Images(how) as images:
        places = list(images.places(names))
        for number, place in enumerate(places):
            with images.attempt(place.name):
                depth = 0 if directory else -1 if recursive else 1
                found = list(place.volume.walk(place.path, depth, follow=not directory))
                if as_json:
                    every += [to_json(place, each) for each in _chosen(found, hidden)]
                    continue
                if len(places) > 1:
                    show(f"{chr(10) if number else ''}{place.name}:")
                for title, entries in _groups(found, recursive):
                    if recursive:
                        show(f"{title}:")
                    chosen = [e for e in entries if hidden or not _is_hidden(e)]
                    _list(place.path, chosen, long, human, inode)
    if as_json:
        show_json(every)


def _chosen(found: list[Found], hidden: bool) -> list[Found]:
    """What is listed: not the directory itself."""
    rest = found[1:] if len(found) > 1 or stat.S_ISDIR(found[0].mode) else found
    return [each for each in rest if hidden or not _is_hidden(each)]


def _is_hidden(entry: Found) -> bool:
    return entry.path.rpartition("/")[2].startswith(".")


def _groups(found: list[Found], recursive: bool) -> list[tuple[str, list[Found]]]:
    if not recursive:
        return [("", _chosen(found, True))]
    below: dict[str, list[Found]] = {each.path: [] for each in found if stat.S_ISDIR(each.mode)}
    for each in found[1:]:
        below[each.path.rpartition("/")[0]].append(each)
    return [(f"/{path}", entries) for path, entries in below.items()]


def _list(top: str, entries: Sequence[Found], long: bool, human: bool, inode: bool) -> None:
    rows = [_row(top, each, long, human, inode) for each in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
        show(" ".join([*cells, row[-1]]))


def _row(top: str, each: Found, long: bool, human: bool, inode: bool) -> list[str]:
    row = [str(each.inode)] if inode else []
    name = each.path.rpartition("/")[2] or top
    if not long:
        return [*row, name]
    length = size(each.size, human)
    if stat.S_ISCHR(each.mode) or stat.S_ISBLK(each.mode):
        length = f"{os.major(each.rdev)},{os.minor(each.rdev)}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.mtime / 1e9))
    arrow = f" -> {each.target}" if each.target is not None else ""
    links, user, group = str(each.links), str(each.uid), str(each.gid)
    return [*row, stat.filemode(each.mode), links, user, group, length, when, name + arrow]


def to_json(place: Place, each: Found) -> dict[str, object]:
    """An entry for programs."""
    path = f"{place.path.rstrip('/')}/{each.path}".rstrip("/") or "/"
    row = {"path": path, **each._asdict(), "mode": oct(each.mode)}
    return {**row, "path": path}
