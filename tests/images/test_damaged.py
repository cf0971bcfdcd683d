# SPDX-License-Identifier: GPL-2.0-only
"""Damaged images of every file system: each command ends, with a result or an error.

RUMPEL_DAMAGED says how many of each file system; without it few. RUMPEL_E2FSPROGS names the
directory ``tests`` of the source of e2fsprogs, which has damaged images of its own.
"""

from __future__ import annotations

import bz2
import gzip
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from rumpel.images import open_image
from tests.conftest import VERSION
from tests.images.test_filesystems import READ_ONLY, make_tree
from tests.images.test_hostile import extents
from tests.images.tool import Tool
from tests.images.tools import ENV, MAKE, make

pytestmark = pytest.mark.kernel

SIZES = {"xfs": 304, "btrfs": 128, "f2fs": 64}
_MANY = int(os.environ.get("RUMPEL_DAMAGED", "0"))
_CORPUS = os.environ.get("RUMPEL_E2FSPROGS", "")
_SILENCE = 60
"""Seconds after which the kernel's process is killed, for a loop in metadata."""
_WITHOUT_SUMS = {"ext4": ["-O", "^metadata_csum,^64bit"], "ext3": ["-I", "128"]}
"""What lets damage through to where it does harm."""


def original(kind: str, top: Path) -> Path:
    """A whole image, with files."""
    disk, tree = top / "original", top / "tree"
    make_tree(tree)
    if kind in READ_ONLY:
        if kind == "cramfs":
            (tree / "dir" / "below" / "again").unlink()
        command = [each.format(tree=tree, disk=disk) for each in READ_ONLY[kind]]
        subprocess.run(command, check=True, env=ENV, capture_output=True)
        return disk
    if kind == "minix":
        disk.write_bytes(bytes(4 << 20))
        subprocess.run(["mkfs.minix", "-3", disk], check=True, env=ENV, capture_output=True)
    else:
        make(disk, kind, SIZES.get(kind, 16))
        if kind in _WITHOUT_SUMS:
            command = [*MAKE[kind][:-1], *_WITHOUT_SUMS[kind], str(disk)]
            subprocess.run(command, check=True, env=ENV, capture_output=True)
    with open_image(disk, version=VERSION) as image:
        image.makedirs("/dir/below")
        for number in range(40):
            image.pipe(f"/dir/below/{number}", os.urandom(number * 100))
        image.pipe("/large", os.urandom(300_000))
        if kind not in ("vfat", "exfat", "ntfs", "minix", "udf"):
            image.volume.kernel.os.setxattr("/large", "user.note", bytes(range(256)))
            image.volume.kernel.os.symlink("dir/below/1", "/link")
    return disk


def damage(source: Path, target: Path, chance: random.Random) -> str:
    """Copy an image and damage it where there is something; how."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    used = [(at, end - at) for at, end in extents(source) if end > at]
    size = source.stat().st_size

    def place() -> int:
        start, length = chance.choice(used)
        # Most metadata lies at the beginning of what lies together.
        return start + chance.randrange(min(length, chance.choice((512, 4096, 1 << 16, length))))

    how = chance.choice(("bits", "bits", "numbers", "numbers", "blocks", "copies", "short"))
    with target.open("r+b", buffering=0) as file:
        if how == "short":
            file.truncate(chance.choice((0, 1, 511, 512, 4096, 70_000, chance.randrange(size))))
            return how
        for _ in range(chance.choice((1, 4, 30))):
            at = place()
            if how == "bits":
                byte = os.pread(file.fileno(), 1, at)[0] ^ 1 << chance.randrange(8)
                os.pwrite(file.fileno(), bytes([byte]), at)
            elif how == "numbers":
                number = chance.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, at // 4096))
                data = number.to_bytes(4, "little")[: chance.choice((1, 2, 4))]
                os.pwrite(file.fileno(), data, at & ~3)
            else:
                other = place() & ~511 if how == "copies" else size
                block = os.pread(file.fileno(), chance.choice((512, 4096)), other)
                os.pwrite(file.fileno(), block or bytes(512), at & ~511)
    os.truncate(target, size)
    return how


def look(tool: Tool, disk: Path, out: Path) -> None:
    """All that one does with an image of a stranger."""
    patient = ("--timeout", _SILENCE)
    tool("ls", *patient, "-lR", disk)
    tool("cat", *patient, f"{disk}:/large", f"{disk}:/dir/below/1", f"{disk}:/link")
    shutil.rmtree(out, ignore_errors=True)
    tool("cp", *patient, "-r", f"{disk}:/", out)
    tool("info", *patient, disk)
    tool("check", *patient, disk)


@pytest.mark.timeout(max(300, 60 * _MANY))
@pytest.mark.parametrize("kind", [*MAKE, *READ_ONLY, "minix"])
def test_damaged(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """ls, cat, cp, info, check and a write of a damaged image."""
    tool = Tool(monkeypatch, capfdbinary)
    source = original(kind, tmp_path)
    disk, new = tmp_path / "disk.img", tmp_path / "new"
    new.write_bytes(b"new" * 1000)
    for seed in range(_MANY or 1):
        how = damage(source, disk, random.Random(f"{kind} {seed}"))
        try:
            look(tool, disk, tmp_path / "out")
            tool("cp", "--timeout", _SILENCE, new, f"{disk}:/dir/new")
        except BaseException as error:
            raise AssertionError(f"{kind}, seed {seed}: {how}") from error


@pytest.mark.skipif(not _CORPUS, reason="RUMPEL_E2FSPROGS does not name e2fsprogs' tests")
@pytest.mark.timeout(3600)
def test_damaged_by_e2fsprogs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What e2fsck is tested by; once it has repaired one, the kernel reads it."""
    tool = Tool(monkeypatch, capfdbinary)
    every = sorted([*Path(_CORPUS).glob("f_*/image.gz"), *Path(_CORPUS).glob("f_*/image.bz2")])
    assert len(every) > 100
    disk = tmp_path / "disk.img"
    for image in every:
        packed = image.read_bytes()
        disk.write_bytes(
            bz2.decompress(packed) if image.suffix == ".bz2" else gzip.decompress(packed)
        )
        try:
            look(tool, disk, tmp_path / "out")
        except BaseException as error:
            raise AssertionError(image.parent.name) from error
