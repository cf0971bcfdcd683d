# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image chown``."""

from __future__ import annotations

from typing import Any

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.images.volume import Volume


@click.command(cls=Command)
@options
@click.argument("owner", metavar="[USER][:GROUP]")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH...")
@click.option("-R", "recursive", is_flag=True, help="All that is below, too.")
@click.option("-h", "link", is_flag=True, help="Symbolic links themselves.")
def command(how: How, owner: str, names: tuple[str, ...], recursive: bool, link: bool) -> None:
    """Change owners: numbers, or names of the image's own /etc/passwd and /etc/group.

    \b
    Example:
      rumpel image chown -R www-data:www-data disk.img:/srv
    """
    with Images(how, writes=True) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                user, group = _ids(place.volume, owner)
                os, top = place.volume.kernel.os, place.path.rstrip("/")
                follow = not (link or recursive)
                walk = place.volume.walk(place.path, -1 if recursive else 0, follow=follow)
                for each in list(walk):
                    path = f"{top}/{each.path}" if each.path else place.path
                    os.chown(path, user, group, follow_symlinks=follow)


def _ids(volume: Volume, owner: str) -> tuple[int, int]:
    user, _, group = owner.partition(":")
    kernel = volume.kernel
    return (
        _id(user, lambda: kernel.pwd.getpwnam(user).pw_uid, "user"),
        _id(group, lambda: kernel.grp.getgrnam(group).gr_gid, "group"),
    )


def _id(name: str, look_up: Any, what: str) -> int:
    if not name:
        return -1
    if name.isdecimal():
        return int(name)
    try:
        return int(look_up())
    except (KeyError, OSError):
        raise click.BadParameter(f"the image has no {what} {name!r}") from None
