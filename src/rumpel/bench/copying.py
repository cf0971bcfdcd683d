# SPDX-License-Identifier: GPL-2.0-only
"""A tree of small files, copied into a kernel and back, beside ``cp -a``; all in memory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import rumpel
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

FILES, DIRECTORIES, SIZE = 10_000, 100, 4096
RUNS = 5
MEMORY = "256M"

COPY_IN = Figure(
    "copy-in",
    "files/s",
    0.5,
    "cp -a",
    "Kernel.copy_in of 10,000 files of 4 KiB, tmpfs to tmpfs",
    more=True,
)
COPY_OUT = Figure(
    "copy-out", "files/s", 0.5, "cp -a", "Kernel.copy_out of the same tree", more=True
)


def copying(options: Options) -> Iterator[Result]:
    """Copy it in, out, and with cp, in turn."""
    into: list[float] = []
    out: list[float] = []
    peer: list[float] = []
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as here,
        rumpel.boot(image=options.path(), memory=MEMORY) as k,
    ):
        source, other = Path(here, "source"), Path(here, "other")
        _make(source)
        for _ in range(RUNS):
            into.append(_rate(lambda: k.copy_in(source, "/tmp/copy")))
            out.append(_rate(lambda: k.copy_out("/tmp/copy", other)))
            k.shutil.rmtree("/tmp/copy")
            shutil.rmtree(other)
            peer.append(_rate(lambda: subprocess.run(["cp", "-a", source, other], check=True)))
            shutil.rmtree(other)
    yield COPY_IN.result(into, peer)
    yield COPY_OUT.result(out, peer)


def _make(top: Path) -> None:
    data = bytes(range(256)) * (SIZE // 256)
    for directory in range(DIRECTORIES):
        here = top / f"{directory:03d}"
        here.mkdir(parents=True)
        for file in range(FILES // DIRECTORIES):
            (here / f"{file:03d}").write_bytes(data)


def _rate(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return FILES / (time.perf_counter() - start)
