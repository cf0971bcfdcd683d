# SPDX-License-Identifier: GPL-2.0-only
"""Devices before a kernel takes them: arguments and their mistakes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Console, Disk, FdNic, Link, MemoryDisk
from rumpel.devices import to_mac


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (None, None),
        ("02:00:00:00:00:01", b"\2\0\0\0\0\1"),
        ("02-aB-0-0-0-ff", b"\2\xab\0\0\0\xff"),
    ],
)
def test_mac(text: str | None, mac: bytes | None) -> None:
    assert to_mac(text) == mac


@pytest.mark.parametrize("text", ["", "1:2:3:4:5", "1:2:3:4:5:6:7", "1:2:3:4:5:100", "a:b:c:d:e:g"])
def test_what_is_no_mac(text: str) -> None:
    with pytest.raises(ValueError, match="not a MAC address: '"):
        to_mac(text)


def test_a_missing_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.img"):
        Disk(tmp_path / "nowhere.img")


def test_a_directory_is_no_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        Disk(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_disk_that_may_not_be_written(tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    image.write_bytes(bytes(4096))
    image.chmod(0o400)
    with pytest.raises(PermissionError):
        Disk(image)
    Disk(image, read_only=True)


def test_memory_disks() -> None:
    MemoryDisk("1M")
    MemoryDisk(1 << 20)
    MemoryDisk(bytearray(4096))
    MemoryDisk(bytes(4096), read_only=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(4096), "a disk needs a contiguous, writable buffer"),
        (memoryview(bytearray(8192))[::2], "a disk needs a contiguous, writable buffer"),
        ("no size", "not a size"),
        (-1, "cannot be negative"),
    ],
)
def test_what_is_no_memory_disk(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryDisk(data)


def test_the_buffer_of_a_disk_stays_in_place() -> None:
    data = bytearray(4096)
    disk = MemoryDisk(data)
    with pytest.raises(BufferError):
        data.extend(b"more")
    del disk
    data.extend(b"more")


def bad_descriptor(make: Callable[[int], object]) -> None:
    descriptor = os.dup(0)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        make(descriptor)


def test_descriptors_that_are_none() -> None:
    bad_descriptor(FdNic)
    bad_descriptor(Console)


def test_a_descriptor_is_duplicated() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        nic = FdNic(theirs)
        theirs.close()
        ours.send(b"frame")
        del nic
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            ours.send(b"frame")


def test_links() -> None:
    a, b = Link(delay=0.001, mtu=9000, macs=("02:00:00:00:00:01", None))
    assert a.stats == b.stats == (0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="negative"):
        Link(delay=-1)
    with pytest.raises(ValueError, match="bad arguments of a link"):
        Link(mtu=1)
