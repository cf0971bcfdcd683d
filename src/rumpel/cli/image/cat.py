# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image cat``."""

from __future__ import annotations

import sys

from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.options import Argument

PARAMS = (Argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]:PATH..."),)


def run(how: How, names: tuple[str, ...]) -> None:
    """Print files of images, one after the other.

    \b
    Example:
      rumpel image cat 'disk.img:/etc/*-release'
    """
    out = sys.stdout.buffer
    with Images(how) as images:
        for place in images.places(names):
            with images.attempt(place.name):
                for data in place.volume.content(place.path, lend=True):
                    out.write(data)
        out.flush()
