# SPDX-License-Identifier: GPL-2.0-only
"""Options of mount(8), for the file system in an image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError
from rumpel.images.fuse.mount import unmount
from rumpel.images.mounting import split_options
from tests.images.test_resize import rumpel
from tests.images.tools import ENV, check, make

pytestmark = pytest.mark.kernel


def test_subvolumes(opened: Any, tmp_path: Path) -> None:
    """Also those that are not below what is mounted by default, and what is compressed."""
    disk = make(tmp_path / "disk.img", "btrfs", 128)
    with opened(disk) as image:
        _subvolume(image, "home")
        _subvolume(image, "root")
        number = image.info("/root")["ino"]
        assert number == 256
        image.pipe("/home/file", b"at home")
        image.pipe("/root/file", b"at the top")
        default = image.volume.kernel.os.open("/", os.O_RDONLY)
        image.volume.kernel.syscall(
            "ioctl", default, 0x40089413, bytearray((257).to_bytes(8, "little"))
        )
        image.volume.kernel.os.close(default)
    with opened(disk) as image:
        assert image.cat("/file") == b"at the top"
        assert not image.exists("/home")
    with opened(disk, mount_options="subvol=home,compress-force=zstd:9") as image:
        assert image.cat("/file") == b"at home"
        image.pipe("/zeroes", b"0123456789abcdef" * 100_000)
    assert rumpel("ls", "-o", "subvolid=5", disk).split() == ["home", "root"]
    assert rumpel("cat", "--mount-options", "ro,subvol=/home", f"{disk}:/file") == "at home"
    check(disk, "btrfs")
    size = _told_size(disk)
    assert size < 400_000, "it is not compressed"


def _subvolume(image: Any, name: str) -> None:
    kernel = image.volume.kernel
    top = kernel.os.open("/", os.O_RDONLY)
    kernel.syscall("ioctl", top, 0x5000940E, bytearray(bytes(8) + name.encode().ljust(4088, b"\0")))
    kernel.os.close(top)


def _told_size(disk: Path) -> int:
    """What btrfs itself says of its data, in bytes."""
    command = ["btrfs", "inspect-internal", "dump-tree", "-t", "extent", str(disk)]
    said = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout
    total, kind = 0, ""
    for line in said.splitlines():
        if "EXTENT_ITEM" in line:
            kind = line
        elif "flags DATA" in line:
            total += int(kind.split("EXTENT_ITEM")[1].split(")")[0])
    return total


def test_owners(opened: Any, tmp_path: Path) -> None:
    """Of file systems that know none."""
    disk = make(tmp_path / "disk.img", "vfat", 16)
    with opened(disk, mount_options="uid=1000,gid=100,umask=027") as image:
        image.pipe("/file", b"x")
        info = image.info("/file")
    assert (info["uid"], info["gid"], info["mode"] & 0o777) == (1000, 100, 0o750)


def test_what_is_refused(opened: Any, disk: Path) -> None:
    """By the file system, with its words, or here."""
    with pytest.raises(ImageError, match=r"disk.img: cannot mount ext4: .*nonsense"):
        opened(disk, mount_options="nonsense")
    with pytest.raises(ValueError, match="'suid' is no option here"):
        opened(disk, mount_options="noatime,suid")
    said = rumpel("ls", "-o", "bind", disk, code=2)
    assert "'bind' is no option here: it is a device that is mounted" in said
    assert "--read-only, but this writes" in rumpel("mkdir", "-o", "ro", f"{disk}:/d", code=2)
    assert split_options("rw,relatime,noexec,data=journal,x=1") == (8 | 1 << 21, "data=journal,x=1")


def test_of_a_directory(disk: Path, tmp_path: Path) -> None:
    """``mount -o`` knows those of the directory as well."""
    vfat, top = make(tmp_path / "stick.img", "vfat", 16), tmp_path / "mnt"
    top.mkdir()
    rumpel("mount", "-o", "uid=1000,gid=100,noexec,allow_other", vfat, top)
    try:
        (top / "file").write_text("#!/bin/sh\n")
        assert ((top / "file").stat().st_uid, (top / "file").stat().st_gid) == (1000, 100)
        with pytest.raises(PermissionError):
            subprocess.run([top / "file"], check=False)
        words = next(
            row for row in Path("/proc/mounts").read_text().splitlines() if str(top) in row
        )
        assert {"noexec", "allow_other", "rw"} <= set(words.split()[3].split(","))
    finally:
        unmount(str(top))
    rumpel("mount", "-o", "ro", disk, top)
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            (top / "file").touch()
    finally:
        unmount(str(top))
    check(disk)
