# SPDX-License-Identifier: GPL-2.0-only
"""Two that wait for each other: tasks of one thread, and threads."""

from __future__ import annotations

from collections.abc import Iterator

from rumpel.bench import native
from rumpel.bench.measure import compare, one_cpu
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

SWITCH = Figure(
    "switch",
    "ns",
    0.2,
    "host, two threads on one CPU",
    "two tasks of one thread: a byte to and fro through pipes",
)
HANDOFF = Figure(
    "handoff", "ns", 1.2, "host", "two blocked threads on one CPU: a byte to and fro through pipes"
)
HANDOFF_FREE = Figure("handoff-free", "ns", 1.2, "host", "the same, not pinned to a CPU")


def switch(options: Options) -> Iterator[Result]:
    """Tasks that one thread drives, as an event loop does."""
    with native.boot(options) as bench, one_cpu():
        yield compare(SWITCH, *bench.sides("tasks"))


def handoff(options: Options) -> Iterator[Result]:
    """Threads that block."""
    with native.boot(options) as bench:
        with one_cpu():
            yield compare(HANDOFF, *bench.sides("threads"))
        yield compare(HANDOFF_FREE, *bench.sides("threads"))
