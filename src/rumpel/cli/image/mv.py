# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mv``."""

from __future__ import annotations

import posixpath

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.images.locate import parse


@click.command(cls=Command)
@options
@click.argument("sources", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH...")
@click.argument("target", metavar="IMAGE[:PARTITION]:PATH")
def command(how: How, sources: tuple[str, ...], target: str) -> None:
    """Rename or move files and directories within a file system.

    \b
    Example:
      rumpel image mv disk.img:/etc/hosts.new disk.img:/etc/hosts
    """
    with Images(how, writes=True) as images:
        to = images.place(parse(target))
        os = to.volume.kernel.os
        into = os.path.isdir(to.path)
        if len(sources) > 1 and not into:
            images.complain(f"{target}: is no directory")
            return
        for source in sources:
            with images.attempt(source):
                if not images.is_in(parse(source), to.volume):
                    images.complain(f"{source}: another file system than {target}: use cp")
                    continue
                for place in images.places([source]):
                    name = posixpath.basename(place.path.rstrip("/"))
                    final = posixpath.join(to.path, name) if into else to.path
                    try:
                        os.rename(place.path, final)
                    except OSError as error:
                        images.complain(f"{place.name}: to {final}: {error.strerror}")
