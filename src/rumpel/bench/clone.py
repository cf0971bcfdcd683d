# SPDX-License-Identifier: GPL-2.0-only
"""A copy of a booted kernel by fork: how soon it can be used."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator

import rumpel
from rumpel.bench import native
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result
from rumpel.errors import RumpelError

RUNS = 51
WARM = 3
TARGET_MS = 1.0
TIME = struct.Struct("d")

CLONE = Figure("clone", "ms", 1, TARGET, "fork() in C to the first system call in the child")
PYTHON = Figure(
    "clone-python",
    "ms",
    2,
    "os.fork() without a kernel",
    "os.fork() to the first system call in the child, in Python",
)


def clone(options: Options) -> Iterator[Result]:
    """Fork this process again and again: in C, and in Python with and without a kernel."""
    with native.boot(options) as bench:
        ours, _ = bench.sides("clone")
        times = [ours(1) * 1e3 for _ in range(WARM + RUNS)][WARM:]
    yield CLONE.result(times, [TARGET_MS] * len(times))
    without = [_fork_once(os.getpid) for _ in range(WARM + RUNS)][WARM:]
    with rumpel.boot(image=options.path()) as kernel:
        kernel.os.getpid()
        times = [_fork_once(kernel.os.getpid) for _ in range(WARM + RUNS)][WARM:]
    yield PYTHON.result(times, without)


def _fork_once(call: Callable[[], int]) -> float:
    reader, writer = os.pipe()
    start = time.perf_counter()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            call()
            os.write(writer, TIME.pack(time.perf_counter()))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    if len(data) != TIME.size:
        raise RumpelError("the child of a fork could not use its kernel")
    end: float = TIME.unpack(data)[0]
    return (end - start) * 1e3
