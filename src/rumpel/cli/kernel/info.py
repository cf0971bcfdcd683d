# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel info``."""

from __future__ import annotations

import click

from rumpel.cli.kernel.common import (
    as_json,
    describe,
    modified,
    print_json,
    select_one,
    selectors,
)


@click.command()
@selectors
@as_json
def command(which: str | None, profile: str | None, config: tuple[str, ...], as_json: bool) -> None:
    """Tell all about the newest image that fits; WHICH is a version or a key.

    \b
    Example:
      rumpel kernel info 6.12 --profile tiny --json
    """
    image = select_one(which, profile, config)
    if as_json:
        print_json(describe(image))
        return
    rows = {
        "version": f"{image.version} ({image.release})",
        "profile": image.profile,
        "options": " ".join(f"CONFIG_{k}={v}" for k, v in image.options.items()) or "none",
        "source": f"{image.source}, {modified(image)}",
        "path": image.path,
        "size": f"{image.size} bytes",
        "symbols": image.vmlinux,
        "port": image.port,
        "compiler": image.compiler,
        "key": image.key,
    }
    for name, value in rows.items():
        click.echo(f"{name:<9} {value}")
    for warning in image.warnings:
        click.echo(f"warning   {warning}")
