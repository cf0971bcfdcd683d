# SPDX-License-Identifier: GPL-2.0-only
"""A disk with an empty file system, and exceptions that nobody gets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rumpel import Disk, Kernel
from tests.api.test_disks import ext4
from tests.conftest import Boot


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with an empty ext4."""
    return ext4(tmp_path / "disk.img", None, "64M")


@pytest.fixture
def mounted(boot: Boot, image: Path) -> Kernel:
    """A kernel with an ext4 at /mnt."""
    kernel = boot(disks=[Disk(image)])
    kernel.mount("/dev/vda", "/mnt", "ext4")
    return kernel


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was reported to sys.unraisablehook: exceptions, and of what."""
    caught: list[Any] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda u: caught.append((u.exc_value, repr(u.object)))
    )
    return caught
