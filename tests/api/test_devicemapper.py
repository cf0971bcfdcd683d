# SPDX-License-Identifier: GPL-2.0-only
"""The device mapper: devices that are made of others, here and in a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import rumpel
from rumpel import sandbox
from rumpel.devicemapper import Target
from tests.conftest import VERSION, Boot

pytestmark = pytest.mark.kernel
MIB = 1 << 20


@pytest.fixture(params=["here", "in a sandbox"])
def k(request: pytest.FixtureRequest, boot: Boot, tmp_path: Path) -> Iterator[rumpel.Kernel]:
    """A kernel with a disk of 8 MB, the same to whoever calls it."""
    if request.param == "here":
        yield boot(disks=[rumpel.MemoryDisk("8M")])
        return
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(8 * MIB))
    with sandbox.boot([sandbox.DiskSpec(str(disk))], version=VERSION) as kernel:
        yield kernel


def test_devices_of_parts(k: rumpel.Kernel) -> None:
    """What is written to a device is where its table says; it is told as it was given."""
    path = k.dm.create("two", [(0, MIB, "linear", "/dev/vda 2048"), (MIB, MIB, "zero", "")])
    with k.open(path, "r+b") as file:
        file.write(b"x" * 2 * MIB)
    with k.open(path, "rb") as file:
        assert file.read() == b"x" * MIB + bytes(MIB)
    with k.open("/dev/vda", "rb") as file:
        file.seek(MIB)
        assert file.read(MIB + 1) == b"x" * MIB + b"\0"
    number = k.os.stat("/dev/vda").st_rdev
    assert k.dm.table("two") == [
        Target(0, MIB, "linear", f"{number >> 8}:{number & 255} 2048"),
        Target(MIB, MIB, "zero", ""),
    ]
    assert list(k.dm) == ["two"]
    k.dm.remove("two")
    assert list(k.dm) == []
    assert not k.os.path.exists(path)


def test_other_tables_and_messages(k: rumpel.Kernel) -> None:
    """A device is reloaded under its users; a target is told something, and its status says so."""
    path = k.dm.create("dust", [(0, MIB, "dust", "/dev/vda 0 512")])
    k.dm.message("dust", "addbadblock 8")
    k.dm.message("dust", "enable")
    (status,) = k.dm.status("dust")
    assert "fail_read_on_bad_block" in status.args
    with k.open(path, "rb") as file:
        with pytest.raises(OSError, match="Input/output error"):
            file.read(MIB)
        k.dm.reload("dust", [(0, MIB, "linear", "/dev/vda 0")])
        file.seek(0)
        assert file.read(MIB) == bytes(MIB)
        with pytest.raises(OSError, match="Device or resource busy"):
            k.dm.remove("dust")
    with pytest.raises(OSError, match="Invalid argument"):
        k.dm.message("dust", "hello")


def test_read_only(k: rumpel.Kernel) -> None:
    """Writes are refused."""
    path = k.dm.create("fixed", [(0, MIB, "linear", "/dev/vda 0")], read_only=True)
    with k.open(path, "r+b", buffering=0) as file:
        with pytest.raises(PermissionError, match="not permitted"):
            file.write(b"x")
        assert file.read(512) == bytes(512)


def test_what_cannot_be(k: rumpel.Kernel) -> None:
    """Errors name the device, and have the kernel's own words; nothing is left behind."""
    with pytest.raises(FileNotFoundError, match="linear: Device lookup failed") as caught:
        k.dm.create("a", [(0, MIB, "linear", "/dev/nix 0")])
    assert caught.value.filename == "a"
    with pytest.raises(OSError, match="unknown target type"):
        k.dm.create("a", [(0, MIB, "nix", "")])
    with pytest.raises(OSError, match="File name too long"):
        k.dm.create("a" * 128, [])
    for call in (k.dm.remove, k.dm.table, k.dm.status):
        with pytest.raises(OSError, match="No such device or address: 'none'"):
            call("none")
    k.dm.create("there", [(0, MIB, "zero", "")])
    with pytest.raises(OSError, match="Device or resource busy"):
        k.dm.create("there", [(0, MIB, "zero", "")])
    assert "there" in k.dm
    assert "a" not in k.dm


def test_more_than_fits(k: rumpel.Kernel) -> None:
    """Lists and tables that are longer than the first buffer come whole."""
    names = [f"{number}{'-' * 110}" for number in range(150)]
    for name in names:
        k.dm.create(name, [(0, MIB, "zero", "")])
    assert sorted(k.dm) == sorted(names)
    table = [Target(at * MIB, MIB, "linear", f"/dev/vda {at % 8 * 2048}") for at in range(500)]
    k.dm.create("long", table)
    assert [part.start for part in k.dm.table("long")] == [part.start for part in table]
