# SPDX-License-Identifier: GPL-2.0-only
"""One writer or many readers of an image, whatever it is called and however it is opened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError, open_image
from tests.conftest import VERSION
from tests.images.tool import RUMPEL
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]

_BUSY = "in use: another process has the image open"


def start(command: str, *args: object) -> subprocess.Popen[str]:
    """Run a command beside others."""
    kernel = [] if command == "commit" else ["--kernel", VERSION]
    words = [*RUMPEL, command, *kernel, *map(str, args)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The status of a command, and its complaint."""
    try:
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, error


def test_writers_at_a_time(tmp_path: Path) -> None:
    """Each has either done its work or is told that somebody else is at it."""
    disk = make(tmp_path / "disk.img", "ext4", 32)
    processes = [start("mkdir", f"{disk}:/{number}") for number in range(6)]
    results = [ended(process) for process in processes]
    with open_image(disk, version=VERSION, read_only=True) as image:
        there = {Path(name).name for name in image.ls("/", detail=False)} - {"lost+found"}
    for number, (status, error) in enumerate(results):
        assert (status, str(number) in there) in ((0, True), (1, False)), results
        assert not status or _BUSY in error
    assert there
    check(disk)


Refused = Callable[[Path, Path], tuple[str, list[object]]]
COMMANDS: dict[str, Refused] = {
    "by its name": lambda disk, _: ("mkdir", [f"{disk}:/new"]),
    "by a symbolic link": lambda disk, _: ("mkdir", [f"{disk.with_name('link')}:/new"]),
    "by a hard link": lambda disk, _: ("mkdir", [f"{disk.with_name('hard')}:/new"]),
    "without a sandbox": lambda disk, _: ("mkdir", ["--no-sandbox", f"{disk}:/new"]),
    "cp": lambda disk, other: ("cp", [other, f"{disk}:/"]),
    "resize": lambda disk, _: ("resize", [disk, "48M"]),
    "shrink": lambda disk, _: ("resize", [disk, "24M"]),
    "repair": lambda disk, _: ("check", ["--repair", disk]),
    "commit": lambda disk, other: ("commit", [disk, other]),
    "trim": lambda disk, _: ("trim", [disk]),
    "create": lambda disk, _: ("create", ["--force", disk, "16M", "-p", "rest:ext4"]),
    "as a second disk": lambda disk, other: ("ls", ["--disk", disk, other]),
}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """An image that has several names, and an overlay of it."""
    disk = make(tmp_path / "disk.img", "ext4", 32)
    (tmp_path / "link").symlink_to(disk)
    os.link(disk, tmp_path / "hard")
    overlay = tmp_path / "overlay"
    with open_image(disk, overlay=overlay, version=VERSION) as image:
        image.mkdir("/in the overlay")
    return disk, overlay


@pytest.mark.parametrize("read_only", [False, True])
def test_refused(read_only: bool, pair: tuple[Path, Path]) -> None:
    """Whoever would write to what somebody has open changes nothing."""
    disk, other = pair
    with open_image(disk, version=VERSION, read_only=read_only) as image:
        before = disk.read_bytes()
        processes = {}
        for name, make_args in COMMANDS.items():
            if name == "as a second disk" and read_only:
                continue
            command, args = make_args(disk, other)
            processes[name] = start(command, *args)
        results = {name: ended(process) for name, process in processes.items()}
        for name, (status, error) in results.items():
            assert status == 1, (name, error)
            assert "in use" in error, (name, error)
        assert disk.read_bytes() == before
        assert image.ls("/", detail=False) == ["/lost+found"]
    check(disk)


def test_readers(pair: tuple[Path, Path]) -> None:
    """Many may read at a time; also those that write to overlays of their own."""
    disk, _ = pair
    with (
        open_image(disk, version=VERSION, read_only=True) as one,
        open_image(disk, version=VERSION, read_only=True, sandbox=False) as two,
        open_image(disk, version=VERSION, overlay=True) as three,
        open_image(disk, version=VERSION, overlay=True) as four,
    ):
        three.mkdir("/three")
        assert one.ls("/", detail=False) == two.ls("/", detail=False) == ["/lost+found"]
        assert four.ls("/", detail=False) == ["/lost+found"]
        with pytest.raises(OSError, match=_BUSY):
            open_image(disk, version=VERSION)
    with open_image(disk, version=VERSION) as five:
        five.mkdir("/five")
    check(disk)


def test_one_overlay(pair: tuple[Path, Path]) -> None:
    """An overlay has one user."""
    disk, overlay = pair
    with open_image(disk, overlay=overlay, version=VERSION):
        with pytest.raises((OSError, ImageError), match="in use"):
            open_image(disk, overlay=overlay, version=VERSION)
        status, error = ended(start("commit", disk, overlay))
        assert (status, "in use" in error) == (1, True)
    with open_image(disk, overlay=overlay, version=VERSION) as image:
        assert image.isdir("/in the overlay")


def test_the_next_one(tmp_path: Path) -> None:
    """As soon as it is closed, the next may have it."""
    disk = make(tmp_path / "disk.img", "ext4", 32)
    images: list[Any] = []
    for number in range(3):
        with open_image(disk, version=VERSION) as image:
            image.mkdir(f"/{number}")
            images.append(image)
    check(disk)
