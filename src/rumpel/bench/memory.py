# SPDX-License-Identifier: GPL-2.0-only
"""What kernels cost while they do nothing: memory and the CPU.

All is measured in fresh processes, since one that has booted and halted keeps some of
the memory: see ``idle_child``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rumpel.bench.fresh import run
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result

RUNS = 5
FURTHER = 8
SETTLE, IDLE = 0.3, 3.0

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
    "memory-idle-cpu",
    "us/s",
    1,
    "without a kernel",
    "CPU time of a process with an idle kernel",
)


def memory(options: Options) -> Iterator[Result]:
    """Run fresh processes and summarise what they say of themselves."""
    said = [child(options.path(), options.path("tiny")) for _ in range(RUNS)]
    for name, figure in FIGURES.items():
        yield figure.result([each[name] for each in said], [TARGETS_MB[name]] * RUNS)
    yield IDLE_CPU.result(
        [each[IDLE_CPU.name] for each in said], [each["without"] for each in said]
    )


def child(first: str, tiny: str) -> Mapping[str, float]:
    """Run one process.

    Raises:
        RumpelError: if it fails, with what it said.
    """
    found: Mapping[str, float] = run(
        "idle_child", first, tiny, str(FURTHER), str(SETTLE), str(IDLE)
    )
    return found
