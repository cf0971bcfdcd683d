# SPDX-License-Identifier: GPL-2.0-only
"""The command ``rumpel``: one module for each subcommand, and one table.

click rather than typer: the table below stays a table, commands load only when
they are called, and there is one dependency instead of four.
"""

from __future__ import annotations

import sys

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


def main() -> None:
    """Run the command line."""
    if (
        sys.argv[1:2] == ["image"]
        and sys.argv[2:3] not in (["mount"], ["umount"])
        and not {"--no-sandbox", "--help"} & set(sys.argv)
    ):
        # The process of its kernel starts while click is imported here.
        from rumpel.sandbox.process import prestart

        prestart()
    if sys.argv[1:2] == ["nf"]:
        # A stage is there before click would be.
        from rumpel.cli.nf_run import quick

        quick(sys.argv[2:])
    from rumpel.cli.table import LazyGroup, run

    run(LazyGroup("rumpel", COMMANDS, "The Linux kernel as a library."))
