# SPDX-License-Identifier: GPL-2.0-only
"""Measure two ways of doing the same work in turn, so that noise hits both alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rumpel.bench.result import Figure, Result

Work = Callable[[int], float]
"""Does some rounds of the work and returns the seconds that they took."""

RUNS = 21
SAMPLE = 0.1
"""Seconds of a run: far more than a timer's tick, so that noise averages out."""


def rounds_for(work: Work, seconds: float) -> int:
    """How many rounds take about this long; warms up on the way."""
    rounds = 1
    while (took := work(rounds)) < seconds / 4:
        rounds *= 2 if took <= 0 else min(16, max(2, round(seconds / 2 / took)))
    return max(1, round(rounds * seconds / took))


def compare(
    figure: Figure,
    ours: Work,
    peer: Work,
    *,
    scale: float = 1e9,
    runs: int = RUNS,
    sample: float = SAMPLE,
) -> Result:
    """Measure in pairs, and in each pair the other one first.

    Args:
        figure: what it is.
        ours: work on the library kernel.
        peer: the same on the host's.
        scale: a time's unit in seconds is ``1 / scale``; for a rate, what one round counts.
        runs: pairs.
        sample: seconds of each run.
    """
    works = (ours, peer)
    rounds = [rounds_for(work, sample) for work in works]
    values: tuple[list[float], list[float]] = ([], [])
    for run in range(runs):
        for side in (0, 1) if run % 2 else (1, 0):
            each = works[side](rounds[side]) / rounds[side]
            values[side].append(scale / each if figure.more else each * scale)
    return figure.result(*values)


def timed(function: Callable[[], object]) -> Work:
    """Work that calls a Python function again and again."""

    def work(rounds: int) -> float:
        calls = [None] * rounds
        start = time.perf_counter()
        for _ in calls:
            function()
        return time.perf_counter() - start

    return work


@contextmanager
def one_cpu() -> Iterator[None]:
    """Keep this thread, and those that it starts, on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
