# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image tree``."""

from __future__ import annotations

import stat

import click

from rumpel.cli.image.clicked import Command, as_json, options
from rumpel.cli.image.common import Images, show, show_json
from rumpel.cli.image.how import How
from rumpel.cli.image.ls import to_json
from rumpel.images.found import Found


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION][:PATH]...")
@click.option("-L", "depth", type=click.IntRange(min=1), help="How far down.")
@as_json
def command(how: How, names: tuple[str, ...], depth: int | None, as_json: bool) -> None:
    """Show trees, as tree(1).

    \b
    Example:
      rumpel image tree -L 2 disk.img:2:/usr
    """
    every: list[dict[str, object]] = []
    with Images(how, copies=False) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                found = list(place.volume.walk(place.path, depth or -1, follow=True))
                if as_json:
                    every += [to_json(place, each) for each in found]
                else:
                    show(place.name)
                    _show(found)
    if as_json:
        show_json(every)


def _show(found: list[Found]) -> None:
    below: dict[str, list[Found]] = {}
    for each in found[1:]:
        below.setdefault(each.path.rpartition("/")[0], []).append(each)

    # As deep as file systems are, which is deeper than functions may call each other.
    ahead = _level(below, "", "")
    while ahead:
        each, branch, indent = ahead.pop()
        arrow = f" -> {each.target}" if each.target is not None else ""
        show(f"{branch}{each.path.rpartition('/')[2]}{arrow}")
        ahead += _level(below, each.path, indent)
    directories = sum(stat.S_ISDIR(each.mode) for each in found[1:])
    show()
    show(f"{directories} directories, {len(found) - 1 - directories} files")


def _level(below: dict[str, list[Found]], path: str, indent: str) -> list[tuple[Found, str, str]]:
    """The entries of a directory, the last first, how each begins, and how what is below does."""
    entries = list(reversed(below.get(path, [])))
    return [
        (each, f"{indent}├── ", f"{indent}│   ")
        if number
        else (each, f"{indent}└── ", f"{indent}    ")
        for number, each in enumerate(entries)
    ]
