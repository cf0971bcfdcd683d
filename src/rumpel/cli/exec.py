# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel exec``."""

from __future__ import annotations

import click

from rumpel.cli.run import fail
from rumpel.run import launch_in


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
def command(name: str, arguments: tuple[str, ...]) -> None:
    """Run a program on a kernel that runs already.

    \b
    Examples:
      rumpel exec web -- ip addr
      rumpel exec web -- ss -ltn
    """
    if arguments[0] == "--" and len(arguments) > 1:
        arguments = arguments[1:]
    try:
        launch_in(name, arguments)
    except Exception as e:
        fail(e)
