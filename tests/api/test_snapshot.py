# SPDX-License-Identifier: GPL-2.0-only
"""Boots leave snapshots in the cache, from which later ones start."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

import rumpel
import rumpel.sandbox
from rumpel.build import snapshots


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "snapshots"


def times(image: str, **options: Any) -> list[float]:
    """When the first messages were printed: no two boots take equally long."""
    with rumpel.boot(image=image, memory="40M", **options) as k:
        return [record.time for record in k.log][:100]


def test_the_second_start_is_the_first_boot(default_image: str, cache: Path) -> None:
    """Without being asked, and in a place that only the user may look into."""
    first = times(default_image)
    assert times(default_image) == first
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700


def test_in_a_sandbox(default_image: str, cache: Path) -> None:
    """In the cache of who boots, of whose environment the child has nothing."""

    def times() -> list[float]:
        with rumpel.sandbox.boot([], image=default_image) as k:
            return [record.time for record in k.log][:100]

    first = times()
    assert len(first) == 100
    assert times() == first
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("options", [{"snapshot": False}, {"cmdline": "quiet"}])
def test_a_boot_that_is_wanted_is_a_boot(
    default_image: str, cache: Path, options: dict[str, Any]
) -> None:
    first = times(default_image)
    assert times(default_image, **options) != first
    assert len(list(cache.iterdir())) == 1


def test_a_virtual_clock_has_no_past(default_image: str, cache: Path) -> None:
    with rumpel.boot(image=default_image, clock=rumpel.VirtualClock()):
        pass
    assert not cache.exists() or not list(cache.iterdir())


def test_the_time_of_day_is_the_hosts(default_image: str, cache: Path) -> None:
    """Though the first call of a kernel that has just started takes long."""
    times(default_image)
    with rumpel.boot(image=default_image, memory="40M") as k:
        late = []
        now = bytearray(16)
        for _ in range(20):
            before = time.time_ns()
            k.syscall("clock_gettime", time.CLOCK_REALTIME, now)
            seconds, rest = struct.unpack("qq", now)
            late.append(before - seconds * 10**9 - rest)
        # The call itself takes a while, so it is never too early by much.
        assert max(late) < 150_000


def test_disks_and_interfaces_are_where_they_would_be(default_image: str, cache: Path) -> None:
    """Whether the kernel boots or not, and in their order."""
    for _ in range(2):
        with rumpel.boot(
            image=default_image,
            disks=[rumpel.MemoryDisk(1 << 20), rumpel.MemoryDisk(2 << 20)],
            nics=list(rumpel.Link()),
        ) as k:
            disks = [k.os.path.exists(f"/dev/{name}") for name in ("vda", "vdb", "vdc")]
            assert disks == [True, True, False]
            assert {"eth0", "eth1"} <= set(k.os.listdir("/sys/class/net"))


def test_the_oldest_go(default_image: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST", 2)
    for size in (40, 41, 42):
        with rumpel.boot(image=default_image, memory=f"{size}M"):
            pass
    names = sorted(path.name.rsplit("-", 1)[1] for path in cache.iterdir())
    assert names == [f"{41 << 10}k.0", f"{42 << 10}k.0"]


def test_no_home_is_made(
    default_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be kept kernels boot as ever."""
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "none" / "rumpel"))
    first = times(default_image)
    assert times(default_image) != first
    assert os.listdir(tmp_path) == []
