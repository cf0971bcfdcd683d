# SPDX-License-Identifier: GPL-2.0-only
"""What kernels cost while they do nothing: memory and the CPU.

All is measured in fresh processes, since one that has booted and halted keeps some of
the memory. This file is also the program that they run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result

RUNS = 5
FURTHER = 8
SETTLE, IDLE = 1.0, 3.0
"""Seconds until a kernel that was just booted rests, and seconds of watching it."""
NOTHING = 20.0
"""The CPU time, in us a second, below which a measurement measures itself."""

TARGETS_MB = {"memory": 20.0, "memory-further": 10.0, "memory-further-tiny": 2.0}
FIGURES = {
    figure.name: figure
    for figure in (
        Figure("memory", "MB", 1, TARGET, "resident in a process after one boot, Python included"),
        Figure("memory-further", "MB", 1, TARGET, "each further kernel of the profile default"),
        Figure("memory-further-tiny", "MB", 1, TARGET, "each further kernel of the profile tiny"),
    )
}
IDLE_CPU = Figure(
    "memory-idle-cpu", "us/s", 1, "without a kernel", "CPU time of a process with an idle kernel"
)


def memory(options: Options) -> Iterator[Result]:
    """Run fresh processes and summarise what they say of themselves."""
    paths = [options.path(), options.path("tiny")]
    command = [sys.executable, "-m", "rumpel.bench.memory", *paths]
    said: list[Mapping[str, float]] = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(RUNS)
    ]
    for name, figure in FIGURES.items():
        yield figure.result([each[name] for each in said], [TARGETS_MB[name]] * RUNS)
    yield IDLE_CPU.result(
        [max(each["busy"], NOTHING) for each in said], [max(each["idle"], NOTHING) for each in said]
    )


def resident() -> float:
    """Megabytes of this process, its part of what it shares with others."""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/smaps_rollup has no Pss")


def idle_cpu() -> float:
    """CPU time in us a second of this process while its only thread sleeps."""
    time.sleep(SETTLE)
    start = time.process_time_ns()
    time.sleep(IDLE)
    return (time.process_time_ns() - start) / 1e3 / IDLE


def child(first: str, tiny: str) -> dict[str, float]:
    """Boot kernel after kernel, and look at the process each time."""
    import rumpel

    found = {"idle": idle_cpu()}
    kernels = [rumpel.boot(image=first)]
    kernels[0].os.getpid()
    found["memory"] = at = resident()
    found["busy"] = idle_cpu()
    for name, path in (("memory-further", first), ("memory-further-tiny", tiny)):
        # The first of an image also brings the pages that all of them share.
        kernels.append(rumpel.boot(image=path))
        at = resident()
        kernels += [rumpel.boot(image=path) for _ in range(FURTHER)]
        found[name] = (resident() - at) / FURTHER
    for kernel in kernels:
        kernel.close()
    return found


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2])))
