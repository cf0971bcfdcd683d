# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mount`` beside fuse2fs: the same programs on the same image, both over FUSE.

By the clock, and by CPU time: of the program, and of who serves the mount meanwhile.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel.bench.images import RUNS, TREE, ImageBench, bench, need_root, run
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

_PEER = "fuse2fs"
FIND = Figure("image-mount", "s", 1 / 3, _PEER, f"find -printf of {TREE} over FUSE, cold")
CAT = Figure("image-mount-cat", "s", 1 / 3, _PEER, "find and cat of its files, cold")
TAR = Figure("image-mount-tar", "s", 1 / 3, _PEER, "tar of it, cold")

_CPU = "CPU time of it, and of who serves it"
FIND_CPU = Figure("image-mount-cpu", "s", 1 / 3, _PEER, f"find: {_CPU}")
CAT_CPU = Figure("image-mount-cat-cpu", "s", 1 / 3, _PEER, f"cat: {_CPU}")
TAR_CPU = Figure("image-mount-tar-cpu", "s", 1 / 3, _PEER, f"tar: {_CPU}")
FIGURES = FIND, CAT, TAR, FIND_CPU, CAT_CPU, TAR_CPU

_WORK = {
    (FIND, FIND_CPU): "find {0} -printf '%s %m %p\\n'",
    (CAT, CAT_CPU): "find {0} -type f -print0 | xargs -0 cat",
    (TAR, TAR_CPU): "tar c -C {0} . | cat",
}


def mounts(options: Options) -> Iterator[Result]:
    """Mount the same image by either side in turn, for each program anew."""
    need_root()
    times: dict[Figure, tuple[list[float], list[float]]] = {each: ([], []) for each in FIGURES}
    with bench(options) as b:
        b.make()
        with b.loop():
            run(["cp", "-a", TREE, b.mounted / "tree"])
        ours = b.command("mount", "--foreground", b.image, b.mounted)
        for _ in range(RUNS):
            for (clock, cpu), work in _WORK.items():
                for side, command in enumerate((ours, _fuse2fs(b))):
                    with _mounted(b, command) as server:
                        took, used = _measured(work.format(b.mounted), server)
                    times[clock][side].append(took)
                    times[cpu][side].append(used)
    for figure, both in times.items():
        yield figure.result(*both)


def _measured(work: str, server: int) -> tuple[float, float]:
    """Seconds by the clock, and of CPU time of a command and of who serves it."""
    before = _own() + _used(server)
    start = time.perf_counter()
    subprocess.run(["sh", "-c", f"{work} > /dev/null"], check=True)
    took = time.perf_counter() - start
    return took, _own() + _used(server) - before


def _own() -> float:
    """CPU time of processes that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _used(process: int) -> float:
    """CPU time of a process that runs, and of those below it."""
    own = Path(f"/proc/{process}/task")
    total = sum(int((task / "schedstat").read_text().split()[0]) for task in own.iterdir()) / 1e9
    below = (own / str(process) / "children").read_text().split()
    return total + sum(_used(int(each)) for each in below)


@contextmanager
def _mounted(b: ImageBench, command: list[str]) -> Iterator[int]:
    """The image mounted by a program that stays there: its process."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as it:
        try:
            while not b.mounted.is_mount():
                if it.poll() is not None:
                    raise RumpelError(f"{Path(command[0]).name} does not mount")
                time.sleep(0.01)
            yield it.pid
        finally:
            run(["fusermount3", "-u", b.mounted])
            it.wait()


def _fuse2fs(b: ImageBench) -> list[str]:
    return ["fuse2fs", "-f", str(b.image), str(b.mounted)]


@contextmanager
def fuse2fs(b: ImageBench) -> Iterator[Path]:
    """The image mounted by fuse2fs."""
    with _mounted(b, _fuse2fs(b)):
        yield b.mounted
