# SPDX-License-Identifier: GPL-2.0-only
"""From rumpel.boot() to the first system call, in a process that has booted before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import rumpel
from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result

RUNS = 51
WARM = 3
"""Boots before those that count: the image is then in the page cache."""

BOOT = Figure("boot", "ms", 1, TARGET, "rumpel.boot() to the first system call, default profile")
BOOT_TINY = Figure("boot-tiny", "ms", 1, TARGET, "the same with the profile tiny")
START = Figure("start", "ms", 2, "a boot", "rumpel.boot() from a snapshot to the first system call")


def booting(
    figure: Figure, profile: str | None, target: float
) -> Callable[[Options], Iterator[Result]]:
    """A benchmark of booting.

    Args:
        figure: what is measured.
        profile: of the kernel, or None for what the user chose.
        target: in ms.
    """

    def run(options: Options) -> Iterator[Result]:
        path = options.path(profile)
        times = [_boot_once(path, snapshot=False) for _ in range(WARM + RUNS)][WARM:]
        yield figure.result(times, [target] * len(times))

    return run


def starting(options: Options) -> Iterator[Result]:
    """Measure starts from a snapshot beside boots, by turns."""
    path = options.path()
    pairs = [
        (_boot_once(path, snapshot=True), _boot_once(path, snapshot=False))
        for _ in range(WARM + RUNS)
    ][WARM:]
    yield START.result([start for start, _ in pairs], [boot for _, boot in pairs])


def _boot_once(path: str, *, snapshot: bool) -> float:
    start = time.perf_counter()
    kernel = rumpel.boot(image=path, snapshot=snapshot)
    kernel.os.getpid()
    took = time.perf_counter() - start
    kernel.halt()
    return took * 1e3
