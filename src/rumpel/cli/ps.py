# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel ps``."""

from __future__ import annotations

import shlex
import time

import click

from rumpel.run import instances


@click.command()
def command() -> None:
    """List the kernels that run for programs.

    \b
    Example:
      rumpel run --name web -- nginx -g 'daemon off;' &
      rumpel ps
    """
    row = "{:<28} {:>8}  {:<6} {:>9}  {}"
    click.echo(row.format("NAME", "PID", "LINUX", "AGE", "PROGRAM"))
    for i in instances():
        age = f"{time.time() - i.started:.0f} s"
        click.echo(row.format(i.name, i.pid, i.version, age, shlex.join(i.program)))
