# SPDX-License-Identifier: GPL-2.0-only
"""ext4 on an image: mounted by the library kernel, and by the host through a loop device."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import rumpel
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result
from rumpel.errors import RumpelError

WRITE = Figure(
    "blk-write", "MB/s", 0.9, "loop mount", "write 512 MB to ext4 in an image, fsync", more=True
)
READ = Figure("blk-read", "MB/s", 0.9, "loop mount", "read them back, nothing cached", more=True)
FILES = Figure(
    "blk-files",
    "1/s",
    2,
    "loop mount",
    "10,000 files of 4 KiB: create, write, close, unlink, sync",
    more=True,
)

SIZE = 512 << 20
PIECE = 1 << 20
COUNT = 10_000
RUNS = 5
MEMORY = "256M"
"""Of the library kernel: the host's has all that the machine has."""


Sides = Callable[[Path, Options], Any]


class Side:
    """One of the two: how it mounts the image, and its functions for files."""

    def __init__(self, image: Path, where: str, api: Any) -> None:
        self.image = image
        self.where = where
        self.os = api

    def settle(self) -> None:
        """Have everything on the host's disk, and nothing of the image in memory."""
        os.sync()
        fd = os.open(self.image, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def write(self) -> float:
        """Megabytes a second."""
        piece = os.urandom(PIECE)
        start = time.perf_counter()
        fd = self.os.open(f"{self.where}/big", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        for _ in range(SIZE // PIECE):
            self.os.write(fd, piece)
        self.os.fsync(fd)
        took = time.perf_counter() - start
        self.os.close(fd)
        return SIZE / 1e6 / took

    def read(self) -> float:
        """The same, of a file that is in no cache."""
        buffer = bytearray(PIECE)
        start = time.perf_counter()
        fd = self.os.open(f"{self.where}/big", os.O_RDONLY)
        while self.os.readv(fd, [buffer]):
            pass
        took = time.perf_counter() - start
        self.os.close(fd)
        return SIZE / 1e6 / took

    def files(self) -> float:
        """Files a second."""
        data, names = bytes(4096), [f"{self.where}/d/{i}" for i in range(COUNT)]
        self.os.mkdir(f"{self.where}/d")
        start = time.perf_counter()
        for name in names:
            fd = self.os.open(name, os.O_CREAT | os.O_WRONLY, 0o600)
            self.os.write(fd, data)
            self.os.close(fd)
        for name in names:
            self.os.unlink(name)
        self.os.rmdir(f"{self.where}/d")
        fd = self.os.open(self.where, os.O_RDONLY)
        self.os.fsync(fd)
        took = time.perf_counter() - start
        self.os.close(fd)
        return COUNT / took


@contextmanager
def ours(image: Path, options: Options) -> Iterator[Side]:
    """Mounted by a library kernel."""
    with rumpel.boot(image=options.path(), disks=[image], memory=MEMORY) as kernel:
        kernel.mount("/dev/vda", "/mnt", "ext4")
        yield Side(image, "/mnt", kernel.os)


@contextmanager
def plain(image: Path, _options: Options) -> Iterator[Side]:
    """No image at all: a directory of the host."""
    where = image.with_suffix(".dir")
    where.mkdir(exist_ok=True)
    image.unlink(missing_ok=True)
    with (where / "big").open("ab"):
        yield Side(where / "big", str(where), os)


@contextmanager
def loop(image: Path, _options: Options) -> Iterator[Side]:
    """Mounted by the host."""
    where = image.with_suffix(".mnt")
    where.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", "loop", image, where)
    try:
        yield Side(image, str(where), os)
    finally:
        _run("umount", where)


def _run(*command: str | Path) -> None:
    """Run a tool of the host.

    Raises:
        RumpelError: with its words, if it fails or there is none.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    tool = shutil.which(command[0], path=path)
    if tool is None:
        raise RumpelError(f"this benchmark needs {command[0]} (mount, e2fsprogs)")
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RumpelError(f"{command[0]} failed: {done.stderr.strip()}")


@contextmanager
def images() -> Iterator[tuple[Path, Path]]:
    """Two new file systems, one for each side."""
    with tempfile.TemporaryDirectory(prefix="rumpel-bench-", dir="/var/tmp") as made:
        pair = Path(made, "ours.img"), Path(made, "loop.img")
        for image in pair:
            image.touch()
            os.truncate(image, 2 * SIZE)
            _run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", image)
        yield pair


def _peer() -> tuple[Sides, str]:
    """A loop mount, or what comes nearest where there can be none."""
    if os.geteuid() == 0 and os.path.exists("/dev/loop-control"):  # noqa: PTH110
        return loop, "loop mount"
    return plain, "host's file system (a loop mount needs root and /dev/loop-control)"


def _pairs(
    figures: tuple[Figure, ...], measure: Callable[[Sides, Path], tuple[float, ...]]
) -> Iterator[Result]:
    """Runs of both sides, each time the other one first."""
    found: list[dict[Sides, tuple[float, ...]]] = []
    peer, name = _peer()
    with images() as pair:
        sides = list(zip((ours, peer), pair, strict=True))
        for mount, image in sides:
            measure(mount, image)  # allocates the image's blocks on the host's disk
        for run in range(RUNS):
            order = sides if run % 2 else sides[::-1]
            found.append({mount: measure(mount, image) for mount, image in order})
    for index, figure in enumerate(figures):
        values = [[run[side][index] for run in found] for side in (ours, peer)]
        yield replace(figure, peer=name).result(*values)


def stream(options: Options) -> Iterator[Result]:
    """Write a large file, and read it."""

    def measure(mount: Sides, image: Path) -> tuple[float, float]:
        with mount(image, options) as side:
            side.settle()
            written = side.write()
        side.settle()
        with mount(image, options) as side:
            return written, side.read()

    return _pairs((WRITE, READ), measure)


def files(options: Options) -> Iterator[Result]:
    """Many small files, made and removed."""

    def measure(mount: Sides, image: Path) -> tuple[float]:
        with mount(image, options) as side:
            return (side.files(),)

    return _pairs((FILES,), measure)
