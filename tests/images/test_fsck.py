# SPDX-License-Identifier: GPL-2.0-only
"""The file systems' own programs, which a damaged image may keep busy for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.images import ImageError
from rumpel.images.tools import fsck


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file beside a program "e2fsck" that is found first, and does what the file says."""
    program = tmp_path / "e2fsck"
    program.write_text('#!/bin/sh\n. "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "disk"


def test_it_starts_again_and_again(disk: Path) -> None:
    """The beginning of what it says is enough: as e2fsck -n does with some images."""
    disk.write_text("exec yes restarting")
    clean, said = fsck("name", "ext4", str(disk), repair=False)
    assert not clean
    assert said.startswith("restarting\nrestarting\n")
    assert said.endswith("and more")
    assert len(said) < 2 << 20


def test_it_is_silent(disk: Path) -> None:
    """It is killed, and that is said."""
    disk.write_text("exec sleep 1000")
    with pytest.raises(ImageError, match=r"e2fsck has not ended after 0 s \(--timeout\)"):
        fsck("name", "ext4", str(disk), repair=False, timeout=0.1)


def test_it_ends(disk: Path) -> None:
    """All is shown that it says, in order; a repair is never ended because it says much."""
    disk.write_text("echo one; echo two >&2; echo three; exit 1")
    assert fsck("name", "ext4", str(disk), False, 100) == (False, "one\ntwo\nthree\n")
    assert fsck("name", "ext4", str(disk), True, 100) == (True, "one\ntwo\nthree\n")
    disk.write_text("head -c 3000000 /dev/zero; exit 0")
    assert fsck("name", "ext4", str(disk), True)[0]
