# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` as a whole process: how it begins, and large files beside a loop mount.

Loop mounts need root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rumpel.bench.options import Options
from rumpel.bench.result import TARGET, Figure, Result
from rumpel.errors import RumpelError

RUNS = 5
SIZE = 1 << 30
FILE = 256 << 20
START = 150.0
TREE = "/usr/share/doc"
"""Or as much of it as there is."""

MKFS = {
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "vfat": ("mkfs.vfat",),
}

LOOP = "mount -o loop"
IMAGE_START = Figure(
    "image-start", "ms", 1, TARGET, "rumpel image ls of an empty ext4 image of 1 GB"
)
READ = Figure("image-read", "MB/s", 0.9, LOOP, "rumpel image cp of 256 MB out, cold", more=True)
WRITE = Figure("image-write", "MB/s", 0.9, LOOP, "rumpel image cp of 256 MB in", more=True)


class ImageBench:
    """An image, and what is done with it by either side."""

    def __init__(self, here: Path, options: Options) -> None:
        self.here = here
        program = Path(sys.executable).with_name("rumpel")
        code = [sys.executable, "-c", "from rumpel.cli import program; program()"]
        self.program = [str(program)] if program.exists() else code
        kernel = ["--kernel", options.image or options.version]
        self.kernel = [*kernel, "--profile", options.profile]
        self.image = here / "disk.img"
        self.mounted = here / "mounted"
        self.out = here / "out"
        self.mounted.mkdir()

    def make(self, kind: str = "ext4") -> None:
        """An empty image."""
        self.image.unlink(missing_ok=True)
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        run([*MKFS[kind], self.image])

    def command(self, name: str, *args: object) -> list[str]:
        """A command of ``rumpel image``."""
        return [*self.program, "image", name, *self.kernel, *map(str, args)]

    def ours(self, name: str, *args: object) -> float:
        """Run ``rumpel image``; the seconds that it took."""
        return timed(lambda: run(self.command(name, *args)))

    @contextmanager
    def loop(self) -> Iterator[None]:
        """The image mounted by the host."""
        run(["mount", "-o", "loop", self.image, self.mounted])
        try:
            yield
        finally:
            run(["umount", self.mounted])

    def host(self, *command: object) -> float:
        """Mount, run a command, unmount; the seconds that they took."""

        def work() -> None:
            with self.loop():
                run(command)

        return timed(work)

    def another_out(self) -> None:
        """Copy out to a new directory next, and leave the one before for the end.

        ext4 does not use inodes again for minutes after they were removed, and looks at each of
        them for every file that is made: what is measured would be that.
        """
        self.out = self.out.with_name(f"{self.out.name}-")

    def cold(self) -> None:
        """Let the host forget the image's content, and what was copied out."""
        shutil.rmtree(self.out, ignore_errors=True)
        os.sync()
        fd = os.open(self.image, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def run(command: Sequence[object]) -> None:
    """Run a program, which must not fail."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RumpelError(f"{command[0]} failed: {done.stderr.strip()}")


def timed(work: Callable[[], object]) -> float:
    """The seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def bench(options: Options) -> Iterator[ImageBench]:
    """A directory for images, and what works on them."""
    options.path()  # says what is missing before anything is measured
    with tempfile.TemporaryDirectory(prefix="rumpel-bench-") as here:
        yield ImageBench(Path(here), options)


def start(options: Options) -> Iterator[Result]:
    """List an empty image."""
    with bench(options) as b:
        b.make()
        b.ours("ls", b.image)
        times = [b.ours("ls", b.image) * 1e3 for _ in range(RUNS * 3)]
        yield IMAGE_START.result(times, [START] * len(times))


def files(options: Options) -> Iterator[Result]:
    """Copy a large file in and out, in turn with the host."""
    need_root()
    read: tuple[list[float], list[float]] = ([], [])
    write: tuple[list[float], list[float]] = ([], [])
    rate = FILE / 1e6
    with bench(options) as b:
        source = b.here / "file"
        with source.open("wb") as file:
            for _ in range(FILE >> 20):
                file.write(os.urandom(1 << 20))
        for _ in range(RUNS):
            b.make()
            b.cold()
            copy = f"cp {source} {b.mounted}/file && sync -f {b.mounted}"
            write[1].append(rate / b.host("sh", "-c", copy))
            b.make()
            b.cold()
            write[0].append(rate / b.ours("cp", source, f"{b.image}:/file"))
            for side in (1, 0):
                b.cold()
                b.out.mkdir()
                if side:
                    read[1].append(rate / b.host("cp", b.mounted / "file", b.out))
                else:
                    read[0].append(rate / b.ours("cp", f"{b.image}:/file", b.out))
    yield READ.result(*read)
    yield WRITE.result(*write)


def need_root() -> None:
    """Only root may mount what is measured beside."""
    if os.geteuid():
        raise RumpelError("only root may mount an image, to measure beside")
