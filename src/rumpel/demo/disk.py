# SPDX-License-Identifier: GPL-2.0-only
"""A real ext4 image: made by mke2fs, used by the library kernel, judged by e2fsck."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from rumpel.demo.report import Report
from rumpel.demo.tools import check, size, tool
from rumpel.kernel import Kernel

__all__ = ["disk"]

_PACKAGE = "e2fsprogs"
_ROOM = 64 << 20
_WRITTEN = "/written by rumpel"
_FILES = 100
_LARGE = 20 << 20

Boot = Callable[..., Kernel]


def disk(boot: Boot, report: Report, tree: Path, work: Path) -> None:
    """Read all of a tree from an image, write to it, and have it checked.

    Args:
        boot: boots the kernel.
        report: hears what was done.
        tree: of the host, real files.
        work: a directory for the image.

    Raises:
        DemoError: if a byte differs, or the image is damaged afterwards.
    """
    image = work / "disk.img"
    total = sum(p.lstat().st_size for p in tree.rglob("*") if not p.is_dir())
    with report.step(f"mke2fs -d {tree}: an image of {size(total)} in files"):
        blocks = (2 * total + _ROOM) >> 10
        tool("mke2fs", "-q", "-t", "ext4", "-d", tree, image, f"{blocks}k", package=_PACKAGE)
    kernel = boot(disks=[image])
    with kernel:
        kernel.mount("/dev/vda", "/mnt", "ext4")
        with report.step("mounted, listed, and every file compared with its original"):
            files, amount, taken = _compare(kernel, "/mnt", tree)
        report.figure(
            "ext4 image",
            f"{files:,} files, {size(amount)}: equal to {tree}; read at {size(amount / taken)}/s",
        )
        written = _contents()
        with report.step(f"{len(written)} files written, {size(_LARGE)} in one of them; unmounted"):
            start = time.monotonic()
            kernel.os.mkdir("/mnt" + _WRITTEN)
            for name, content in written.items():
                with kernel.open(f"/mnt{_WRITTEN}/{name}", "wb") as file:
                    file.write(content)
            kernel.umount("/mnt")
            taken = time.monotonic() - start
    with report.step("e2fsck -fn finds it clean"):
        tool("e2fsck", "-fn", image, package=_PACKAGE)
    with report.step("debugfs reads the written files back, byte for byte"):
        back = work / "back"
        back.mkdir()
        tool("debugfs", "-R", f'rdump "{_WRITTEN}" {back}', image, package=_PACKAGE)
        for name, content in written.items():
            found = (back / _WRITTEN[1:] / name).read_bytes()
            check(found == content, f"debugfs finds other bytes in {name}")
    amount = sum(map(len, written.values()))
    report.figure(
        "", f"{len(written)} files written, {size(amount / taken)}/s; e2fsck and debugfs agree"
    )


def _compare(kernel: Kernel, mounted: str, tree: Path) -> tuple[int, int, float]:
    """Compare names and contents: how many files and bytes, and the seconds to read them."""
    files = amount = 0
    taken = 0.0
    for here, dirs, names in os.walk(tree):
        there = mounted + here[len(str(tree)) :]
        found = sorted(set(kernel.os.listdir(there)) - {"lost+found"})
        check(found == sorted([*dirs, *names]), f"{there} has other names than {here}")
        for name in names:
            path = Path(here, name)
            if path.is_symlink():
                same = kernel.os.readlink(f"{there}/{name}") == str(path.readlink())
            elif path.is_file():
                content = path.read_bytes()
                start = time.monotonic()
                with kernel.open(f"{there}/{name}", "rb", 0) as file:
                    ours = file.read()
                taken += time.monotonic() - start
                same = ours == content
                amount += len(content)
            else:
                continue
            files += 1
            check(same, f"{there}/{name} differs from its original")
    return files, amount, taken


def _contents() -> dict[str, bytes]:
    contents = {f"file {number}": os.urandom(number * 100) for number in range(_FILES)}
    contents["large"] = os.urandom(_LARGE)
    return contents
