# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image commit``."""

from __future__ import annotations

import click


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False))
@click.argument("overlay", type=click.Path(exists=True, dir_okay=False))
def command(image: str, overlay: str) -> None:
    """Put what was written to OVERLAY (--overlay) into IMAGE; the overlay is empty then."""
    from rumpel.devices import Overlay

    disk = Overlay(image, overlay)
    disk.commit()
    disk.close()
