# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image du``."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

import click

from rumpel.cli.image.clicked import Command, as_json, options
from rumpel.cli.image.common import Images, show, show_json, size
from rumpel.cli.image.how import How


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION][:PATH]...")
@click.option("-s", "summary", is_flag=True, help="Only of the arguments.")
@click.option("-a", "files", is_flag=True, help="Of files, too.")
@click.option("-h", "human", is_flag=True, help="Sizes with units.")
@click.option("--apparent-size", is_flag=True, help="Lengths instead of room on the disk.")
@as_json
def command(
    how: How,
    names: tuple[str, ...],
    summary: bool,
    files: bool,
    human: bool,
    apparent_size: bool,
    as_json: bool,
) -> None:
    """Tell what takes room, in bytes. Files with several names count once.

    \b
    Example:
      rumpel image du -h disk.img:/var
    """
    rows: list[dict[str, object]] = []
    with Images(how, copies=False) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                totals: dict[str, int] = {}
                shown: list[str] = []
                seen: set[tuple[int, int]] = set()
                for each in place.volume.walk(place.path, follow=True):
                    is_directory = stat.S_ISDIR(each.mode)
                    if each.links > 1 and not is_directory:
                        if (each.device, each.inode) in seen:
                            continue
                        seen.add((each.device, each.inode))
                    room = each.size if apparent_size else each.blocks * 512
                    totals.setdefault(each.path, 0)
                    if not each.path or (not summary and (is_directory or files)):
                        shown.append(each.path)
                    path = each.path
                    totals[path] += room
                    while path:
                        path = path.rpartition("/")[0]
                        totals[path] += room
                top = place.path.rstrip("/")
                for path in _after_what_is_below(shown):
                    full = f"{top}/{path}" if path else place.path
                    rows.append({"path": full, "bytes": totals[path]})
    if as_json:
        show_json(rows)
        return
    for row in rows:
        show(f"{size(int(str(row['bytes'])), human)}\t{row['path']}")


def _after_what_is_below(paths: Sequence[str]) -> Iterator[str]:
    """Paths of a tree of which each came before what is below it, the other way round."""
    above: list[str] = []
    for path in paths:
        while above and above[-1] and not path.startswith(f"{above[-1]}/"):
            yield above.pop()
        above.append(path)
    yield from reversed(above)
