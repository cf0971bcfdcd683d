# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image tar``."""

from __future__ import annotations

import posixpath
import sys
from contextlib import nullcontext

import click

from rumpel.cli.image.clicked import Command, exclude, options
from rumpel.cli.image.common import Images
from rumpel.cli.image.how import How
from rumpel.images.locate import parse

_COMPRESSIONS = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz", ".txz": "xz"}
_COMPRESSIONS |= {".zst": "zst", ".tzst": "zst"}


@click.command(cls=Command)
@options
@click.argument("name", metavar="IMAGE[:PARTITION][:PATH]")
@click.argument("archive", default="-")
@exclude
def command(how: How, name: str, archive: str, exclude: tuple[str, ...]) -> None:
    """Write a tree as a tar archive, to stdout or a file; its name says how it is compressed.

    \b
    Example:
      rumpel image tar disk.img:/etc | tar tv
    """
    from rumpel.images.archive import write_tar

    suffix = posixpath.splitext(archive)[1]
    if archive != "-" and suffix not in ("", ".tar", *_COMPRESSIONS):
        known = ", ".join((".tar", *_COMPRESSIONS))
        raise click.UsageError(f"{archive}: {suffix} is no archive that is known: {known}")
    compression = "" if archive == "-" else _COMPRESSIONS.get(suffix, "")
    if archive == "-" and sys.stdout.isatty():
        raise click.UsageError("an archive is nothing for a terminal")
    with Images(how) as images, images.attempt(name):
        place = images.place(parse(name))
        items = place.volume.items(place.path, exclude=exclude, follow=True)
        with nullcontext(sys.stdout.buffer) if archive == "-" else open(archive, "wb") as file:
            top = posixpath.basename(place.path.rstrip("/"))
            for path, why in write_tar(items, file, compression, top):
                images.complain(f"{place.name.rstrip('/')}/{path}: {why}")
            file.flush()
