# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image resize`` of qcow2, VMDK, VHD, VHDX and VDI."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import open_image
from tests.conftest import VERSION
from tests.images.test_resize import _CONTENT, _check, rumpel

pytestmark = pytest.mark.kernel


def _qemu_img(*args: object) -> str:
    command = ["qemu-img", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _told(disk: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_qemu_img("info", "--output=json", disk))
    return told


def _filled(path: Path, format: str, *args: str) -> Path:
    """An image with an ext4 file system that has something in it."""
    rumpel("create", path, "64M", "--format", format, *args)
    with open_image(path, "LABEL=root", version=VERSION) as image:
        image.pipe(_CONTENT)
    return path


def _looked_at(disk: Path, megabytes: float, partition: int | None = None) -> None:
    """The disk and the partition table are sound, and all is there."""
    if _told(disk)["format"] in ("qcow2", "vmdk", "vhdx", "vdi"):
        _qemu_img("check", "-q", disk)
    raw = disk.with_suffix(".raw")
    _qemu_img("convert", "-O", "raw", disk, raw)
    _check(raw, "ext4", megabytes, partition)
    raw.unlink()


_TABLES = {
    "none": ["--fs", "ext4", "--label", "root"],
    "gpt": ["-p", "16M:vfat:EFI", "-p", "rest:ext4:root"],
    "mbr": ["--table", "mbr", "-p", "16M:vfat:EFI", "-p", "rest:ext4:root"],
}


@pytest.mark.parametrize("table", _TABLES)
def test_qcow2(table: str, tmp_path: Path) -> None:
    """It grows where it is, and shrinks through a copy."""
    disk = _filled(tmp_path / "disk.qcow2", "qcow2", *_TABLES[table])
    inode, number = disk.stat().st_ino, 2 if table != "none" else None
    before, end = (17 if number else 0), (1 if table == "gpt" else 0)
    said = rumpel("resize", disk, "+64M")
    assert said == f"{disk}: 128M, its file system {128 - before - end}M\n"
    assert _told(disk)["virtual-size"] == 128 << 20
    _looked_at(disk, 128 - before - end, number)
    assert disk.stat().st_ino == inode
    assert rumpel("resize", disk, "128M") == said
    rumpel("resize", disk, "-80M")
    assert _told(disk)["virtual-size"] == 48 << 20
    _looked_at(disk, 48 - before - end, number)
    assert [path.name for path in tmp_path.iterdir()] == ["disk.qcow2"]


@pytest.mark.parametrize("format", ["vmdk", "vhd", "vhdx", "vdi"])
def test_others(format: str, tmp_path: Path) -> None:
    """They are made anew."""
    disk = _filled(tmp_path / "disk", format, *_TABLES["gpt"])
    rumpel("resize", disk, "96M")
    assert _told(disk)["virtual-size"] == 96 << 20
    assert _told(disk)["format"] == {"vhd": "vpc"}.get(format, format)
    _looked_at(disk, 96 - 18, 2)
    rumpel("resize", disk, "48M")
    _looked_at(disk, 48 - 18, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]


def test_over_a_base(tmp_path: Path) -> None:
    """What lies over another image grows, and that one stays as it was."""
    base = _filled(tmp_path / "base.img", "raw", *_TABLES["gpt"])
    disk, before = tmp_path / "disk.qcow2", hashlib.sha256(base.read_bytes()).digest()
    _qemu_img("create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", disk)
    rumpel("resize", disk, "128M")
    assert _told(disk)["backing-filename"] == "base.img"
    assert hashlib.sha256(base.read_bytes()).digest() == before
    _looked_at(disk, 128 - 18, 2)
    assert "lies over another file, which this would lose" in rumpel("resize", disk, "64M", code=1)


def test_a_step_that_fails(tmp_path: Path) -> None:
    """What cannot be done is said before anything is changed; half of it is gone on with."""
    disk = _filled(tmp_path / "disk.qcow2", "qcow2", *_TABLES["gpt"])
    before = disk.read_bytes()
    assert "smaller than minimum" in rumpel("resize", disk, "20M", code=1)
    assert "nothing would be left" in rumpel("resize", disk, "-1G", code=1)
    with open_image(disk, 2, version=VERSION, read_only=True):
        assert "in use" in rumpel("resize", disk, "1G", code=1)
    assert disk.read_bytes() == before
    _qemu_img("resize", "-q", disk, "128M")
    assert rumpel("resize", disk, "128M") == f"{disk}: 128M, its file system 110M\n"
    _looked_at(disk, 110, 2)
    _qemu_img("snapshot", "-c", "one", disk)
    assert "has snapshots, which this would lose" in rumpel("resize", disk, "64M", code=1)


def test_logical_partitions(tmp_path: Path) -> None:
    """Where parts of the table lie anywhere it is done to a copy."""
    disk = tmp_path / "disk.qcow2"
    table = "label: dos\nsize=8M, type=5\nsize=4M, type=83\nsize=24M, type=83\n"
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(64 << 20)
    script = table.replace("size=4M", "start=18432, size=4M", 1)
    subprocess.run(["/usr/sbin/sfdisk", "-q", str(raw)], input=script, text=True, check=True)
    logical = "start=4096, size=2M, type=83\n"
    append = ["/usr/sbin/sfdisk", "-q", "--append", str(raw)]
    subprocess.run(append, input=logical, text=True, check=True)
    part = tmp_path / "part"
    rumpel("create", part, "24M", "--fs", "ext4", "--label", "root")
    told = json.loads(rumpel("info", "--json", raw))[0]["devices"]
    (last,) = (each for each in told if each["number"] == 3)
    with raw.open("r+b") as file:
        file.seek(last["start"])
        file.write(part.read_bytes())
    part.unlink()
    with open_image(raw, 3, version=VERSION) as image:
        image.pipe(_CONTENT)
    _qemu_img("convert", "-O", "qcow2", raw, disk)
    raw.unlink()
    rumpel("resize", disk, "96M")
    told = json.loads(rumpel("info", "--json", disk))[0]["devices"]
    assert [each["number"] for each in told] == [0, 1, 2, 3, 5]
    _looked_at(disk, (told[3]["size"] >> 20), 3)
