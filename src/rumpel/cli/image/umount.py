# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image umount``."""

from __future__ import annotations

import os

import click


@click.command()
@click.argument("directory")
def command(directory: str) -> None:
    """Unmount what is mounted with rumpel image mount, and wait until all is in the image.

    fusermount3 -u and umount do not wait for that.

    \b
    Example:
      rumpel image umount mnt
    """
    from rumpel.images.fuse.mount import unmount

    unmount(os.path.abspath(directory))  # noqa: PTH100
