# SPDX-License-Identifier: GPL-2.0-only
"""A copy of a booted kernel by fork: how soon it can be used."""

from __future__ import annotations

from collections.abc import Iterator

from rumpel.bench.fresh import run
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result

RUNS = 51
TARGET_MS = 1.0

CLONE = Figure("clone", "ms", 1, TARGET, "fork() in C to the first system call in the child")
PYTHON = Figure(
    "clone-python",
    "ms",
    2,
    "os.fork() without a kernel",
    "os.fork() to the first system call in the child, in Python",
)


def clone(options: Options) -> Iterator[Result]:
    """Fork a process again and again: in C, and in Python with and without a kernel."""
    found = run("clone_child", options.path(), str(RUNS))
    yield CLONE.result(found["c"], [TARGET_MS] * RUNS)
    yield PYTHON.result(found["python"], found["without"])
