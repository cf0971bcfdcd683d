# SPDX-License-Identifier: GPL-2.0-only
"""Images for tests, made by the file systems' own tools."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import Image, open_image
from tests.conftest import VERSION
from tests.images.tools import make

Opener = Callable[..., Image]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An ext4 image of 64 MB without partitions."""
    return make(tmp_path / "disk.img", "ext4", 64)


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open images with the kernel that is tested; they are closed after the test."""
    every: list[Image] = []

    def open_(*args: Any, **options: Any) -> Image:
        image = open_image(*args, version=VERSION, **options)
        every.append(image)
        return image

    yield open_
    for image in reversed(every):
        image.close()


@pytest.fixture(scope="session")
def two_partitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT with a FAT and an ext4 file system, empty. Not to be written to."""
    path = tmp_path_factory.mktemp("images") / "two.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    table = "label: gpt\nstart=2048, size=32768, type=uefi, name=EFI\n"
    table += "start=34816, size=90000, type=linux, name=system\n"
    subprocess.run(["/usr/sbin/sfdisk", "-q", path], input=table.encode(), check=True)
    for number, kind, start, size in ((1, "vfat", 2048, 32768), (2, "ext4", 34816, 90000)):
        part = make(path.with_suffix(f".{number}"), kind, size // 2048, size * 512, f"L{number}")
        with path.open("r+b") as file:
            file.seek(start * 512)
            file.write(part.read_bytes())
        part.unlink()
    return path
