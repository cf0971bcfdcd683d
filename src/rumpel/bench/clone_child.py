# SPDX-License-Identifier: GPL-2.0-only
"""The program that ``clone`` runs: forks its own process again and again.

How long that takes depends on all that a process has, so this one has nothing else. Arguments: an
image, and how many forks of each kind. Prints a line of JSON.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable

import rumpel
from rumpel.bench import native
from rumpel.bench.options import Options

WARM = 3
TIME = struct.Struct("d")


def measure(image: str, runs: int) -> dict[str, list[float]]:
    """Fork in C, and in Python without and with a kernel; ms of each.

    Args:
        image: the kernel's.
        runs: of each.
    """
    with native.boot(Options(image=image)) as bench:
        ours, _ = bench.sides("clone")
        found = {"c": [ours(1) * 1e3 for _ in range(WARM + runs)]}
    found["without"] = [_fork_once(os.getpid) for _ in range(WARM + runs)]
    with rumpel.boot(image=image) as kernel:
        kernel.os.getpid()
        found["python"] = [_fork_once(kernel.os.getpid) for _ in range(WARM + runs)]
    return {name: times[WARM:] for name, times in found.items()}


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
        raise SystemExit("the child of a fork could not use its kernel")
    end: float = TIME.unpack(data)[0]
    return (end - start) * 1e3


if __name__ == "__main__":
    import json

    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
