# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image untar``."""

from __future__ import annotations

import shutil
import sys
import tarfile
from contextlib import ExitStack

import click

from rumpel.cli.image.clicked import Command, options, owner, progress
from rumpel.cli.image.common import Images, bar
from rumpel.cli.image.cp import failed, said
from rumpel.cli.image.how import How
from rumpel.images.locate import parse


@click.command(cls=Command)
@options
@click.argument("archive")
@click.argument("name", metavar="IMAGE[:PARTITION][:PATH]")
@owner
@progress
def command(
    how: How, archive: str, name: str, owner: tuple[int, int] | None, progress: bool
) -> None:
    """Unpack a tar archive, compressed or not, into a directory of an image; - is stdin.

    \b
    Example:
      tar c . | rumpel image untar - disk.img:/srv
    """
    from rumpel.images.archive import read_tar

    with Images(how, writes=True) as images, bar(progress) as update, ExitStack() as stack:
        file = sys.stdin.buffer
        if archive != "-":
            with images.attempt(archive):
                file = stack.enter_context(open(archive, "rb"))
            if images.failed:
                return
        with images.attempt(name):
            place = images.place(parse(name))
            place.volume.kernel.os.makedirs(place.path, exist_ok=True)
            try:
                items = read_tar(file)
                options = {"owner": owner, "progress": update}
                copied = place.volume.write(items, place.path, archive, **options)  # type: ignore[arg-type]
                said(images, copied)
            except tarfile.TarError as error:
                images.complain(f"{archive}: {error}")
            except shutil.Error as error:
                failed(images, error)
