# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image trim``."""

from __future__ import annotations

import os
import struct

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.images.locate import parse
from rumpel.images.volume import Volume

_FITRIM = 0xC0185879


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]...")
def command(how: How, names: tuple[str, ...]) -> None:
    """Give unused room back to the host, as fstrim: the image's file gets holes.

    Of an image with several file systems all are trimmed.

    \b
    Example:
      rumpel image trim disk.img:2
    """
    with Images(how, writes=True) as images:
        for name in names:
            with images.attempt(name):
                for volume in images.each(parse(name)):
                    with images.attempt(volume.name):
                        click.echo(f"{volume.name}: {_trimmed(volume)} bytes trimmed")


def _trimmed(volume: Volume) -> int:
    """Trim it; how many bytes."""
    kernel = volume.kernel
    fd = kernel.os.open("/", os.O_RDONLY)
    try:
        given = bytearray(struct.pack("QQQ", 0, (1 << 64) - 1, 0))
        kernel.syscall("ioctl", fd, _FITRIM, given)
    finally:
        kernel.os.close(fd)
    freed: int = struct.unpack("QQQ", given)[1]
    return freed
