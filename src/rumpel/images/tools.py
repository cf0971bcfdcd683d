# SPDX-License-Identifier: GPL-2.0-only
"""The programs that make and check file systems, as Debian has them."""

from __future__ import annotations

import errno
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
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
    """

    make: tuple[str, ...] = ()
    label: str = "-L"
    check: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    package: str = ""


_PIECE = 1 << 20
_SAID = 1 << 20
"""Of what a program that checks says: so much is shown."""
_EACH_SECOND = 4 << 20
"""What such a program is expected to read, at least."""
_EXT = {"check": ("e2fsck", "-fn"), "repair": ("e2fsck", "-fy"), "package": "e2fsprogs"}
_LONGEST = {"ext2": 16, "ext3": 16, "ext4": 16}
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
        raise ImageError(name, f"{command[0]}: {_reason(result.stderr or result.stdout)}")
    return result.stdout


def _reason(said: str) -> str:
    """The last line of what a program complained of, but not of how it is used."""
    lines = [line for line in said.splitlines() if line.strip()]
    before = takewhile(lambda line: not line.lower().startswith("usage:"), lines)
    return ([*before] or lines or ["failed, and does not say why"])[-1].strip()


def check_status(
    name: str, command: Sequence[str], package: str, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a program, whatever it returns."""
    program = _found(name, command[0], package)
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL  # whatever they would ask
    text: dict[str, object] = {"capture_output": True, "text": True, "errors": "replace"}
    return subprocess.run([program, *command[1:]], **text, **options)  # type: ignore[call-overload,no-any-return]


def _found(name: str, program: str, package: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        raise ImageError(name, f"{program} is not installed (Debian: {package})")
    return found


def mkfs(name: str, kind: str, file: str, label: str, arguments: Sequence[str] = ()) -> None:
    """Make a file system in a file.

    Raises:
        ImageError: if it cannot be made.
    """
    tool = KINDS.get(kind)
    if tool is None or not tool.make:
        raise ImageError(name, f"{kind} cannot be made; known are {', '.join(KINDS)}")
    if kind in _LONGEST and len(os.fsencode(label)) > _LONGEST[kind]:
        # mke2fs cuts it off, and the image would not be found by what was asked for.
        raise ImageError(name, f"label {label!r} is too long for {kind}: {_LONGEST[kind]} bytes")
    named = [tool.label, label] if label else []
    run(name, [*tool.make, *named, *arguments, file], tool.package)


def fsck(
    name: str, kind: str, file: str, repair: bool, timeout: float | None = None
) -> tuple[bool, str]:
    """Check a file system in a file: is it clean, and what was said, or the beginning of that.

    There are file systems with which such a program never ends: ``e2fsck -n`` starts again and
    again if it may not move an inode table that lies in a wrong place.

    Args:
        name: of the image, for errors.
        kind: of the file system.
        file: where it is.
        repair: or only look?
        timeout: seconds for the program, and one more for each 4 MB; None is for ever.

    Raises:
        ImageError: if there is no program for it, it has been killed because of its time, or
            may not repair what it sees.
    """
    tool = KINDS.get(kind)
    if tool is None or not tool.check:
        raise ImageError(name, f"there is no program that checks {kind or 'what is there'}")
    if repair and kind == "btrfs" and (count := _btrfs_devices(file)) > 1:
        # It would take what is on the others for lost.
        raise ImageError(name, f"is one of {count} devices: btrfs repairs them together only")
    program, *arguments = tool.repair if repair else tool.check
    command = [_found(name, program, tool.package), *arguments, file]
    if timeout is not None:
        timeout += _size(file) / _EACH_SECOND
    status, said = _watched(command, timeout, cut=not repair)
    if status is None:
        raise ImageError(name, f"{program} has not ended after {timeout:.0f} s (--timeout)")
    if repair and tool.package in ("e2fsprogs", "dosfstools", "exfatprogs"):
        return status in (0, 1), said  # 1: errors that were corrected
    return status == 0, said


def _btrfs_devices(file: str) -> int:
    """How many devices a file system has, by the superblock of one."""
    with open(file, "rb") as opened:
        return int.from_bytes(os.pread(opened.fileno(), 8, 0x10088), "little")


def _size(file: str) -> int:
    with open(file, "rb") as opened:
        return opened.seek(0, os.SEEK_END)  # of a block device as well


def _watched(command: Sequence[str], timeout: float | None, cut: bool) -> tuple[int | None, str]:
    """Run a program that may never end.

    Args:
        command: the program and its arguments.
        timeout: seconds; None is for ever.
        cut: end it when it has said more than anybody reads.

    Returns:
        Its status, None if its time is over, and what it said, or the beginning of that.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    said = bytearray()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        fd = process.stdout.fileno()
        try:
            while True:
                left = None if deadline is None else max(0, deadline - time.monotonic())
                if not select.select([fd], [], [], left)[0]:
                    return None, ""
                piece = os.read(fd, 1 << 16)
                if not piece:
                    break
                if len(said) <= _SAID:
                    said += piece
                elif cut:
                    break
            if not piece:
                process.wait()
        finally:
            process.kill()  # if it has not ended
    text = said[:_SAID].decode(errors="replace")
    return process.returncode, text if len(said) <= _SAID else f"{text}\n... and more"


def copy_range(source: Path, start: int, target: Path, to: int, size: int) -> None:
    """Copy a part of a file into another.

    Where both have holes the target keeps them; where only the source has, it gets zeroes.
    """
    with source.open("rb") as read, target.open("r+b") as write:
        done = 0
        for at, stop in _data(read.fileno(), start, start + size):
            _zero(write.fileno(), to + done, to + at - start)
            while at < stop:
                data = os.pread(read.fileno(), min(_PIECE, stop - at), at)
                if not data:
                    break
                _write(write.fileno(), data, to + at - start)
                at += len(data)
            done = at - start
        _zero(write.fileno(), to + done, to + size)
        write.flush()
        os.fsync(write.fileno())


def _data(fd: int, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a part of a file is no hole."""
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
            stop = min(os.lseek(fd, at, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            stop = end  # a block device has none
        if at < stop:
            yield at, stop
        at = stop


def _zero(fd: int, start: int, end: int) -> None:
    for at, stop in _data(fd, start, end):
        while at < stop:
            at += _write(fd, bytes(min(_PIECE, stop - at)), at)


def _write(fd: int, data: bytes, at: int) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], at + done)
    return done
