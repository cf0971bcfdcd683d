# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image rm``."""

from __future__ import annotations

import posixpath

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH...")
@click.option("-r", "-R", "recursive", is_flag=True, help="Directories, with all in them.")
@click.option("-f", "force", is_flag=True, help="No complaint if there is none.")
@click.option("-d", "empty", is_flag=True, help="Empty directories.")
def command(how: How, names: tuple[str, ...], recursive: bool, force: bool, empty: bool) -> None:
    """Remove files and trees.

    \b
    Example:
      rumpel image rm -r disk.img:/var/tmp/build
    """
    with Images(how, writes=True) as images:
        for place in images.places(names, may_be_none=force):
            os = place.volume.kernel.os
            if posixpath.normpath(place.path) in ("/", "//"):
                images.complain(f"{place.name}: the root of a file system is not removed")
                continue
            if force and not os.path.lexists(place.path):
                continue
            with images.attempt(place.name):
                if recursive:
                    place.volume.remove(place.path)
                elif empty and os.path.isdir(place.path) and not os.path.islink(place.path):
                    os.rmdir(place.path)
                else:
                    os.unlink(place.path)
