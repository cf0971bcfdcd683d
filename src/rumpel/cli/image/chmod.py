# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image chmod``."""

from __future__ import annotations

import stat

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.cli.image.modes import change


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@options
@click.argument("mode")
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH...")
@click.option("-R", "recursive", is_flag=True, help="All that is below, too.")
def command(how: How, mode: str, names: tuple[str, ...], recursive: bool) -> None:
    """Change modes: octal, or such as u+x,go-w.

    \b
    Example:
      rumpel image chmod u+x,go-w disk.img:/usr/local/bin/tool
    """
    change(mode, 0, False)
    with Images(how, writes=True) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                os, top = place.volume.kernel.os, place.path.rstrip("/")
                depth = -1 if recursive else 0
                for each in list(place.volume.walk(place.path, depth, follow=not recursive)):
                    if not stat.S_ISLNK(each.mode):
                        path = f"{top}/{each.path}" if each.path else place.path
                        os.chmod(path, change(mode, each.mode, stat.S_ISDIR(each.mode)))
