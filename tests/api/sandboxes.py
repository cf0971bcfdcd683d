# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in sandboxes, for tests of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel import sandbox
from rumpel.sandbox import DiskSpec, SandboxedKernel
from tests.conftest import VERSION

__all__ = ["MODULES", "disk", "doomed", "make_disk", "pid", "shared"]

MODULES = ("rumpel.images.jobs", "rumpel.images.copies", "shutil")


def make_disk(directory: Path) -> Path:
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
    return image


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_disk(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxedKernel]:
    """A kernel for tests that leave it as it is."""
    disk = make_disk(tmp_path_factory.mktemp("sandbox"))
    k = sandbox.boot([DiskSpec(str(disk), overlay=True)], version=VERSION, modules=MODULES)
    with k:
        k.mount("/dev/vda", "/mnt", "ext4")
        yield k


@pytest.fixture
def doomed(disk: Path) -> Iterator[SandboxedKernel]:
    """A kernel that will die."""
    specs = [DiskSpec(str(disk), overlay=True)]
    k = sandbox.boot(specs, name="my.img", version=VERSION, modules=MODULES)
    yield k
    k.close()


def pid(k: SandboxedKernel) -> int:
    return k.remote._process._pid
