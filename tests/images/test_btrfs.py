# SPDX-License-Identifier: GPL-2.0-only
"""btrfs of several devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError
from rumpel.images.tools import fsck
from tests.images.volumes import loops, sparse, tool

pytestmark = pytest.mark.kernel


def test_several_devices(opened: Any, tmp_path: Path) -> None:
    """Both have all that they should have; one alone is an error that names what is missing."""
    paths = [sparse(tmp_path / f"{at}.img", 128) for at in range(2)]
    tool("mkfs.btrfs", "-q", "-f", "-L", "BOTH", "-d", "raid1", "-m", "raid1", *paths)
    with opened(paths) as image:
        assert image.volume.device.label == "BOTH"
        image.pipe("/file", b"x" * 1_000_000)
        before = None
    with opened(paths[::-1], "LABEL=BOTH", overlay=True) as image:
        before = image.snapshot()
        image.rm("/file")
        image.rollback(before)
        assert image.cat("/file") == b"x" * 1_000_000
    assert all(b"x" * 65536 in path.read_bytes() for path in paths)
    with loops(paths):  # where the check looks for the other
        tool("btrfs", "check", "--readonly", paths[0])
    with pytest.raises(ImageError, match=r"devid \d .* is missing"):
        opened(paths[0])
    before = paths[0].read_bytes()
    with pytest.raises(ImageError, match="one: is one of 2 devices"):
        fsck("one", "btrfs", str(paths[0]), repair=True)
    assert paths[0].read_bytes() == before
