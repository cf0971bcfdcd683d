# SPDX-License-Identifier: GPL-2.0-only
"""Each file system, made by its own tool, is found, read, written to, and clean afterwards.

docs/images.md has the table of them.
"""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import rumpel
from tests.conftest import VERSION
from tests.images.tools import CHECK, ENV, check, make

pytestmark = pytest.mark.kernel

SIZES = {"xfs": 304, "btrfs": 128, "f2fs": 64, "exfat": 16, "ntfs": 16, "vfat": 16}


_ACL = struct.pack(
    "<I" + "HHI" * 5, 2, *(1, 7, -1 & 0xFFFFFFFF), *(2, 5, 77), *(4, 5, -1 & 0xFFFFFFFF),
    *(16, 5, -1 & 0xFFFFFFFF), *(32, 5, -1 & 0xFFFFFFFF),
)  # fmt: skip
"""For a user with number 77, as Linux has it in an attribute."""


def make_tree(top: Path) -> None:
    """A tree with all kinds of files."""
    top.mkdir()
    (top / "empty").touch()
    (top / "dir" / "below").mkdir(parents=True)
    (top / "dir" / "file").write_bytes(os.urandom(100_000))
    (top / "large").write_bytes(os.urandom(700_000))
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(512 << 10)
        file.write(b"in the middle")
    (top / "dir" / "umlaut \N{LATIN SMALL LETTER U WITH DIAERESIS}").write_text("name")
    (top / "symlink").symlink_to("dir/file")
    os.link(top / "dir" / "file", top / "dir" / "below" / "again")
    (top / "large").chmod(0o4751)
    os.mkfifo(top / "pipe")
    os.setxattr(top / "large", "user.note", bytes(range(256)))
    for number, name in enumerate(("large", "dir/file", "sparse", "empty")):
        os.utime(top / name, ns=(10**18 + number, 1_222_222_222_123_456_789 + number))


def facts(top: Path, posix: bool, tick: int = 1) -> dict[str, Any]:
    """What a tree is, as far as a file system can keep it; tick: of its times, in ns."""
    found: dict[str, Any] = {}
    inodes: dict[int, str] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(top))
        row: list[Any] = [stat.S_IFMT(status.st_mode)]
        if stat.S_ISREG(status.st_mode):
            row.append(path.read_bytes())
        if posix:
            row += [status.st_mode, status.st_uid, status.st_gid]
            row.append(path.readlink() if path.is_symlink() else None)
            if not path.is_dir():
                row.append(inodes.setdefault(status.st_ino, name))
            if stat.S_ISREG(status.st_mode):
                row.append(status.st_mtime_ns // tick)
                row.append({n: os.getxattr(path, n) for n in os.listxattr(path)})
        if posix or not (path.is_symlink() or stat.S_ISFIFO(status.st_mode)):
            found[name] = row
    return found


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"])
def test_what_has_everything(kind: str, opened: Any, tmp_path: Path) -> None:
    """A tree goes in and comes out with all attributes; what is there is clean afterwards."""
    disk = make(tmp_path / "disk.img", kind, SIZES.get(kind, 32))
    make_tree(tmp_path / "tree")
    # XFS has it among other attributes as well, under another name.
    os.setxattr(tmp_path / "tree" / "dir", "system.posix_acl_default", _ACL)
    with opened(disk) as image:
        assert (image.volume.device.kind, image.volume.device.label) == (kind, "TEST")
        copied = image.copy_in(tmp_path / "tree", "/tree")
        assert (copied.lost, copied.links) == ([], 2)
    check(disk, kind)
    with opened(disk, read_only=True) as image:
        image.copy_out("/tree", tmp_path / "back")
    assert os.listxattr(tmp_path / "back" / "dir") == ["system.posix_acl_default"]
    tick = 10**9 if kind == "ext2" else 1
    assert facts(tmp_path / "back", True, tick) == facts(tmp_path / "tree", True, tick)
    with opened(disk) as image:
        image.rm("/tree", recursive=True)
        assert not image.exists("/tree")
    check(disk, kind)


@pytest.mark.parametrize("kind", ["vfat", "exfat", "ntfs"])
def test_what_windows_has(kind: str, opened: Any, tmp_path: Path) -> None:
    """Names and contents are kept, and what cannot be is told."""
    disk = make(tmp_path / "disk.img", kind, SIZES[kind])
    make_tree(tmp_path / "tree")
    for name in ("symlink", "pipe", "dir/below/again"):
        (tmp_path / "tree" / name).unlink()
    with opened(disk) as image:
        assert image.volume.device.kind == kind
        image.copy_in(tmp_path / "tree", "/tree")
    if kind in CHECK:
        check(disk, kind)
    with opened(disk, read_only=True) as image:
        image.copy_out("/tree", tmp_path / "back")
    assert facts(tmp_path / "back", False) == facts(tmp_path / "tree", False)


def test_udf(opened: Any, tmp_path: Path) -> None:
    """There is no fsck for it in Debian; the kernel reads what it wrote in another boot."""
    disk = make(tmp_path / "disk.img", "udf", 16)
    with opened(disk) as image:
        assert image.volume.device.kind == "udf"
        image.mkdir("/dir")
        image.pipe("/dir/file", b"content" * 10_000)
        image.volume.kernel.os.symlink("dir/file", "/link")
    with opened(disk, read_only=True) as image:
        assert image.cat("/link") == b"content" * 10_000


READ_ONLY = {
    "squashfs": ["mksquashfs", "{tree}", "{disk}", "-quiet", "-no-progress", "-comp", "zstd"],
    "erofs": ["mkfs.erofs", "--quiet", "-zlz4hc", "{disk}", "{tree}"],
    "iso9660": ["genisoimage", "-quiet", "-R", "-V", "TEST", "-o", "{disk}", "{tree}"],
    "cramfs": ["mkfs.cramfs", "{tree}", "{disk}"],
}


@pytest.mark.parametrize("kind", ["squashfs", "erofs", "iso9660", "cramfs"])
def test_what_is_only_read(kind: str, opened: Any, tmp_path: Path) -> None:
    """Trees that the tools have packed come out as they were; writing fails with EROFS."""
    tree, disk = tmp_path / "tree", tmp_path / "disk.img"
    make_tree(tree)
    if kind == "cramfs":  # has no sizes of links above one, and no holes worth it
        (tree / "dir" / "below" / "again").unlink()
    command = [each.format(tree=tree, disk=disk) for each in READ_ONLY[kind]]
    subprocess.run(command, check=True, env=ENV, capture_output=True)
    with opened(disk) as image:
        assert image.volume.device.kind == kind
        image.copy_out("/", tmp_path / "back")
        with pytest.raises(OSError, match="Read-only file system"):
            image.pipe("/new", b"")
    assert facts(tmp_path / "back", False) == facts(tree, False)


def test_minix(opened: Any, tmp_path: Path) -> None:
    """Its own tools make and check it."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(8 << 20))
    subprocess.run(["mkfs.minix", "-3", disk], check=True, env=ENV, capture_output=True)
    with opened(disk) as image:
        assert image.volume.device.kind == "minix"
        image.pipe("/file", b"x" * 50_000)
    result = subprocess.run(["fsck.minix", "-f", disk], env=ENV, capture_output=True)
    assert result.returncode == 0, result.stdout
    with opened(disk, read_only=True) as image:
        assert image.cat("/file") == b"x" * 50_000


def test_ufs(opened: Any, tmp_path: Path) -> None:
    """What a BSD's program has made can be read; nobody has to say which it is."""
    tree, disk = tmp_path / "tree", tmp_path / "disk.img"
    make_tree(tree)
    command = ["makefs", "-t", "ffs", "-s", "16m", str(disk), str(tree)]
    subprocess.run(command, check=True, env=ENV, capture_output=True)
    with opened(disk) as image:
        assert image.volume.device.kind == "ufs"
        image.copy_out("/", tmp_path / "back")
        with pytest.raises(OSError, match="Read-only file system"):
            image.pipe("/new", b"")
    assert facts(tmp_path / "back", False) == facts(tree, False)


def test_hfsplus(opened: Any, tmp_path: Path) -> None:
    """On a CD for a Mac, which has an Apple partition table as well."""
    tree, disk = tmp_path / "tree", tmp_path / "disk.img"
    make_tree(tree)
    (tree / "dir" / "below" / "again").unlink()
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-V", "For Macs", "-o"]
    subprocess.run([*command, str(disk), str(tree)], check=True, env=ENV, capture_output=True)
    with opened(disk, 3) as image:
        device = image.volume.device
        assert (device.kind, device.label) == ("hfsplus", "For Macs")
        image.copy_out("/", tmp_path / "back")
        with pytest.raises(OSError, match="Read-only file system"):
            image.pipe("/new", b"")
    got = {unicodedata.normalize("NFC", k): v for k, v in facts(tmp_path / "back", False).items()}
    assert got == facts(tree, False)


@pytest.mark.parametrize("kind", ["squashfs", "erofs", "iso9660", "ufs", "ext4", "btrfs"])
def test_overlayfs(kind: str, default_image: str, tmp_path: Path) -> None:
    """It lies over any of them, but for FAT and exFAT."""
    tree, disk = tmp_path / "tree", tmp_path / "disk.img"
    make_tree(tree)
    ufs = ["makefs", "-t", "ffs", "-s", "16m", "{disk}", "{tree}"]
    command = {**READ_ONLY, "ufs": ufs}.get(kind)
    if command:
        words = [each.format(tree=tree, disk=disk) for each in command]
        subprocess.run(words, check=True, env=ENV, capture_output=True)
    else:
        make(disk, kind, SIZES.get(kind, 32))
    with rumpel.boot(image=default_image, disks=[rumpel.Disk(disk, read_only=True)]) as k:
        data = "ufstype=44bsd" if kind == "ufs" else ""
        k.mount("/dev/vda", "/lower", kind, read_only=True, data=data)
        k.mount("tmpfs", "/rw", "tmpfs")
        k.os.mkdir("/rw/upper")
        k.os.mkdir("/rw/work")
        layers = "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work"
        k.mount("overlay", "/merged", "overlay", data=layers)
        with k.open("/merged/new", "w") as file:
            file.write("new")
        if command:
            with k.open("/merged/large", "ab") as file:
                file.write(b"more")
            with k.open("/merged/large", "rb") as file:
                assert file.read() == (tree / "large").read_bytes() + b"more"
            k.os.unlink("/merged/dir/file")
            assert "file" in k.os.listdir("/lower/dir")
            assert "file" not in k.os.listdir("/merged/dir")
        assert "new" in k.os.listdir("/merged")
        assert "new" not in k.os.listdir("/lower")


def test_nilfs2(opened: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    command = ["mkfs.nilfs2", "-q", "-b", "1024", "-B", "16", str(disk)]
    subprocess.run(command, check=True, env=ENV, capture_output=True)
    make_tree(tmp_path / "tree")
    os.removexattr(tmp_path / "tree" / "large", "user.note")  # has none
    with opened(disk) as image:
        assert image.volume.device.kind == "nilfs2"
        image.copy_in(tmp_path / "tree", "/tree")
    with opened(disk, read_only=True) as image:
        image.copy_out("/tree", tmp_path / "back")
    assert facts(tmp_path / "back", True) == facts(tmp_path / "tree", True)


def test_a_file_system_that_linux_has_not(opened: Any, tmp_path: Path) -> None:
    """It is named."""
    from rumpel.images import ImageError

    disk = tmp_path / "disk.img"
    data = bytearray(1 << 20)
    data[32:36] = b"NXSB"
    disk.write_bytes(data)
    with pytest.raises(ImageError, match=rf"disk.img: apfs: Linux {VERSION}\S* has no driver"):
        opened(disk)
    data[32:36] = bytes(4)
    data[4086:4096] = b"SWAPSPACE2"
    struct.pack_into("<I", data, 1024, 1)
    disk.write_bytes(data)
    with pytest.raises(ImageError, match=r"disk.img: holds no file system, but swap"):
        opened(disk)
