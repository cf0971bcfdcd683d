# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image resize``."""

from __future__ import annotations

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images, show, size
from rumpel.cli.image.how import How
from rumpel.images.locate import parse
from rumpel.sizes import to_bytes


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@options
@click.argument("name", metavar="IMAGE[:PARTITION]")
@click.argument("new", metavar="[+|-]SIZE")
def command(how: How, name: str, new: str) -> None:
    """Change the size of an image, and with it of its last partition and its file system.

    ext2, ext3, ext4, XFS and btrfs can grow; all but XFS can shrink, for which there must be
    room for a copy of the image. If anything goes wrong all is there, and can be mounted.
    SIZE is that of the disk, also of a qcow2, VMDK, VHD, VHDX or VDI.

    \b
    Example:
      rumpel image resize disk.img +2G
    """
    from rumpel.images.resize import resize

    if how.overlay or how.disks or how.read_only:
        raise click.UsageError("--overlay, --disk and --read-only make no sense here")
    location = parse(name)
    with Images(how) as images, images.attempt(name):
        sign = new[:1] if new[:1] in "+-" else ""
        try:
            value = to_bytes(new.removeprefix(sign))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="SIZE") from None
        if not value and not sign:
            raise click.BadParameter("nothing would be left", param_hint="SIZE")
        change = -value if sign == "-" else value
        args = location.image, location.partition, change, how.options(True)
        file, inside = resize(*args, relative=bool(sign))
        show(f"{location.image}: {size(file, True)}, its file system {size(inside, True)}")
