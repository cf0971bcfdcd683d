# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel kernel verify``."""

from __future__ import annotations

from dataclasses import asdict

import click

from rumpel.build import verify_image
from rumpel.build.progress import for_stream
from rumpel.cli.kernel.common import as_json, print_json, select_one, selectors


@click.command()
@selectors
@as_json
def command(which: str | None, profile: str | None, config: tuple[str, ...], as_json: bool) -> None:
    """Prove that every file outside arch/rumpel is the source package's.

    The newest image that fits is verified; WHICH is a version or a key.

    \b
    Example:
      rumpel kernel verify 6.12
    """
    image = select_one(which, profile, config)
    result = verify_image(image, for_stream())
    if as_json:
        print_json({"verified": True, **asdict(result)})
        return
    click.echo(
        f"{result.files} files equal those of {result.tarball} (sha256 {result.tarball_sha256}); "
        f"added: arch/rumpel, {result.port_files} files"
    )
