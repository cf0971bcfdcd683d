# SPDX-License-Identifier: GPL-2.0-only
"""Full disks: that in the image, and that on which the image lies."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError, open_image
from tests.conftest import VERSION
from tests.images.tool import RUMPEL
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]

SIZES = {"ext4": 32, "xfs": 304, "btrfs": 128, "f2fs": 64, "vfat": 32, "exfat": 32}


def run(command: str, *args: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; ``limit``: no file may become longer than that."""

    def confine() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = [*RUMPEL, command, "--kernel", VERSION, *map(str, args)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=confine)
    assert all(line.startswith("rumpel: ") for line in done.stderr.splitlines()), done.stderr
    assert (done.returncode, bool(done.stderr)) in ((0, False), (1, True)), done
    return done


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of the host with room for 24 MB."""
    top = tmp_path / "small"
    top.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", top], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file systems can be mounted here: {done.stderr.strip()}")
    yield top
    subprocess.run(["umount", "-l", top], check=True)


def _leave(to: Any, room: int) -> None:
    """Have a file take all but some room."""
    there = to.statvfs("/")
    fd = to.open("/large", os.O_WRONLY | os.O_CREAT)
    size = there.f_bavail * there.f_frsize - room
    try:
        to.posix_fallocate(fd, 0, size)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP  # of exFAT
        while size > 0:
            size -= to.write(fd, bytes(min(size, 1 << 20)))
    to.close(fd)


@pytest.mark.parametrize("kind", list(SIZES))
def test_full_inside(kind: str, tmp_path: Path) -> None:
    """What has no room is an error, and leaves no half a file; all else is there."""
    disk = make(tmp_path / "disk.img", kind, SIZES[kind])
    tree = tmp_path / "tree"
    tree.mkdir()
    with open_image(disk, version=VERSION) as image:
        image.pipe("/before", b"before" * 1000)
        _leave(image.volume.kernel.os, 12 << 20)
    piece = 5 << 20
    for name in ("a", "b", "c", "d"):
        # No holes, nothing to compress, and no two alike.
        (tree / name).write_bytes(os.urandom(piece))
    done = run("cp", "-r", tree, f"{disk}:/new")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    check(disk, kind)
    with open_image(disk, version=VERSION) as image:
        assert image.cat("/before") == b"before" * 1000
        there = [Path(name).name for name in image.ls("/new", detail=False)]
        assert there
        for name in there:
            assert image.cat(f"/new/{name}") == (tree / name).read_bytes()
        image.rm("/new", recursive=True)
        image.pipe("/after", b"after")
    check(disk, kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "f2fs"])
def test_full_host(kind: str, small: Path, tmp_path: Path) -> None:
    """The host has no room for an image with holes: an error that says so, and no more is lost."""
    made, disk = make(tmp_path / "made.img", kind, SIZES[kind]), small / "disk.img"
    with open_image(made, version=VERSION) as image:
        image.pipe("/before", b"before" * 1000)
    subprocess.run(["cp", "--sparse=always", made, disk], check=True)
    new = tmp_path / "new"
    new.write_bytes(os.urandom(28 << 20))
    done = run("cp", new, f"{disk}:/new")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    whole = tmp_path / "whole.img"
    subprocess.run(["cp", "--sparse=always", disk, whole], check=True)
    with open_image(whole, version=VERSION) as image:
        assert image.cat("/before") == b"before" * 1000
        image.pipe("/after", b"after")
    run("check", "--repair", whole)
    check(whole, kind)


def test_full_overlay(small: Path, tmp_path: Path) -> None:
    """An overlay that has no room: the same, and the image is as it was."""
    disk = make(tmp_path / "disk.img", "ext4", 64)
    before = disk.read_bytes()
    new = tmp_path / "new"
    new.write_bytes(os.urandom(40 << 20))
    done = run("cp", "--overlay", small / "overlay", new, f"{disk}:/new")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert disk.read_bytes() == before


def test_full_target(small: Path, tmp_path: Path) -> None:
    """A directory of the host that is full: an error, and no half a file."""
    disk = make(tmp_path / "disk.img", "ext4", 64)
    with open_image(disk, version=VERSION) as image:
        image.pipe("/large", os.urandom(30 << 20))
    done = run("cp", f"{disk}:/large", small)
    assert (done.returncode, os.listdir(small)) == (1, [])
    assert "No space left on device" in done.stderr
    done = run("create", small / "new.img", "64M", "-p", "rest:ext4", "--from", disk.parent)
    assert (done.returncode, os.listdir(small)) == (1, [])


def test_file_size_limit(tmp_path: Path) -> None:
    """``ulimit -f``: what cannot be written is an error, not the end by a signal."""
    disk = make(tmp_path / "disk.img", "ext4", 64)
    new = tmp_path / "new"
    new.write_bytes(os.urandom(40 << 20))
    done = run("cp", new, f"{disk}:/new", limit=16 << 20)
    assert done.returncode == 1
    with open_image(disk, version=VERSION):
        pass
    run("check", "--repair", disk)
    check(disk)


def test_full_host_in_python(small: Path) -> None:
    """The same is an exception when the image is closed, at the latest."""
    disk = make(small / "disk.img", "ext4", 32)
    with (
        pytest.raises((OSError, ImageError), match=r"No space left on device|Input/output error"),
        open_image(disk, version=VERSION) as image,
    ):
        image.pipe("/new", os.urandom(28 << 20))
