# SPDX-License-Identifier: GPL-2.0-only
"""Disks that fail, are slow, die or are full: errors in the kernel, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rumpel import Disk, FaultyDisk, Kernel, Overlay
from tests.api.test_disks import ext4, run

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def mounted(boot: Boot, disk: Disk | FaultyDisk | Overlay, options: str = "") -> Kernel:
    """A kernel that goes on after an error."""
    kernel = boot(disks=[disk])
    kernel.mount("/dev/vda", "/mnt", "ext4", data=options)
    return kernel


def said(kernel: Kernel, text: str) -> bool:
    """Is it in the kernel's log?"""
    return any(text in record.text for record in kernel.log)


def test_the_hosts_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pwrite(2) has left over is written, too."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 16))
    backend = FaultyDisk(path)._backend
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:1000], at))
    backend.pwrite(512, b"x" * 4096)
    assert path.read_bytes() == bytes(512) + b"x" * 4096 + bytes((1 << 16) - 4608)


def test_bad_sectors(boot: Boot, tmp_path: Path) -> None:
    """Reading a file on them is EIO, all others can be read; once healed all is well."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "good").write_bytes(b"g" * 100_000)
    (tree / "bad").write_bytes(b"b" * 100_000)
    image = ext4(tmp_path / "disk.img", tree)
    block = int(run("debugfs", "-R", "blocks /bad", image).split()[0])
    size = int(run("dumpe2fs", "-h", image).split("Block size:")[1].split()[0])
    disk = FaultyDisk(image)
    kernel = mounted(boot, disk)
    disk.add_fault(block * size, size, reads=True)
    with kernel.open("/mnt/bad", "rb") as file, pytest.raises(OSError, match="Input/output"):
        file.read(10)
    with kernel.open("/mnt/good", "rb") as file:
        assert file.read() == b"g" * 100_000
    assert said(kernel, "I/O error, dev vda")
    disk.heal()
    with kernel.open("/mnt/bad", "rb") as file:
        assert file.read() == b"b" * 100_000


def test_writes_that_fail(boot: Boot, tmp_path: Path) -> None:
    """Fsync says so; ext4 and the log do too; the kernel lives."""
    disk = FaultyDisk(ext4(tmp_path / "disk.img"))
    kernel = mounted(boot, disk)
    disk.add_fault(0, 32 << 20, errno.EIO, reads=False)
    fd = kernel.os.open("/mnt/new", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match=r"Input/output|Read-only"):
        kernel.os.write(fd, b"x" * 100_000)
        kernel.os.fsync(fd)
    assert said(kernel, "I/O error, dev vda")
    assert kernel.os.getpid() == 1
    assert disk.stats.errors > 0
    kernel.close()


def test_a_disk_that_dies(boot: Boot, tmp_path: Path) -> None:
    """With a request under way."""
    disk = FaultyDisk(ext4(tmp_path / "disk.img"))
    kernel = mounted(boot, disk)
    entered, died = threading.Event(), threading.Event()
    read = disk._backend.pread

    def pread(offset: int, length: int) -> bytes:
        entered.set()
        assert died.wait(60)
        return read(offset, length)

    disk._backend.pread = pread  # type: ignore[method-assign]
    failures: list[OSError] = []

    def reader() -> None:
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        for offset in range(16 << 20, 30 << 20, 1 << 20):
            try:
                kernel.os.pread(fd, 4096, offset)
            except OSError as error:
                failures.append(error)
                return

    thread = threading.Thread(target=reader)
    thread.start()
    assert entered.wait(60)
    disk.fail()
    died.set()
    thread.join(60)
    assert not thread.is_alive()
    assert [error.errno for error in failures] == [errno.EIO]
    with pytest.raises(OSError, match=r"Input/output|Read-only"):
        fd = kernel.os.open("/mnt/new", os.O_CREAT | os.O_WRONLY)
        kernel.os.write(fd, b"x")
        kernel.os.fsync(fd)
    assert kernel.os.getpid() == 1
    kernel.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of the host with little room."""
    if os.geteuid():
        pytest.skip("only root may mount a tmpfs")
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", where], check=True)
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.parametrize("kind", ["file", "overlay"])
def test_the_host_is_full(boot: Boot, tmp_path: Path, small: Path, kind: str) -> None:
    """An error at fsync; what was there stays, and room helps."""
    if kind == "file":
        image = ext4(small / "disk.img", None, "64M", "-E", "lazy_itable_init=1")
        disk: Disk | Overlay = Disk(image)
    else:
        disk = Overlay(ext4(tmp_path / "base.img", None, "64M"), small / "over")
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    kernel = mounted(boot, disk)
    fd = kernel.os.open("/mnt/big", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match=r"Input/output|No space|Read-only"):
        for _ in range(16):
            kernel.os.write(fd, os.urandom(1 << 20))
        kernel.os.fsync(fd)
    assert kernel.os.getpid() == 1
    ballast.unlink()
    raw = kernel.os.open("/dev/vda", os.O_RDONLY)
    assert len(kernel.os.pread(raw, 4096, 0)) == 4096
    kernel.close()
