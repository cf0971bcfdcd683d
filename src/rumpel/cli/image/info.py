# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image info``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rumpel.cli.image.clicked import Command, as_json, options
from rumpel.cli.image.common import Images, show, show_json, size
from rumpel.cli.image.how import How
from rumpel.images.device import Device
from rumpel.images.locate import parse
from rumpel.images.session import Session
from rumpel.images.sources import header_of, is_url


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@as_json
def command(how: How, names: tuple[str, ...], as_json: bool) -> None:
    """Tell what images are: format, partition table, file systems, labels, UUIDs, features.

    \b
    Example:
      rumpel image info disk.img
    """
    every = []
    with Images(how, copies=False) as images:
        for name in names:
            with images.attempt(name):
                path = parse(name).image
                paths = how.paths(path)
                session = Session(paths, how.options(False, asks=False, copies=False))
                try:
                    devices = session.devices()
                finally:
                    session.close()
                every.append(
                    {
                        "image": session.name,
                        **_file(path, how.format),
                        "size": devices[0].size,
                        "table": devices[0].table,
                        "devices": _titled(devices, paths),
                    }
                )
    if as_json:
        show_json(every)
        return
    for told in every:
        _show(told)


def _file(path: str, format: str | None) -> dict[str, object]:
    """What there is to say of the file, if it is one."""
    if is_url(path):
        return {"format": "", "backing": "", "allocated": None}
    header = header_of(path, format)
    return {
        "format": header.format,
        "backing": header.backing,
        "allocated": Path(path).stat().st_blocks * 512,
    }


def _show(told: dict[str, object]) -> None:
    what = [] if told["format"] in ("", "raw") else [str(told["format"])]
    what.append(size(int(str(told["size"])), True))
    if told["allocated"] is not None:
        what.append(f"{size(int(str(told['allocated'])), True)} on disk")
    if told["backing"]:
        what.append(f"over {told['backing']}")
    show(f"{told['image']}: {', '.join(what)}, {told['table'] or 'no'} partition table")
    devices = told["devices"]
    assert isinstance(devices, list)
    titles = ["number", "start", "size", "type", "label", "UUID", "partition label"]
    table = [titles]
    for each, depth in _nested(devices):
        is_part = each["number"] and not each["volume"]
        start = str(each["start"]) if is_part or not depth else "-"
        where = ["  " * depth + each["title"], start, size(each["size"], True)]
        what = [each[field] or "-" for field in ("kind", "label", "uuid", "part_label")]
        table.append([*where, *what])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        show("  " + "  ".join(cells).rstrip())
    for each in devices:
        if each["features"]:
            show(f"  features of {each['title']}: {each['features']}")
        if each["problem"]:
            show(f"  {each['title']}: {each['problem']}")


def _nested(devices: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
    """The devices, each below the first that it is made of, and how deep that is."""

    def above(name: str, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
        for each in devices:
            if each["name"] and [*each["below"], ""][0] == name:
                # Of a disk with partitions these are shown.
                if name or each["number"] or not each["table"]:
                    yield each, depth
                yield from above(each["name"], depth + 1)

    yield from above("", 0)


def _titled(devices: list[Device], paths: list[str]) -> list[dict[str, Any]]:
    """What is told of each; of several disks with their names."""
    every, names = [], iter(paths)
    name = ""
    for each in devices:
        title = each.title
        if len(paths) > 1 and each.name and not each.volume:
            if not each.number:
                name = Path(next(names, "")).name
            title = f"{name}{each.suffix}"
        every.append({**each._asdict(), "title": title})
    return every
