# SPDX-License-Identifier: GPL-2.0-only
"""Disks and file systems, checked by the host's own tools."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Disk, Kernel, MemoryDisk

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def run(*command: str | Path) -> str:
    """Run a tool of the host; its output."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"},
    ).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some real files, with links and modes."""
    root = tmp_path / "tree"
    (root / "a/deep/er").mkdir(parents=True)
    for number in range(200):
        (root / f"a/file{number}").write_bytes(os.urandom(number * 97))
    (root / "a/deep/er/big").write_bytes(os.urandom(3 << 20))
    (root / "link").symlink_to("a/file7")
    (root / "a/file1").chmod(0o600)
    return root


def ext4(path: Path, tree: Path | None = None, size: str = "32M", *options: str) -> Path:
    """Make an image, filled from a tree."""
    content: list[str | Path] = ["-d", tree] if tree else []
    run("mke2fs", "-q", "-t", "ext4", *options, *content, path, size)
    return path


def damaged_directory(tmp_path: Path) -> Path:
    """An image whose directory /d is nonsense."""
    tree = tmp_path / "t"
    (tree / "d").mkdir(parents=True)
    for number in range(50):
        (tree / f"d/{number}").write_text("x")
    image = ext4(tmp_path / "disk.img", tree)
    block = int(run("debugfs", "-R", "blocks /d", image).split()[0])
    with image.open("r+b") as file:
        file.seek(block * int(run("dumpe2fs", "-h", image).split("Block size:")[1].split()[0]))
        file.write(b"\xff" * 512)
    return image


def compare(kernel: Kernel, mounted: str, tree: Path) -> int:
    """Compare all of a tree with what the kernel sees; the number of files."""
    count = 0
    for here, dirs, files in os.walk(tree):
        there = mounted + here[len(str(tree)) :]
        found = sorted(set(kernel.os.listdir(there)) - {"lost+found"})
        assert found == sorted([*dirs, *files])
        for name in files:
            status, ours = os.lstat(f"{here}/{name}"), kernel.os.lstat(f"{there}/{name}")
            assert (status.st_mode, status.st_size) == (ours.st_mode, ours.st_size)
            if os.path.islink(f"{here}/{name}"):  # noqa: PTH114
                assert os.readlink(f"{here}/{name}") == kernel.os.readlink(f"{there}/{name}")  # noqa: PTH115
                continue
            with kernel.open(f"{there}/{name}", "rb") as file:
                assert file.read() == Path(here, name).read_bytes()
            count += 1
    return count


def test_a_round_trip(boot: Boot, tmp_path: Path, tree: Path) -> None:
    """What the issue asks for: mke2fs, read, write, unmount, e2fsck, debugfs."""
    image = ext4(tmp_path / "disk.img", tree)
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt", "ext4")
    assert compare(kernel, "/mnt", tree) == 201
    written = os.urandom(1_000_000)
    with kernel.open("/mnt/a/new", "wb") as file:
        file.write(written)
    with kernel.open("/mnt/ümlaut", "w") as file:
        file.write("text\n")
    kernel.os.unlink("/mnt/a/file3")
    kernel.os.rename("/mnt/a/file4", "/mnt/a/deep/renamed")
    kernel.umount("/mnt")
    kernel.halt()
    run("e2fsck", "-fn", image)
    run("debugfs", "-R", f"dump /a/new {tmp_path / 'new'}", image)
    assert (tmp_path / "new").read_bytes() == written
    assert run("debugfs", "-R", "cat /ümlaut", image) == "text\n"
    run("debugfs", "-R", f"dump /a/deep/renamed {tmp_path / 'renamed'}", image)
    assert (tmp_path / "renamed").read_bytes() == (tree / "a/file4").read_bytes()
    assert "file3 " not in run("debugfs", "-R", "ls /a", image)


def test_halting_unmounts(boot: Boot, tmp_path: Path) -> None:
    image = ext4(tmp_path / "disk.img")
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt/a/b")
    with kernel.open("/mnt/a/b/file", "w") as file:
        file.write("not synced by anybody")
    kernel.halt()
    run("e2fsck", "-fn", image)
    assert run("debugfs", "-R", "cat /file", image) == "not synced by anybody"
    assert "needs_recovery" not in run("dumpe2fs", "-h", image)


def test_a_plug_that_is_pulled(boot: Boot, tmp_path: Path) -> None:
    """What was synced is there after the journal's recovery; the rest may be lost."""
    image = ext4(tmp_path / "disk.img")
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt")
    fd = kernel.os.open("/mnt/safe", os.O_CREAT | os.O_WRONLY)
    kernel.os.write(fd, b"safe" * 1000)
    kernel.os.fsync(fd)
    kernel.close()
    assert "needs_recovery" in run("dumpe2fs", "-h", image)
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt")
    with kernel.open("/mnt/safe", "rb") as file:
        assert file.read() == b"safe" * 1000
    assert any("recovery complete" in r.text for r in kernel.log)
    kernel.halt()
    run("e2fsck", "-fn", image)


def test_read_only(boot: Boot, tmp_path: Path, tree: Path) -> None:
    image = ext4(tmp_path / "disk.img", tree)
    before = image.read_bytes()
    kernel = boot(disks=[Disk(image, read_only=True)])
    with pytest.raises(OSError, match=r"denied|Read-only") as caught:
        kernel.mount("/dev/vda", "/mnt", "ext4")
    assert caught.value.errno in (errno.EACCES, errno.EROFS)
    kernel.mount("/dev/vda", "/mnt", "ext4", read_only=True)
    assert compare(kernel, "/mnt", tree) == 201
    with pytest.raises(OSError, match="Read-only file system"):
        kernel.os.mkdir("/mnt/x")
    kernel.halt()
    assert image.read_bytes() == before


def test_memory_as_a_disk(boot: Boot, tmp_path: Path, tree: Path) -> None:
    data = bytearray(ext4(tmp_path / "disk.img", tree).read_bytes())
    fixed = MemoryDisk(bytes(4096), read_only=True)
    kernel = boot(disks=[MemoryDisk(data), MemoryDisk("8M"), fixed])
    kernel.mount("/dev/vda", "/mnt")
    assert compare(kernel, "/mnt", tree) == 201
    with kernel.open("/mnt/new", "w") as file:
        file.write("new")
    assert kernel.os.path.getsize("/sys/block/vdb") >= 0
    with kernel.open("/sys/block/vdb/size") as size:
        assert int(size.read()) * 512 == 8 << 20
    with kernel.open("/sys/block/vdc/ro") as flag:
        assert flag.read() == "1\n"
    fd = kernel.os.open("/dev/vdb", os.O_RDWR)
    assert kernel.os.pread(fd, 10, 0) == bytes(10)
    kernel.os.pwrite(fd, b"raw", 1000)
    kernel.os.fsync(fd)
    kernel.os.close(fd)
    kernel.halt()
    data.extend(b"free again")
    image = tmp_path / "copy.img"
    image.write_bytes(data[: 32 << 20])
    run("e2fsck", "-fn", image)
    assert run("debugfs", "-R", "cat /new", image) == "new"


def test_several_disks(boot: Boot, tmp_path: Path) -> None:
    images = [ext4(tmp_path / f"disk{n}.img", None, "16M") for n in range(5)]
    kernel = boot(disks=images)
    for number in range(5):
        kernel.mount(f"/dev/vd{chr(97 + number)}", f"/mnt/{number}")
        with kernel.open(f"/mnt/{number}/name", "w") as file:
            file.write(str(number))
    kernel.halt()
    for number, image in enumerate(images):
        assert run("debugfs", "-R", "cat /name", image) == str(number)


class TestBadDisks:
    """What is wrong with a disk is in the exception, in the kernel's own words."""

    def mounting(self, kernel: Kernel, fstype: str | None = "ext4") -> OSError:
        with pytest.raises(OSError, match="Errno") as caught:
            kernel.mount("/dev/vda", "/mnt", fstype)
        return caught.value

    def test_a_damaged_superblock(self, boot: Boot, tmp_path: Path) -> None:
        image = ext4(tmp_path / "disk.img")
        with image.open("r+b") as file:
            file.seek(1024 + 24)
            file.write(b"\xff" * 4)
        error = self.mounting(boot(disks=[image]))
        assert "EXT4-fs (vda):" in str(error)
        assert error.filename == "/dev/vda"

    def test_damaged_group_descriptors(self, boot: Boot, tmp_path: Path) -> None:
        image = ext4(tmp_path / "disk.img", None, "32M", "-b", "4096")
        with image.open("r+b") as file:
            file.seek(4096)
            file.write(b"\x55" * 4096)
        error = self.mounting(boot(disks=[image]))
        assert "EXT4-fs (vda): " in str(error)
        assert "group descriptors corrupted" in str(error) or "ext4_check_descriptors" in str(error)

    def test_no_file_system(self, boot: Boot) -> None:
        kernel = boot(disks=[MemoryDisk("16M")])
        assert self.mounting(kernel).errno == errno.EINVAL
        assert "vda" in str(self.mounting(kernel))
        error = self.mounting(kernel, None)
        assert error.errno in (errno.EINVAL, errno.ENODEV)
        assert kernel.os.getpid() == 1

    def test_a_file_system_that_the_kernel_has_not(self, boot: Boot) -> None:
        kernel = boot(disks=[MemoryDisk("16M")])
        assert self.mounting(kernel, "nonsensefs").errno == errno.ENODEV

    def test_a_device_that_is_not_there(self, kernel: Kernel) -> None:
        assert self.mounting(kernel).errno == errno.ENOENT

    def test_damaged_directories_are_errors_of_calls(self, boot: Boot, tmp_path: Path) -> None:
        image = damaged_directory(tmp_path)
        kernel = boot(disks=[image])
        kernel.mount("/dev/vda", "/mnt", data="errors=continue")
        with pytest.raises(OSError, match=r"Structure needs cleaning|Bad message"):
            kernel.os.listdir("/mnt/d")
        assert kernel.state == "running"


@pytest.mark.parametrize(
    ("fstype", "command"),
    [
        ("ext2", ["mke2fs", "-q", "-t", "ext2"]),
        ("ext3", ["mke2fs", "-q", "-t", "ext3"]),
        (None, ["mke2fs", "-q", "-t", "ext4"]),
    ],
)
def test_relatives_and_probing(
    boot: Boot, tmp_path: Path, fstype: str | None, command: list[str]
) -> None:
    image = tmp_path / "disk.img"
    run(*command, image, "16M")
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt", fstype)
    with kernel.open("/mnt/x", "w") as file:
        file.write("x")
    kernel.umount("/mnt")
    kernel.halt()
    run("e2fsck", "-fn", image)


def test_a_mount_in_use(kernel: Kernel) -> None:
    kernel.mount("none", "/mnt", "tmpfs", data="size=1m")
    fd = kernel.os.open("/mnt/x", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="busy"):
        kernel.umount("/mnt")
    assert kernel.os.write(fd, bytes(2 << 20)) == 1 << 20
    with pytest.raises(OSError, match="No space left"):
        kernel.os.write(fd, b"x")
    kernel.os.close(fd)
    kernel.umount("/mnt")
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.umount("/mnt")


def test_statistics(boot: Boot) -> None:
    disk = MemoryDisk("16M")
    kernel = boot(disks=[disk])
    fd = kernel.os.open("/dev/vda", os.O_RDWR)
    kernel.os.pread(fd, 1 << 20, 0)
    kernel.os.pwrite(fd, bytes(1 << 20), 0)
    kernel.os.fsync(fd)
    stats: Any = disk.stats
    assert stats.received_bytes >= 1 << 20
    assert stats.sent_bytes >= 1 << 20
    assert stats.errors == 0
    kernel.halt()
    # What it has counted can be read when its kernel is gone.
    assert disk.stats.received_bytes >= 1 << 20
    assert disk.stats.sent_bytes >= 1 << 20


def test_a_disk_that_shrinks_is_an_io_error(boot: Boot, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 << 20))
    kernel = boot(disks=[path])
    os.truncate(path, 1 << 20)
    fd = kernel.os.open("/dev/vda", os.O_RDONLY)
    assert len(kernel.os.pread(fd, 4096, 0)) == 4096
    try:
        assert kernel.os.pread(fd, 4096, 6 << 20) == bytes(4096)
    except OSError as error:
        assert error.errno == errno.EIO
    assert kernel.state == "running"
