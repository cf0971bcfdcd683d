# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel attach``."""

from __future__ import annotations

import os

import click

from rumpel.cli.run import NAME_VARIABLE, fail
from rumpel.run import launch_in


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Start a shell whose programs are on a kernel that runs already.

    \b
    Example:
      rumpel run --name web -- nginx -g 'daemon off;' &
      rumpel attach web
    """
    os.environ[NAME_VARIABLE] = name
    try:
        launch_in(name, [os.environ.get("SHELL", "/bin/sh")])
    except Exception as e:
        fail(e)
