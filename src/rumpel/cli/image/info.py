# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image info``."""

from __future__ import annotations

from pathlib import Path

import click

from rumpel.cli.image.common import How, Images, as_json, options, show, show_json, size
from rumpel.images.locate import parse
from rumpel.images.session import Session


@click.command()
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@as_json
def command(how: How, names: tuple[str, ...], as_json: bool) -> None:
    """Tell what is in images: partition table, file systems, labels, UUIDs and sizes."""
    every = []
    with Images(how) as images:
        for name in names:
            with images.attempt(name):
                path = parse(name).image
                session = Session([path, *how.disks], how.options(False))
                try:
                    devices = session.devices()
                finally:
                    session.close()
                status = Path(path).stat()
                every.append(
                    {
                        "image": path,
                        "size": devices[0].size,
                        "allocated": status.st_blocks * 512,
                        "table": devices[0].table,
                        "devices": [each._asdict() for each in devices],
                    }
                )
    if as_json:
        show_json(every)
        return
    for told in every:
        _show(told)


def _show(told: dict[str, object]) -> None:
    room = (
        f"{size(int(str(told['size'])), True)}, {size(int(str(told['allocated'])), True)} on disk"
    )
    show(f"{told['image']}: {room}, {told['table'] or 'no'} partition table")
    devices = told["devices"]
    assert isinstance(devices, list)
    titles = ["number", "start", "size", "type", "label", "UUID", "partition label"]
    table = [titles]
    for each in devices:
        if not each["number"] and told["table"]:
            continue
        where = [str(each["number"]), str(each["start"]), size(each["size"], True)]
        what = [each[field] or "-" for field in ("kind", "label", "uuid", "part_label")]
        table.append([*where, *what])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        show("  " + "  ".join(cells).rstrip())
