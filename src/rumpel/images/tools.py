# SPDX-License-Identifier: GPL-2.0-only
"""The programs that make and check file systems, as Debian has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rumpel.images.errors import ImageError

__all__ = ["KINDS", "Tool", "check_status", "copy_range", "fsck", "mkfs", "run"]


class Tool(NamedTuple):
    """What belongs to a file system.

    Attributes:
        make: the program that makes it, and its arguments before the file.
        label: its option for a label.
        check: the program that checks it without changing anything.
        repair: the same that repairs.
        package: where they are.
        bad: exit statuses of ``check`` and ``repair`` that say something was found; None is
            all but 0.
    """

    make: tuple[str, ...] = ()
    label: str = "-L"
    check: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    package: str = ""


_EXT = {"check": ("e2fsck", "-fn"), "repair": ("e2fsck", "-fy"), "package": "e2fsprogs"}
KINDS = {
    "ext2": Tool(("mke2fs", "-q", "-F", "-t", "ext2"), **_EXT),  # type: ignore[arg-type]
    "ext3": Tool(("mke2fs", "-q", "-F", "-t", "ext3"), **_EXT),  # type: ignore[arg-type]
    "ext4": Tool(("mke2fs", "-q", "-F", "-t", "ext4"), **_EXT),  # type: ignore[arg-type]
    "xfs": Tool(
        ("mkfs.xfs", "-q", "-f"), "-L", ("xfs_repair", "-n"), ("xfs_repair",), "xfsprogs"
    ),
    "btrfs": Tool(
        ("mkfs.btrfs", "-q", "-f"), "-L",
        ("btrfs", "check", "--readonly"), ("btrfs", "check", "--repair", "--force"), "btrfs-progs",
    ),
    "f2fs": Tool(
        ("mkfs.f2fs", "-q", "-f"), "-l", ("fsck.f2fs", "--dry-run"), ("fsck.f2fs", "-f"),
        "f2fs-tools",
    ),
    "vfat": Tool(("mkfs.vfat",), "-n", ("fsck.vfat", "-n"), ("fsck.vfat", "-a"), "dosfstools"),
    "exfat": Tool(
        ("mkfs.exfat",), "-L", ("fsck.exfat", "-n"), ("fsck.exfat", "-y"), "exfatprogs"
    ),
    "ntfs": Tool(
        ("mkntfs", "-q", "-F", "-Q"), "-L", ("ntfsfix", "-n"), ("ntfsfix",), "ntfs-3g"
    ),
    "udf": Tool(("mkudffs", "--utf8", "--blocksize=512"), "-l", package="udftools"),
    "swap": Tool(("mkswap",), "-L", package="util-linux"),
}  # fmt: skip
"""By the kind that :mod:`rumpel.images.probe` finds."""


def run(name: str, command: Sequence[str], package: str, **options: object) -> str:
    """Run a program; what it said.

    Raises:
        ImageError: if it is not there, or fails.
    """
    result = check_status(name, command, package, **options)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise ImageError(name, f"{command[0]}: {said[-1] if said else 'failed'}")
    return result.stdout


def check_status(
    name: str, command: Sequence[str], package: str, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a program, whatever it returns."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    program = shutil.which(command[0], path=path)
    if program is None:
        raise ImageError(name, f"{command[0]} is not installed (Debian: {package})")
    text: dict[str, object] = {"capture_output": True, "text": True, "errors": "replace"}
    return subprocess.run([program, *command[1:]], **text, **options)  # type: ignore[call-overload,no-any-return]


def mkfs(name: str, kind: str, file: str, label: str, arguments: Sequence[str] = ()) -> None:
    """Make a file system in a file.

    Raises:
        ImageError: if it cannot be made.
    """
    tool = KINDS.get(kind)
    if tool is None or not tool.make:
        raise ImageError(name, f"{kind} cannot be made; known are {', '.join(KINDS)}")
    named = [tool.label, label] if label else []
    run(name, [*tool.make, *named, *arguments, file], tool.package)


def fsck(name: str, kind: str, file: str, repair: bool) -> tuple[bool, str]:
    """Check a file system in a file: is it clean, and what was said.

    Raises:
        ImageError: if there is no program for it.
    """
    tool = KINDS.get(kind)
    if tool is None or not tool.check:
        raise ImageError(name, f"there is no program that checks {kind or 'what is there'}")
    result = check_status(name, [*(tool.repair if repair else tool.check), file], tool.package)
    said = f"{result.stdout}{result.stderr}"
    if repair and tool.package in ("e2fsprogs", "dosfstools", "exfatprogs"):
        return result.returncode in (0, 1), said  # 1: errors that were corrected
    return result.returncode == 0, said


def copy_range(source: Path, start: int, target: Path, to: int, size: int) -> None:
    """Copy a part of a file into another, which keeps its holes where the source has some."""
    with source.open("rb") as read, target.open("r+b") as write:
        end = start + size
        at = start
        while at < end:
            try:
                at = os.lseek(read.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            stop = min(os.lseek(read.fileno(), at, os.SEEK_HOLE), end)
            while at < stop:
                data = os.pread(read.fileno(), min(1 << 20, stop - at), at)
                if not data:
                    return
                os.pwrite(write.fileno(), data, to + at - start)
                at += len(data)
