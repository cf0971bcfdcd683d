# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image ln``."""

from __future__ import annotations

import contextlib
import posixpath

import click

from rumpel.cli.image.common import How, Images, options
from rumpel.images.locate import parse


@click.command()
@options
@click.argument("target")
@click.argument("name", metavar="IMAGE[:PARTITION]:PATH")
@click.option("-s", "symbolic", is_flag=True, help="A symbolic link, to whatever TARGET says.")
@click.option("-f", "force", is_flag=True, help="Replace what is there.")
def command(how: How, target: str, name: str, symbolic: bool, force: bool) -> None:
    """Make a link; TARGET is a path in the image's file system.

    \b
    Example:
      rumpel image ln -s ../usr/lib/os-release disk.img:/etc/os-release
    """
    with Images(how, writes=True) as images, images.attempt(name):
        place = images.place(parse(name))
        os, path = place.volume.kernel.os, place.path
        if os.path.isdir(path) and not os.path.islink(path):
            path = posixpath.join(path, posixpath.basename(target.rstrip("/")))
        if force:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        (os.symlink if symbolic else os.link)(target, path)
