# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image ln``."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from typing import Any

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images, Place
from rumpel.cli.image.how import How
from rumpel.images.locate import parse, parse_any


@click.command(cls=Command)
@options
@click.argument("target")
@click.argument("name", metavar="IMAGE[:PARTITION]:PATH")
@click.option("-s", "symbolic", is_flag=True, help="A symbolic link, to whatever TARGET says.")
@click.option("-f", "force", is_flag=True, help="Replace what is there.")
def command(how: How, target: str, name: str, symbolic: bool, force: bool) -> None:
    """Make a link; TARGET is a path in the image's file system, with the image's name or without.

    \b
    Example:
      rumpel image ln -s ../usr/lib/os-release disk.img:/etc/os-release
    """
    with Images(how, writes=True) as images, images.attempt(name):
        place = images.place(parse(name))
        os, path = place.volume.kernel.os, place.path
        if not symbolic:
            target = _within(images, target, place)
        if os.path.isdir(path) and not os.path.islink(path):
            path = posixpath.join(path, posixpath.basename(target.rstrip("/")))
        link = os.symlink if symbolic else os.link
        if not force:
            link(target, path)
        elif symbolic or not _is_same(os, target, path):
            # Beside it first: what is there goes only once there is something else.
            new = f"{path.rstrip('/')}.rumpel-new"
            link(target, new)
            try:
                os.rename(new, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(new)
                raise


def _within(images: Images, target: str, place: Place) -> str:
    """The path of what shall have one more name."""
    location = parse_any(target)
    if location is None:
        return target
    if not images.is_in(location, place.volume):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), target)
    return location.path or "/"


def _is_same(os: Any, target: str, path: str) -> bool:
    """Is it a link to that already? Renaming one to the other would do nothing."""
    if not os.path.lexists(path):
        return False
    one, other = os.lstat(target), os.lstat(path)
    return bool((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
