# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mkdir``."""

from __future__ import annotations

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.cli.image.modes import change
from rumpel.images.locate import parse


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH...")
@click.option("-p", "parents", is_flag=True, help="Those above as well; they may be there.")
@click.option("-m", "mode", default="755", show_default=True, help="Mode, octal or as of chmod.")
def command(how: How, names: tuple[str, ...], parents: bool, mode: str) -> None:
    """Make directories.

    \b
    Example:
      rumpel image mkdir -p -m 750 disk.img:/srv/data
    """
    bits = change(mode, 0o777, True)
    with Images(how, writes=True) as images:
        for name in names:
            with images.attempt(name):
                place = images.place(parse(name))
                os = place.volume.kernel.os
                if parents:
                    if os.path.isdir(place.path):
                        continue
                    os.makedirs(place.path)
                else:
                    os.mkdir(place.path)
                os.chmod(place.path, bits)
