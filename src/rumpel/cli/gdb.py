# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel gdb``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

import rumpel.gdb
from rumpel.errors import RumpelError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Debug a process and the kernels in it: gdb that knows both.

    All arguments are gdb's. Breakpoints can be set in kernel functions; symbols of a
    kernel are loaded when the process stops. More commands:

    \b
      lx-symbols           load symbols now, and list the kernels
      lx-ps                the tasks of all kernels
      lx-bt PID [KERNEL]   the kernel stack of a task, also of one that sleeps
      lx-dmesg [KERNEL]    what the kernel logged

    \b
    Examples:
      rumpel gdb --args python3 program.py
      rumpel gdb -p 1234 -batch -ex lx-ps -ex 'lx-bt all'
    """
    gdb = shutil.which("gdb")
    if gdb is None:
        raise RumpelError("gdb is not installed; to install: sudo apt-get install gdb")
    script = Path(rumpel.gdb.__file__).with_name("commands.py")
    os.execv(gdb, [gdb, "-q", "-iex", "set debuginfod enabled off", "-x", str(script), *arguments])
