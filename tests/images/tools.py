# SPDX-License-Identifier: GPL-2.0-only
"""What makes and checks images in tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ENV = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}

MAKE = {
    "ext2": ["mke2fs", "-q", "-F", "-t", "ext2", "-L"],
    "ext3": ["mke2fs", "-q", "-F", "-t", "ext3", "-L"],
    "ext4": ["mke2fs", "-q", "-F", "-t", "ext4", "-L"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-L"],
    "btrfs": ["mkfs.btrfs", "-q", "-f", "-L"],
    "f2fs": ["mkfs.f2fs", "-q", "-f", "-l"],
    "vfat": ["mkfs.vfat", "-n"],
    "exfat": ["mkfs.exfat", "-L"],
    "ntfs": ["mkntfs", "-q", "-F", "-Q", "-L"],
    "udf": ["mkudffs", "--utf8", "--blocksize=512", "-l"],
}
CHECK = {
    "ext2": ["e2fsck", "-fn"],
    "ext3": ["e2fsck", "-fn"],
    "ext4": ["e2fsck", "-fn"],
    "xfs": ["xfs_repair", "-n"],
    "btrfs": ["btrfs", "check", "--readonly"],
    "f2fs": ["fsck.f2fs", "--dry-run"],
    "vfat": ["fsck.vfat", "-n"],
    "exfat": ["fsck.exfat", "-n"],
    "ntfs": ["ntfsfix", "-n"],
}


def make(
    path: Path, kind: str, megabytes: int, size: int | None = None, label: str = "TEST"
) -> Path:
    """Make a file system in a file."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20 if size is None else size)
    subprocess.run([*MAKE[kind], label, path], check=True, env=ENV, capture_output=True)
    return path


def check(path: Path, kind: str = "ext4") -> None:
    """Fail unless the file system's own program finds it clean, and it was unmounted."""
    result = subprocess.run([*CHECK[kind], path], env=ENV, capture_output=True, text=True)
    said = f"{result.stdout}\n{result.stderr}"
    assert result.returncode == 0, said
    assert not _is_mounted(path, kind, said), f"it was not unmounted: {said}"


def _is_mounted(path: Path, kind: str, said: str) -> bool:
    """What is no error for some of those programs: the next mount has something to recover."""
    if kind == "btrfs":  # log_root in its superblock: a tree of what was fsynced
        return _number(path, 65536 + 96, 8) != 0
    if kind == "exfat":  # VolumeDirty in its boot sector
        return _number(path, 106, 2) & 2 != 0
    if kind == "f2fs":  # the state of its checkpoint
        return " unmount" not in said
    return "recovery" in said  # of ext4; XFS and FAT fail


def _number(path: Path, offset: int, size: int) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        return int.from_bytes(file.read(size), "little")
