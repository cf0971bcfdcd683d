# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image df``."""

from __future__ import annotations

from rumpel.cli.image.common import Images, show, show_json, size
from rumpel.cli.image.how import AS_JSON, How
from rumpel.images.locate import parse
from rumpel.images.volume import Volume
from rumpel.options import Argument, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PARAMS = (
    Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]..."),
    Option("-h", "human", is_flag=True, help="Sizes with units."),
    Option("-i", "inodes", is_flag=True, help="Inodes instead of bytes."),
    AS_JSON,
)


def run(how: How, names: tuple[str, ...], human: bool, inodes: bool, as_json: bool) -> None:
    """Tell how full file systems are, in bytes: of an image with several, all of them.

    \b
    Example:
      rumpel image df -h disk.img:2 other.img
    """
    rows: list[dict[str, Any]] = []
    with Images(how, copies=False) as images:
        for name in names:
            with images.attempt(name):
                rows += [_row(volume) for volume in images.each(parse(name))]
        if as_json:
            show_json(rows)
            return
        if not rows:
            return
        fields = (
            ("inodes", "inodes_used", "inodes_free") if inodes else ("size", "used", "available")
        )
        table = [["image", "type", *fields, "use%"]]
        for row in rows:
            whole, used, free = (int(row[field]) for field in fields)
            share = f"{-(-100 * used // (used + free))}%" if used + free else "-"
            cells = [size(number, human) for number in (whole, used, free)]
            table.append([str(row["image"]), str(row["type"]), *cells, share])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            left = [cell.ljust(width) for cell, width in zip(line[:2], widths, strict=False)]
            right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
            show(" ".join([*left, *right]))


def _row(volume: Volume) -> dict[str, Any]:
    told = volume.kernel.os.statvfs("/")
    return {
        "image": volume.name,
        "type": volume.device.kind,
        "size": told.f_blocks * told.f_frsize,
        "used": (told.f_blocks - told.f_bfree) * told.f_frsize,
        "available": told.f_bavail * told.f_frsize,
        "inodes": told.f_files,
        "inodes_used": told.f_files - told.f_ffree,
        "inodes_free": told.f_ffree,
    }
