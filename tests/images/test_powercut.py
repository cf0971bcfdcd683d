# SPDX-License-Identifier: GPL-2.0-only
"""Power cuts: each state that a disk may show after one mounts, and holds what was promised.

RUMPEL_CUTS says how many states of each file system; without it few.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import rumpel
from rumpel.images import open_image
from tests.conftest import VERSION, Boot
from tests.images.recorder import Recorder
from tests.images.tools import check, make

pytestmark = pytest.mark.kernel

SIZES = {"ext4": 16, "xfs": 304, "btrfs": 128, "f2fs": 64}
_MANY = int(os.environ.get("RUMPEL_CUTS", "0"))


class Promise(NamedTuple):
    """From a moment on a file has one of these contents; None is that there is none."""

    since: int
    path: str
    contents: list[bytes | None]


def work(to: Any, disk: Recorder, chance: random.Random) -> list[Promise]:
    """Write files; what is promised, and since when."""
    promises = []

    def write(path: str, data: bytes, flags: int = os.O_CREAT | os.O_EXCL) -> int:
        fd = to.open(path, os.O_RDWR | flags, 0o644)
        at = 0
        while at < len(data):
            at += to.write(fd, data[at:])
        return int(fd)

    def sync(fd: int) -> None:
        to.fsync(fd)
        to.close(fd)

    def sync_directory() -> None:
        sync(to.open("/mnt/d", os.O_RDONLY))

    to.mkdir("/mnt/d")
    sync_directory()
    for number in range(12):
        data = bytes([65 + number]) * chance.choice((10, 5000, 70_000, 300_000))
        path = f"/mnt/d/{number}"
        way = number % 4
        if way == 0:  # written and fsynced
            sync(write(path, data))
            sync_directory()
            promises.append(Promise(disk.time, path, [data]))
        elif way == 1:  # a new content by the name of an old one
            sync(write(path, b"old" * 1000))
            sync_directory()
            promises.append(Promise(disk.time, path, [b"old" * 1000, data]))
            sync(write(f"{path}.new", data))
            to.rename(f"{path}.new", path)
            sync_directory()
            promises.append(Promise(disk.time, path, [data]))
        elif way == 2:  # nobody cares, but it is to be consistent
            to.close(write(path, data))
            to.rename(path, f"{path}.moved")
            to.link(f"{path}.moved", f"{path}.again")
        else:  # removed, and that is synced
            sync(write(path, data))
            to.unlink(path)
            sync_directory()
            promises.append(Promise(disk.time, path, [None]))
            to.mkdir(f"{path}.d")
    # All of a file system at once.
    to.close(write("/mnt/d/last", b"last" * 10_000))
    to.sync()
    promises.append(Promise(disk.time, "/mnt/d/last", [b"last" * 10_000]))
    return promises


def recorded(boot: Boot, base: Path, kind: str, seed: int) -> tuple[Recorder, list[Promise]]:
    """What a load has done to a disk."""
    recorder = Recorder(base, seed)
    kernel = boot(disks=[rumpel.PythonDisk(recorder)])
    kernel.mount("/dev/vda", "/mnt", kind)
    promises = work(kernel.os, recorder, random.Random(seed))
    kernel.halt()
    return recorder, promises


def content(image: Any, path: str) -> bytes | None:
    """Of a file, if there is one."""
    path = path.removeprefix("/mnt")
    return bytes(image.cat(path)) if image.exists(path) else None


@pytest.mark.timeout(max(300, 60 * _MANY))
@pytest.mark.parametrize("kind", list(SIZES))
def test_power_cuts(kind: str, boot: Boot, tmp_path: Path) -> None:
    """All up to a flush is there, of the rest anything: the journal makes a file system of it."""
    seed = random.randrange(1 << 32) if _MANY else 1
    chance = random.Random(seed)
    base = make(tmp_path / "base.img", kind, SIZES[kind])
    recorder, promises = recorded(boot, base, kind, seed)
    flushes = [0, *recorder.flushes]
    assert len(flushes) > 10
    disk, wrong = tmp_path / "disk.img", []
    for at in range(_MANY or 4):
        # Between each flush and the next, and again; of a few some.
        number = at % len(flushes) if _MANY else chance.randrange(len(flushes))
        time = chance.randrange(flushes[number], [*flushes, recorder.time + 1][number + 1])
        recorder.cut(base, disk, time, chance)
        told = f"{kind}, seed {seed}, state {at}: after flush {number}, at {time}"
        try:
            with open_image(disk, version=VERSION) as image:
                kept = {each.path: each for each in promises if each.since <= time}
                for path, promise in kept.items():
                    found = content(image, path)
                    assert found in promise.contents, f"{path}: {found and found[:50]!r}"
            check(disk, kind)
        except Exception as error:
            wrong.append(f"{told}: {error!r:.2000}")
    assert not wrong, "\n".join(wrong)
