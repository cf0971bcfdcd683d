# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel build``."""

from __future__ import annotations

import click

from rumpel.build import DEFAULT_PROFILE, DEFAULT_VERSION, ensure_image
from rumpel.build.progress import for_stream
from rumpel.cli.kernel.common import as_json, describe, modified, print_json


@click.command()
@click.argument("version", required=False)
@click.option(
    "--profile", "-p", default=DEFAULT_PROFILE, show_default=True, help="What to build in."
)
@click.option("--config", "-c", multiple=True, metavar="CONFIG_X=y", help="A further option.")
@click.option(
    "--source", metavar="DIR|TARBALL|GIT-TREE", help="Your own source instead of Debian's."
)
@click.option("--refresh", is_flag=True, help="Look for a newer source of the version.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Compilers at a time.")
@as_json
def command(
    version: str | None,
    profile: str,
    config: tuple[str, ...],
    source: str | None,
    refresh: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Build an image of VERSION, or find it in the cache, and print its path.

    \b
    Examples:
      rumpel kernel build 6.12
      rumpel kernel build 7.2 --profile tiny -c CONFIG_TCP_CONG_BBR=y
      rumpel kernel build --source ~/linux
    """
    if source and version:
        raise click.UsageError("give a version or --source, not both")
    image = ensure_image(
        version or DEFAULT_VERSION, profile, config, source, for_stream(), None, refresh, jobs
    )
    if as_json:
        print_json(describe(image))
        return
    click.echo(f"Linux {image.release}, {image.profile}, {modified(image)} source", err=True)
    click.echo(image.path)
