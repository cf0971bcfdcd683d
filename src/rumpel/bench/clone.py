# SPDX-License-Identifier: GPL-2.0-only
"""A copy of a booted kernel by fork: how soon it can be used."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator

import rumpel
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result
from rumpel.errors import RumpelError

RUNS = 51
WARM = 3
TARGET_MS = 1.0
TIME = struct.Struct("d")

CLONE = Figure("clone", "ms", 1, TARGET, "os.fork() to the first system call in the child")


def clone(options: Options) -> Iterator[Result]:
    """Fork this process again and again."""
    with rumpel.boot(image=options.path()) as kernel:
        kernel.os.getpid()
        times = [_fork_once(kernel) for _ in range(WARM + RUNS)][WARM:]
    yield CLONE.result(times, [TARGET_MS] * len(times))


def _fork_once(kernel: rumpel.Kernel) -> float:
    reader, writer = os.pipe()
    start = time.perf_counter()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            kernel.os.getpid()
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
