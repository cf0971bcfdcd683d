# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mount`` beside fuse2fs: the same programs on the same image, both over FUSE."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel.bench.images import RUNS, TREE, ImageBench, bench, need_root, run, timed
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

_PEER = "fuse2fs"
FIND = Figure("image-mount", "s", 1 / 3, _PEER, f"find -printf of {TREE} over FUSE, cold")
CAT = Figure("image-mount-cat", "s", 1 / 3, _PEER, "find and cat of its files, cold")
TAR = Figure("image-mount-tar", "s", 1 / 3, _PEER, "tar of it, cold")

_WORK = {
    FIND: "find {0} -printf '%s %m %p\\n'",
    CAT: "find {0} -type f -print0 | xargs -0 cat",
    TAR: "tar c -C {0} . | cat",
}


def mounts(options: Options) -> Iterator[Result]:
    """Mount the same image by either side in turn, for each program anew."""
    need_root()
    times: dict[Figure, tuple[list[float], list[float]]] = {each: ([], []) for each in _WORK}
    with bench(options) as b:
        b.make()
        with b.loop():
            run(["cp", "-a", TREE, b.mounted / "tree"])
        for _ in range(RUNS):
            for figure, work in _WORK.items():
                for side, mount in enumerate((_ours, fuse2fs)):
                    with mount(b) as top:
                        command = f"{work.format(top)} > /dev/null"
                        times[figure][side].append(timed(_shell(command)))
    for figure, both in times.items():
        yield figure.result(*both)


def _shell(command: str) -> Callable[[], object]:
    return lambda: subprocess.run(["sh", "-c", command], check=True)


@contextmanager
def _ours(b: ImageBench) -> Iterator[Path]:
    run(b.command("mount", b.image, b.mounted))
    try:
        yield b.mounted
    finally:
        run([*b.program, "image", "umount", b.mounted])


@contextmanager
def fuse2fs(b: ImageBench) -> Iterator[Path]:
    """The image mounted by fuse2fs."""
    command, quiet = ["fuse2fs", "-f", str(b.image), str(b.mounted)], subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as it:
        try:
            while not b.mounted.is_mount():
                if it.poll() is not None:
                    raise RumpelError("fuse2fs does not mount (Debian: fuse2fs)")
                time.sleep(0.01)
            yield b.mounted
        finally:
            run(["fusermount3", "-u", b.mounted])
            it.wait()
