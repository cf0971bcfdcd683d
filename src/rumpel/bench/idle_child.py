# SPDX-License-Identifier: GPL-2.0-only
"""The program that ``memory`` runs: boots kernels and looks at its own process.

It is run by its path and imports nothing that a program with a kernel would not.
Arguments: two images, how many further kernels, seconds until a kernel that was just
booted rests, seconds of watching it. Prints a line of JSON.
"""

from __future__ import annotations

import sys
import time


def resident() -> float:
    """Megabytes of this process, its part of what it shares with others."""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/smaps_rollup has no Pss")


def idle_cpu(seconds: float) -> float:
    """CPU time in us a second of this process while nobody calls anything."""
    start = time.process_time_ns()
    time.sleep(seconds)
    return (time.process_time_ns() - start) / 1e3 / seconds


def measure(first: str, tiny: str, further: int, settle: float, idle: float) -> dict[str, float]:
    """Boot kernel after kernel, and look at the process each time.

    Args:
        first: the image of the first kernel.
        tiny: another image.
        further: how many kernels more of each.
        settle: seconds until a kernel rests.
        idle: seconds of watching.
    """
    import rumpel

    found = {"without": idle_cpu(idle), "python": resident()}
    kernels = [rumpel.boot(image=first)]
    kernels[0].os.getpid()
    time.sleep(settle)
    found["memory"] = resident()
    found["memory-idle-cpu"] = idle_cpu(idle)
    for name, path in (("memory-further", first), ("memory-further-tiny", tiny)):
        # The first of an image also brings the pages that all of them share.
        kernels.append(rumpel.boot(image=path))
        time.sleep(settle)
        before = resident()
        kernels += [rumpel.boot(image=path) for _ in range(further)]
        time.sleep(settle)
        found[name] = (resident() - before) / further
    for kernel in kernels:
        kernel.close()
    return found


if __name__ == "__main__":
    import json

    first, tiny, further, settle, idle = sys.argv[1:]
    print(json.dumps(measure(first, tiny, int(further), float(settle), float(idle))))
