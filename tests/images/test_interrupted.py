# SPDX-License-Identifier: GPL-2.0-only
"""Commands that change an image in place, killed in the middle: all is there, and they go on.

RUMPEL_KILLS says how many moments of each; without it few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rumpel.images import open_image
from tests.conftest import VERSION
from tests.images.test_killed import wait_for
from tests.images.tool import RUMPEL
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]

_MANY = int(os.environ.get("RUMPEL_KILLS", "0"))
_FILES = {f"/{number}": random.Random(number).randbytes(number * 1000) for number in range(60)}
SIZES = {"ext4": 32, "btrfs": 320, "xfs": 320}


def descendants(pid: int) -> list[int]:
    """A process's children, and theirs."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [each for child in text.split() for each in (int(child), *descendants(int(child)))]


def kill_at(delay: float, command: Sequence[object]) -> None:
    """Run a command, and kill it and all that it has started after a while."""
    with subprocess.Popen(
        [str(each) for each in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            for pid in (process.pid, *descendants(process.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def run(command: str, *args: object) -> str:
    """Run a command to its end."""
    words = [*RUMPEL, command, *map(str, args)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def delays(command: Sequence[object], few: int) -> list[float]:
    """Moments of a command that has just been run to its end, to see how long it takes."""
    start = time.monotonic()
    subprocess.run([str(each) for each in command], check=True, capture_output=True)
    whole = time.monotonic() - start
    return [random.uniform(0.3, 1.05) * whole for _ in range(_MANY or few)]


@pytest.mark.timeout(max(300, 60 * _MANY))
@pytest.mark.parametrize(
    ("kind", "change"), [("ext4", 40), ("ext4", -8), ("btrfs", 80), ("btrfs", -32), ("xfs", 60)]
)
def test_resize(kind: str, change: int, tmp_path: Path) -> None:
    """The image is as it was, or larger, or smaller; and the same command again is enough."""
    disk, before = tmp_path / "disk.img", tmp_path / "before.img"
    size = SIZES[kind]
    if kind == "ext4":
        run("create", "--kernel", VERSION, before, f"{size}M", "-p", "rest:ext4:root")
    else:
        make(before, kind, size)
    with open_image(before, version=VERSION) as image:
        image.pipe(_FILES)
    command = [*RUMPEL, "resize", "--kernel", VERSION, disk, f"{size + change}M"]
    subprocess.run(["cp", "--sparse=always", before, disk], check=True)
    for delay in delays(command, 1):
        subprocess.run(["cp", "--sparse=always", before, disk], check=True)
        kill_at(delay, command)
        wait_for(disk)
        for _ in range(2):
            with open_image(disk, version=VERSION) as image:
                assert image.cat(list(_FILES)) == _FILES, delay
            if kind != "ext4":
                check(disk, kind)
            run("check", "--kernel", VERSION, disk)
            run("resize", "--kernel", VERSION, disk, f"{size + change}M")
        assert disk.stat().st_size == (size + change) << 20


@pytest.mark.timeout(max(300, 60 * _MANY))
def test_commit(tmp_path: Path) -> None:
    """Half of an overlay is in the image, and the same command puts in the rest."""
    disk, before = tmp_path / "disk.img", make(tmp_path / "before.img", "ext4", 64)
    overlay, top = tmp_path / "overlay", tmp_path / "top"
    subprocess.run(["cp", "--sparse=always", "--preserve", before, disk], check=True)
    large = random.Random(0).randbytes(30 << 20)
    with open_image(disk, overlay=overlay, version=VERSION) as image:
        image.pipe(_FILES)
        image.pipe("/large", large)
    subprocess.run(["cp", "--sparse=always", overlay, top], check=True)
    command = [*RUMPEL, "commit", disk, overlay]
    for delay in delays(command, 2):
        # An overlay belongs to its base, by size and time.
        status = before.stat()
        subprocess.run(["cp", "--sparse=always", before, disk], check=True)
        os.utime(disk, ns=(status.st_atime_ns, status.st_mtime_ns))
        subprocess.run(["cp", "--sparse=always", top, overlay], check=True)
        kill_at(delay, command)
        wait_for(disk)
        run("commit", disk, overlay)
        check(disk)
        with open_image(disk, read_only=True, version=VERSION) as image:
            assert image.cat(list(_FILES)) == _FILES, delay
            assert image.cat("/large") == large
