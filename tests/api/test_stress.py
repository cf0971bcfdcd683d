# SPDX-License-Identifier: GPL-2.0-only
"""Any thread may call any kernel, for long, and nothing is left at the end.

RUMPEL_STRESS_SECONDS says for how long each test runs (5), RUMPEL_STRESS_SEED which
operations are made. 60 seconds are meant to stand for an hour of a program's use.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter

import pytest

import rumpel
from rumpel import Kernel
from tests.api.stress import Shared, Worker, counter, use
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.long]

SECONDS = float(os.environ.get("RUMPEL_STRESS_SECONDS", "5"))
SEED = int(os.environ.get("RUMPEL_STRESS_SEED", "1"))
SLACK_KB = 2048
"""What the kernel keeps for later: slabs that are partly used, the per-CPU lists."""

limit = pytest.mark.timeout(SECONDS * 4 + 120)


def check_nothing_is_left(before: dict[str, int], after: dict[str, int]) -> None:
    """Nothing that was made is still there."""
    assert after["descriptors"] == before["descriptors"]
    assert after["tasks"] <= before["tasks"]
    assert after["kB"] <= before["kB"] + SLACK_KB


def settled(k: Kernel, before: dict[str, int]) -> dict[str, int]:
    """What is in use when all that ends has ended, for which a busy machine needs a while."""
    deadline = time.monotonic() + 30
    while True:
        after = use(k)
        with contextlib.suppress(AssertionError):
            check_nothing_is_left(before, after)
            return after
        if time.monotonic() > deadline:
            return after


@limit
def test_ten_threads_on_one_kernel(kernel: Kernel) -> None:
    failures: list[BaseException] = []
    total: Counter[str] = Counter()
    warm_up(kernel)
    before = use(kernel)
    shared = Shared(kernel)
    end = time.monotonic() + SECONDS
    workers = [Worker(kernel, shared, SEED, number) for number in range(10)]

    def run(worker: Worker) -> None:
        try:
            while time.monotonic() < end and not failures:
                worker.step()
            worker.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    for worker in workers:
        total += worker.done
    assert counter(kernel, shared) == sum(worker.added for worker in workers)
    shared.close(kernel)
    print(f"{sum(total.values())} operations in {SECONDS:g} s: {dict(total)}")
    assert len(total) == len(workers[0].operations)
    check_nothing_is_left(before, settled(kernel, before))


@limit
def test_one_thread_drives_ten_kernels(boot: Boot) -> None:
    kernels = [boot(memory="48M") for _ in range(10)]
    drive(kernels)


@limit
def test_one_thread_drives_ten_kernels_in_virtual_time(boot: Boot) -> None:
    """On one clock: each kernel's timers wait for nobody but the clock."""
    clock = rumpel.VirtualClock()
    kernels = [boot(memory="48M", clock=clock) for _ in range(10)]
    drive(kernels)
    assert clock.now > 0


def drive(kernels: list[Kernel]) -> None:
    """One operation on each kernel in turn."""
    for k in kernels:
        warm_up(k)
    before = [use(k) for k in kernels]
    shared = [Shared(k) for k in kernels]
    workers = [Worker(k, s, SEED, n) for n, (k, s) in enumerate(zip(kernels, shared, strict=True))]
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for worker in workers:
            worker.step()
    total: Counter[str] = Counter()
    for k, s, worker in zip(kernels, shared, workers, strict=True):
        assert counter(k, s) == worker.added
        worker.close()
        s.close(k)
        total += worker.done
    print(f"{sum(total.values())} operations in {SECONDS:g} s: {dict(total)}")
    for k, was in zip(kernels, before, strict=True):
        check_nothing_is_left(was, settled(k, was))


def warm_up(k: Kernel) -> None:
    """Each operation once: what is made at the first use is no leak."""
    shared = Shared(k)
    worker = Worker(k, shared, 0, 999)
    for operation in worker.operations * 3:
        operation()
    worker.close()
    shared.close(k)
