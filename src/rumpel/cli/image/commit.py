# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image commit``."""

from __future__ import annotations

import errno

import click


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.argument("overlay", type=click.Path(exists=True, dir_okay=False))
@click.option("--format", metavar="FORMAT", help="Of the image; by default what its content says.")
@click.option("--backing", is_flag=True, help="Let it name files in other directories.")
def command(image: str, overlay: str, format: str | None, backing: bool) -> None:
    """Put what was written to OVERLAY (--overlay) into IMAGE; the overlay is empty then.

    \b
    Example:
      rumpel image commit disk.img changes.qcow2
    """
    from rumpel.images.commit import commit
    from rumpel.images.errors import ImageError
    from rumpel.images.locks import in_use

    try:
        commit(image, overlay, format, backing)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise ImageError(image, in_use(image)) from None
