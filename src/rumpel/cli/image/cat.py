# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image cat``."""

from __future__ import annotations

from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.cli.terminal import flush, write
from rumpel.options import Argument

PARAMS = (Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH..."),)


def run(how: How, names: tuple[str, ...]) -> None:
    """Print files of images, one after the other.

    \b
    Example:
      rumpel image cat 'disk.img:/etc/*-release'
    """
    with Images(how, copies=False) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                for data in place.volume.content(place.path, lend=True):
                    write(data)
        flush()
