# SPDX-License-Identifier: GPL-2.0-only
"""Calls that never sleep: what entering and leaving a kernel costs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import rumpel
from rumpel.bench import native
from rumpel.bench.measure import compare, timed
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

GETPID_C = Figure("getpid-c", "ns", 0.15, "host", "no-op system call through the C API")
GETPID_PYTHON = Figure("getpid-python", "ns", 1, "host's os.getppid", "k.os.getpid() from Python")
PIPE = Figure("pipe", "ns", 0.2, "host", "write and read of 1 byte on a pipe, one thread")


def getpid_c(options: Options) -> Iterator[Result]:
    """A system call that does nothing, from C."""
    with native.boot(options) as bench:
        yield compare(GETPID_C, *bench.sides("getpid"))


def getpid_python(options: Options) -> Iterator[Result]:
    """The same from Python."""
    with rumpel.boot(image=options.path()) as kernel:
        yield compare(GETPID_PYTHON, timed(kernel.os.getpid), timed(os.getppid))


def pipe(options: Options) -> Iterator[Result]:
    """Two calls that do a little."""
    with native.boot(options) as bench:
        yield compare(PIPE, *bench.sides("pipe"))
