# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: the scheduler. Source: sched(7).

It chooses among the kernel's own threads and tasks that were woken; a call that does not
sleep runs to its end on the thread that makes it.
"""

from __future__ import annotations

import _struct as struct
import os

from rumpel.os.base import NUMBERS, VOID, Base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rumpel import _native

_CPUS = 1024
_NICE = 20
"""getpriority(2) returns 20 less the niceness, since results below 0 are errors."""


class Scheduling(Base):
    """Functions of :mod:`os` on the scheduler."""

    sched_yield: Callable[[], None]
    sched_getscheduler: Callable[[int], int]
    sched_get_priority_max: Callable[[int], int]
    sched_get_priority_min: Callable[[int], int]
    setpriority: Callable[[int, int, int], None]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        self.sched_yield = self._bind("sched_yield", flags=VOID | NUMBERS)
        self.setpriority = self._bind("setpriority", flags=VOID | NUMBERS)
        for name in ("sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min"):
            setattr(self, name, self._bind(name, flags=NUMBERS))

    def getpriority(self, which: int, who: int) -> int:
        """The niceness of a process, group or user."""
        return _NICE - int(self._call("getpriority")(which, who))

    def nice(self, increment: int, /) -> int:
        """Add to the caller's niceness; returns the new one."""
        self.setpriority(os.PRIO_PROCESS, 0, self.getpriority(os.PRIO_PROCESS, 0) + increment)
        return self.getpriority(os.PRIO_PROCESS, 0)

    def sched_setscheduler(self, pid: int, policy: int, param: os.sched_param, /) -> None:
        """Set policy and priority."""
        packed = struct.pack("i", param.sched_priority)
        self._call("sched_setscheduler", VOID)(pid, policy, packed)

    def sched_setparam(self, pid: int, param: os.sched_param, /) -> None:
        """Set the priority."""
        self._call("sched_setparam", VOID)(pid, struct.pack("i", param.sched_priority))

    def sched_getparam(self, pid: int, /) -> os.sched_param:
        """The priority."""
        buffer = bytearray(4)
        self._call("sched_getparam")(pid, buffer)
        return os.sched_param(int.from_bytes(buffer, "little"))

    def sched_rr_get_interval(self, pid: int, /) -> float:
        """The time slice of a task, in seconds."""
        buffer = bytearray(16)
        self._call("sched_rr_get_interval")(pid, buffer)
        seconds, ns = struct.unpack("qq", buffer)
        return float(seconds + ns * 1e-9)

    def sched_getaffinity(self, pid: int, /) -> set[int]:
        """The CPUs a task may run on."""
        buffer = bytearray(_CPUS // 8)
        self._call("sched_getaffinity")(pid, len(buffer), buffer)
        mask = int.from_bytes(buffer, "little")
        return {cpu for cpu in range(_CPUS) if mask >> cpu & 1}

    def sched_setaffinity(self, pid: int, mask: Iterable[int], /) -> None:
        """Set the CPUs a task may run on."""
        bits = 0
        for cpu in mask:
            if cpu < 0:
                raise ValueError("negative CPU number")
            bits |= 1 << cpu
        packed = bits.to_bytes(max(_CPUS // 8, bits.bit_length() // 8 + 1), "little")
        self._call("sched_setaffinity", VOID)(pid, len(packed), packed)

    def cpu_count(self) -> int:
        """The number of CPUs: a kernel has one."""
        return len(self.sched_getaffinity(0))

    def process_cpu_count(self) -> int:
        """The number of CPUs that the caller may use."""
        return len(self.sched_getaffinity(0))
