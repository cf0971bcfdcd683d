# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel exec``."""

from __future__ import annotations

import click

from rumpel.cli.run import fail, program
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
    words = list(arguments)
    if words[0] == "--" and len(words) > 1:
        del words[0]
    program(words[0])
    try:
        launch_in(name, words)
    except Exception as e:
        fail(e)
