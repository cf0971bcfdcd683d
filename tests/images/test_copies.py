# SPDX-License-Identifier: GPL-2.0-only
"""Copies into, out of and within images: how far they are, and several files at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from rumpel.copying import Copied
from rumpel.copying.ahead import Ahead
from rumpel.copying.source import read_tree
from tests import threads
from tests.images.tools import check

pytestmark = [pytest.mark.kernel, pytest.mark.once]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some hundred files in some directories, with what may be in the way."""
    top = tmp_path / "tree"
    for number in range(300):
        file = top / str(number % 7) / str(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number % 256]) * number * 10)
    os.mkfifo(top / "fifo")
    (top / "link").symlink_to("0/0")
    (top / "gone").symlink_to("nowhere")
    os.link(top / "1" / "1", top / "hard")
    return top


def _check_same(one: Path, other: Path) -> None:
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "fifo", one, other], check=True)
    assert (other / "fifo").is_fifo()


def _seen(kept: list[tuple[int, int]]) -> Any:
    def progress(copied: Copied) -> None:
        kept.append((copied.files, copied.bytes))

    return progress


@pytest.mark.parametrize("sandbox", [True, False])
def test_progress(opened: Any, disk: Path, tree: Path, sandbox: bool, tmp_path: Path) -> None:
    """Of every kind of copy it is told now and then, and never goes back."""
    image = opened(disk, sandbox=sandbox)
    ways: dict[str, list[tuple[int, int]]] = {"in": [], "within": [], "out": []}
    volume = image.volume
    volume.copy_in(str(tree), "/tree", progress=_seen(ways["in"]))
    whole = volume.copy_within("/tree", "/copy", progress=_seen(ways["within"]))
    volume.copy_out("/copy", str(tmp_path / "out"), progress=_seen(ways["out"]))
    for seen in ways.values():
        assert len(seen) > 3
        assert seen == sorted(seen)
        assert seen[-1] <= (whole.files, whole.bytes)
    assert whole.files == 300
    image.close()
    _check_same(tree, tmp_path / "out")
    check(disk)


def test_progress_between_partitions(opened: Any, two_partitions: Path, tmp_path: Path) -> None:
    """A copy from one to the other is told of, too."""
    disk = tmp_path / "two.img"
    shutil.copyfile(two_partitions, disk)
    (tmp_path / "file").write_bytes(b"x" * (9 << 20))
    with opened(disk, 2) as image:
        image.volume.copy_in(str(tmp_path / "file"), "/file")
    seen: list[tuple[int, int]] = []
    with opened(disk, 1) as image:
        copied = image.volume.copy_from("2", "/file", "/again", progress=_seen(seen))
        assert copied.bytes == image.size("/again") == 9 << 20
    assert seen


@pytest.mark.parametrize("sandbox", [True, False])
def test_several_at_once(
    opened: Any, disk: Path, tree: Path, sandbox: bool, tmp_path: Path
) -> None:
    """What is looked at ahead comes out as what is not."""
    image = opened(disk, sandbox=sandbox)
    volume = image.volume
    volume.copy_in(str(tree), "/tree", jobs=4)
    volume.copy_within("/tree", "/copy", jobs=3)
    volume.copy_out("/copy", str(tmp_path / "out"), jobs=8)
    # Left in the middle: the threads end.
    items = volume.items("/copy", jobs=8)
    assert next(items)[0][0] == "d"
    items.close()
    image.close()
    _check_same(tree, tmp_path / "out")
    assert (tmp_path / "out" / "hard").stat().st_nlink == 2
    check(disk)


class _Slow:
    """The module os, whose stat() waits until four have called it."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(4)
        self.have_met = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, *args: Any, **options: Any) -> os.stat_result:
        """Not alone."""
        if not self.have_met.is_set():
            self.barrier.wait(60)
            self.have_met.set()
        return os.stat(*args, **options)


def test_they_are_at_once(tree: Path) -> None:
    """Four files are looked at by four threads, which end with the tree."""
    slow, before = _Slow(), threads.count()
    ahead = Ahead(slow, 4)
    ahead.enter(str(tree / "0"), os.listdir(tree / "0"))
    assert slow.have_met.wait(60)
    ahead.close()
    assert len(list(read_tree(os, str(tree), jobs=4))) == 300 + 8 + 4
    assert threads.are_left(before)
