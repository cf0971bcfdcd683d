# SPDX-License-Identifier: GPL-2.0-only
"""Does a thread of this process spin?"""

from __future__ import annotations

import time

__all__ = ["cpu_time_of_others"]


def cpu_time_of_others(seconds: float = 0.3) -> float:
    """What the process's other threads use of the CPUs while this one spins for so long.

    A thread that spins gets about as much as this one, however busy the machine is.

    Args:
        seconds: of CPU time.
    """
    all_before, own_before = time.process_time(), time.thread_time()
    while time.thread_time() - own_before < seconds:
        pass
    return time.process_time() - all_before - (time.thread_time() - own_before)
