# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel list``."""

from __future__ import annotations

import click

from rumpel.cli.kernel.common import as_json, describe, modified, print_json, select, selectors


@click.command()
@selectors
@as_json
def command(which: str | None, profile: str | None, config: tuple[str, ...], as_json: bool) -> None:
    """List the images in the cache, newest first; WHICH is a version or a key.

    \b
    Example:
      rumpel kernel list --profile tiny
    """
    images = select(which, profile, config)
    if as_json:
        print_json([describe(image) for image in images])
        return
    for image in images:
        options = " ".join(f"CONFIG_{k}={v}" for k, v in image.options.items())
        click.echo(
            f"{image.key}  {image.release:<10} {image.profile:<8} {image.size / 2**20:6.1f} MiB  "
            f"{modified(image):<10} {options}".rstrip()
        )
