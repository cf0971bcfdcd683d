# SPDX-License-Identifier: GPL-2.0-only
"""The subcommands of ``rumpel``."""

from __future__ import annotations

from rumpel.cli.row import Row

COMMANDS = (
    Row("demo", "rumpel.cli.demo", "Show what a kernel can do, on real input."),
    Row("kernel", "rumpel.cli.kernel", "Build, list and verify kernel images."),
    Row("run", "rumpel.cli.run", "Run a program on a kernel of its own."),
    Row("ps", "rumpel.cli.ps", "List the kernels that run for programs."),
    Row("exec", "rumpel.cli.exec", "Run a program on a kernel that runs already."),
    Row("attach", "rumpel.cli.attach", "A shell on a kernel that runs already."),
    Row("nf", "rumpel.cli.nf", "Network functions joined by pipes."),
    Row("image", "rumpel.cli.image.group", "Files in disk images, without root."),
    Row("gdb", "rumpel.cli.gdb", "Debug a process and the kernels in it."),
    Row("valgrind", "rumpel.cli.valgrind", "Run a program and its kernels under valgrind."),
    Row("bench", "rumpel.cli.bench", "Measure a kernel beside the host's."),
)
