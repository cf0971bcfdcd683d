# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel demo``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from rumpel.build import DEFAULT_PROFILE, DEFAULT_VERSION, ensure_image
from rumpel.build.progress import for_stream


@click.command()
@click.option(
    "--kernel",
    "--version",
    "version",
    default=DEFAULT_VERSION,
    show_default=True,
    help="Which Linux.",
)
@click.option("--profile", "-p", default=DEFAULT_PROFILE, show_default=True, help="Its profile.")
@click.option(
    "--tree",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="/usr/share/doc",
    show_default=True,
    help="Files for the ext4 image.",
)
@click.option(
    "--megabytes",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="What two kernels exchange, in megabytes.",
)
def command(version: str, profile: str, tree: Path, megabytes: int) -> None:
    """Build a kernel if there is none yet, and show what it can do.

    Everything is done on real input and checked: files of an ext4 image, pages of a
    web server on this machine, data between two kernels. It needs no privilege.

    \b
    Example:
      rumpel demo --tree /usr/include --megabytes 100
    """
    image = ensure_image(version, profile, progress=for_stream())
    from rumpel.demo import run

    run(image.path, tree, megabytes * 1_000_000, Console())
