# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel valgrind``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

import rumpel
from rumpel.errors import RumpelError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run a program under valgrind, which then knows what kernels do with stacks.

    All arguments are valgrind's. Python allocates by malloc, so that it can be watched.

    \b
    Examples:
      rumpel valgrind python3 program.py
      rumpel valgrind --error-exitcode=1 --leak-check=full ./program
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RumpelError("valgrind is not installed; to install: sudo apt-get install valgrind")
    suppressions = Path(rumpel.__file__).with_name("valgrind.supp")
    os.environ["PYTHONMALLOC"] = "malloc"
    os.execv(valgrind, [valgrind, f"--suppressions={suppressions}", *arguments])
