# SPDX-License-Identifier: GPL-2.0-only
"""The command ``rumpel``: one module for each subcommand, and one table.

click rather than typer: the table below stays a table, commands load only when
they are called, and there is one dependency instead of four.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Sequence

from rumpel.cli.row import Row

COMMANDS = (
    Row("demo", "rumpel.cli.demo", "Show what a kernel can do, on real input."),
    Row("kernel", "rumpel.cli.kernel", "Build, list and verify kernel images."),
    Row("run", "rumpel.cli.run", "Run a program on a kernel of its own."),
    Row("ps", "rumpel.cli.ps", "List the kernels that run for programs."),
    Row("exec", "rumpel.cli.exec", "Run a program on a kernel that runs already."),
    Row("attach", "rumpel.cli.attach", "A shell on a kernel that runs already."),
    Row("nf", "rumpel.cli.nf", "Network functions joined by pipes."),
    Row("image", "rumpel.cli.image", "Files in disk images, without root."),
    Row("gdb", "rumpel.cli.gdb", "Debug a process and the kernels in it."),
    Row("valgrind", "rumpel.cli.valgrind", "Run a program and its kernels under valgrind."),
    Row("bench", "rumpel.cli.bench", "Measure a kernel beside the host's."),
)


_WITHOUT = ("mount", "umount", "commit")
"""Commands of images that have no kernel, or one that needs more."""


def _boots(words: Sequence[str]) -> bool:
    return not {"--no-sandbox", "--help"} & {*words}


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    if words[:1] == ["image"] and words[1:2] and words[1] not in _WITHOUT and _boots(words):
        # Its kernel boots while click is imported here.
        from rumpel.images.prestart import prestart

        prestart(words)
    if words[:1] == ["nf"]:
        # A stage is there before click would be.
        from rumpel.cli.nf_run import quick

        quick(words[1:])
    from rumpel.cli.table import LazyGroup, run

    run(LazyGroup("rumpel", COMMANDS, "The Linux kernel as a library."))


def program() -> None:
    """The command line as a process, which begins and ends without what only costs time.

    Modules make thousands of objects that stay, so nothing is looked for that could be thrown
    away; and in the end all is done that was asked for, but objects are not taken apart.
    """
    if sys.argv[1:2] == ["image"]:
        gc.disable()  # LazyGroup enables it again
    try:
        main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code or 0
    if isinstance(code, int) and threading.active_count() == 1:
        with contextlib.suppress(OSError, ValueError):  # the interpreter will say so
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            atexit._run_exitfuncs()
            os._exit(code)
    sys.exit(code)  # type: ignore[arg-type]
