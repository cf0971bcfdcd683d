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
    """Fail unless the file system's own program finds it clean."""
    result = subprocess.run([*CHECK[kind], path], env=ENV, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    # Of ext4 this is no error.
    assert "recovery" not in result.stdout + result.stderr, "there is something in its journal"
