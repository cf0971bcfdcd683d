# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image resize``: file, partition and file system get the new size, and keep all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.images import ImageError, open_image
from rumpel.images.resize import resize
from rumpel.images.session import Options
from tests.conftest import VERSION
from tests.images.tools import ENV, check, make

pytestmark = pytest.mark.kernel

_RUMPEL = [sys.executable, "-c", "from rumpel.cli import main; main()", "image"]
_CONTENT = {f"/{number}": os.urandom(number * 1000) for number in range(100)}


def rumpel(command: str, *args: object, code: int = 0) -> str:
    """Run a command; what it says, of errors on stderr."""
    words = [*_RUMPEL, command, "--kernel", VERSION, *map(str, args)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def _fill(disk: Path, partition: int | None = None) -> None:
    with open_image(disk, partition, version=VERSION) as image:
        image.pipe(_CONTENT)


def _check(disk: Path, kind: str, megabytes: float, partition: int | None = None) -> None:
    """All is there, and the file system has about this size and is sound."""
    with open_image(disk, partition, version=VERSION, read_only=True) as image:
        assert image.cat(list(_CONTENT)) == _CONTENT
        status = image.volume.kernel.os.statvfs("/")
        assert 0.65 < status.f_blocks * status.f_frsize / (megabytes * (1 << 20)) <= 1
        start = image.volume.device.start
    if not start:
        check(disk, kind)
        return
    part = disk.with_suffix(".part")
    part.write_bytes(disk.read_bytes()[start:])
    os.truncate(part, image.volume.device.size)
    check(part, kind)
    part.unlink()
    done = subprocess.run(["sfdisk", "--verify", disk], env=ENV, capture_output=True, text=True)
    assert "No errors detected" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs"])
def test_without_partitions(kind: str, tmp_path: Path) -> None:
    """Larger, and smaller than before where the file system can."""
    disk = make(tmp_path / "disk.img", kind, 320)
    _fill(disk)
    assert rumpel("resize", disk, "+100M") == f"{disk}: 420M, its file system 420M\n"
    assert disk.stat().st_size == 420 << 20
    _check(disk, kind, 420)
    before = disk.read_bytes()
    if kind == "xfs":
        assert "xfs cannot be made smaller: copy its content" in rumpel(
            "resize", disk, "300M", code=1
        )
        assert disk.read_bytes() == before
        return
    disk.chmod(0o640)
    rumpel("resize", disk, "300M")
    assert (disk.stat().st_size, disk.stat().st_mode & 0o777) == (300 << 20, 0o640)
    _check(disk, kind, 300)
    before = disk.read_bytes()
    assert rumpel("resize", disk, "2M", code=1).count("\n") == 1
    assert disk.read_bytes() == before
    assert os.listdir(tmp_path) == ["disk.img"]


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_partitions(table: str, tmp_path: Path) -> None:
    """The last one is what changes, and a table has its end where it belongs."""
    disk = tmp_path / "disk.img"
    rumpel("create", disk, "64M", "--table", table, "-p", "16M:vfat:EFI", "-p", "rest:ext4:root")
    _fill(disk, 2)
    rumpel("resize", disk, "100M")
    _check(disk, "ext4", 82, 2)
    rumpel("resize", f"{disk}:LABEL=root", "40M")
    assert disk.stat().st_size == 40 << 20
    _check(disk, "ext4", 23, 2)
    told = json.loads(rumpel("info", "--json", disk))[0]
    assert [each["label"] for each in told["devices"][1:]] == ["EFI", "root"]
    assert "only its last partition can be resized, 2" in rumpel(
        "resize", f"{disk}:1", "1G", code=1
    )
    before = disk.read_bytes()
    assert "smaller than minimum" in rumpel("resize", disk, "20M", code=1)
    assert disk.read_bytes() == before
    _check(disk, "ext4", 23, 2)


def test_mistakes(disk: Path, tmp_path: Path) -> None:
    """They change nothing."""
    before = disk.read_bytes()
    for size in ("much", "+-1M", "0"):
        assert "SIZE" in rumpel("resize", disk, size, code=2)
    assert "nothing would be left" in rumpel("resize", disk, "-1T", code=1)
    vfat = make(tmp_path / "stick.img", "vfat", 64)
    assert "vfat cannot be made larger" in rumpel("resize", vfat, "1G", code=1)
    with open_image(disk, version=VERSION, read_only=True):
        assert "in use" in rumpel("resize", disk, "1G", code=1)
    assert disk.read_bytes() == before


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_a_file_that_is_longer_already(table: str, tmp_path: Path) -> None:
    """Its partition and file system grow all the same, as after truncate(1) or half a resize."""
    disk = tmp_path / "disk.img"
    rumpel("create", disk, "32M", "--table", table, "-p", "rest:ext4:root")
    _fill(disk, 1)
    os.truncate(disk, 64 << 20)
    said = rumpel("resize", disk, "64M")
    assert said == f"{disk}: 64M, its file system {62 if table == 'gpt' else 63}M\n"
    _check(disk, "ext4", 63, 1)
    assert rumpel("resize", disk, "64M") == said
    rumpel("resize", disk, "+64K")
    _check(disk, "ext4", 63, 1)
    rumpel("resize", disk, "-16M")
    assert disk.stat().st_size == 48 * (1 << 20) + (64 << 10)


def test_without_sfdisk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition that cannot be made longer leaves the file as it was."""
    disk = tmp_path / "disk.img"
    rumpel("create", disk, "32M", "-p", "rest:ext4:root")
    before = disk.read_bytes()

    def fail(name: str, *_: object, **__: object) -> str:
        raise ImageError(name, "sfdisk is not installed")

    monkeypatch.setattr("rumpel.images.resize.run", fail)
    with pytest.raises(ImageError, match="not installed"):
        resize(str(disk), None, 64 << 20, Options(version=VERSION))
    assert disk.read_bytes() == before


def test_an_image_that_is_changed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of its table may be true no more."""
    disk = make(tmp_path / "disk.img", "ext4", 32)
    module = sys.modules["rumpel.images.resize"]
    devices = module.devices_of

    def changes(image: str, options: Options) -> object:
        found = devices(image, options)
        os.truncate(image, 40 << 20)
        return found

    monkeypatch.setattr(module, "devices_of", changes)
    with pytest.raises(ImageError, match="just changed"):
        resize(str(disk), None, 64 << 20, Options(version=VERSION))
    assert disk.stat().st_size == 40 << 20
