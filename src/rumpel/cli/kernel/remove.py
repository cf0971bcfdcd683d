# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel remove``."""

from __future__ import annotations

import click

from rumpel.build import remove_image
from rumpel.cli.kernel.common import as_json, describe, print_json, select, selectors
from rumpel.errors import BuildError


@click.command()
@selectors
@as_json
def command(which: str | None, profile: str | None, config: tuple[str, ...], as_json: bool) -> None:
    """Remove the images that fit from the cache; WHICH is a version or a key.

    \b
    Example:
      rumpel kernel remove 6.12 --profile tiny
    """
    if which is None and profile is None and not config:
        raise click.UsageError("say which: a version, a key, --profile or --config")
    images = select(which, profile, config)
    if not images:
        raise BuildError("no image fits; see rumpel kernel list")
    for image in images:
        remove_image(image.key)
    if as_json:
        print_json([describe(image) for image in images])
        return
    for image in images:
        click.echo(f"removed {image.key} ({image.release}, {image.profile})")
