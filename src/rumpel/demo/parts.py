# SPDX-License-Identifier: GPL-2.0-only
"""The demo from beginning to end."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from rumpel.booting import boot
from rumpel.demo.disk import disk
from rumpel.demo.page import page
from rumpel.demo.pair import pair
from rumpel.demo.report import Report
from rumpel.demo.tools import size
from rumpel.kernel import Kernel

__all__ = ["run"]

_BOOTS = 5


def run(image: Path, tree: Path, amount: int, console: Console) -> None:
    """Show what a kernel can do, and print a report.

    Args:
        image: of the kernel.
        tree: of the host, whose files go into the ext4 image.
        amount: how many bytes two kernels exchange.
        console: where to print.

    Raises:
        DemoError: if something does not come out as it must.
    """
    report = Report(console)
    booted = partial(boot, image=image)
    with report.part("Linux in this process"):
        _introduce(booted, report, image)
    with tempfile.TemporaryDirectory(prefix="rumpel-demo-") as work:
        with report.part("An ext4 image"):
            disk(booted, report, tree, Path(work))
        with report.part("A page from the host, without privileges"):
            page(booted, report, Path(work))
        with report.part("Two kernels, two cables"):
            pair(booted, report, amount)
    report.summary()


def _introduce(boot: Callable[..., Kernel], report: Report, image: Path) -> None:
    """Boot a few times: how long until the first system call has returned?"""
    times = []
    name = None
    with report.step("booted, asked for its name, halted; and again"):
        for _ in range(_BOOTS):
            start = time.perf_counter()
            kernel = boot()
            kernel.os.getpid()
            times.append(time.perf_counter() - start)
            name = kernel.os.uname()
            kernel.halt()
    assert name is not None
    report.figure(
        "Kernel", f"{name.sysname} {name.release}, an image of {size(image.stat().st_size)}"
    )
    report.figure("Boot to first system call", f"{statistics.median(times) * 1e3:.1f} ms")
