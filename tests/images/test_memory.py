# SPDX-License-Identifier: GPL-2.0-only
"""How much memory ``rumpel image`` takes does not depend on how large an image is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import VERSION
from tests.images.tools import ENV

pytestmark = [pytest.mark.kernel, pytest.mark.once]

_MOST = 100 << 10
_CODE = """
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""Runs a program: its status, and the most memory that it or its child had, in KiB."""


def _memory(*args: object) -> int:
    rumpel = [sys.executable, "-c", "from rumpel.cli import main; main()", "image"]
    name, *rest = map(str, args)
    command = [sys.executable, "-c", _CODE, *rumpel, name, "--kernel", VERSION, *rest]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    status, memory = told.split()[-2:]
    assert status == "0"
    return int(memory)


def test_a_terabyte(tmp_path: Path) -> None:
    """An empty one, listed, filled with a file of 200 MB, and read."""
    disk, file = tmp_path / "disk.img", tmp_path / "file"
    with disk.open("wb") as made:
        made.truncate(1 << 40)
    mke2fs: list[str | Path] = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-J",
        "size=16",
        "-E",
        "nodiscard",
        disk,
    ]
    subprocess.run(mke2fs, env=ENV, check=True)
    with file.open("wb") as content:
        content.truncate(200 << 20)
        content.write(b"x" * (1 << 20))
    assert _memory("ls", disk) < _MOST
    assert _memory("df", disk) < _MOST
    assert _memory("cp", file, f"{disk}:/") < _MOST
    assert _memory("cp", f"{disk}:/file", tmp_path / "again") < _MOST
    assert disk.stat().st_blocks < (1 << 30) // 512
