# SPDX-License-Identifier: GPL-2.0-only
"""Images that are checked as they are read, by trees of hashes that veritysetup makes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import ImageError
from rumpel.images.layers.verity import parse
from tests.images.volumes import ext4, sparse, tool

pytestmark = pytest.mark.kernel


def seal(*args: object) -> str:
    """Make a tree; its root."""
    said = tool("veritysetup", "format", *args)
    (root,) = re.findall(r"Root hash:\s*([0-9a-f]+)", said)
    return str(root)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """An image, its tree and the root. Not to be written to."""
    top = tmp_path_factory.mktemp("verity")
    data = ext4(top / "data.img", 16, one="1" * 200_000, two="2" * 200_000)
    hashes = sparse(top / "hash.img", 2)
    return data, hashes, seal(data, hashes)


def test_what_is_whole(sealed: tuple[Path, Path, str], opened: Any) -> None:
    """It is read, and never written to."""
    data, hashes, root = sealed
    before = data.read_bytes()
    with opened([data, hashes], verity=root) as image:
        assert image.cat("/one") == b"1" * 200_000
        assert image.volume.name == f"{data}:verity"
        with pytest.raises(OSError, match="Read-only file system"):
            image.pipe("/new", b"")
    assert data.read_bytes() == before


def test_one_bit(sealed: tuple[Path, Path, str], opened: Any, tmp_path: Path) -> None:
    """What was changed cannot be read, all else can; the kernel says which block it is."""
    data, hashes, root = sealed
    changed = tmp_path / "data.img"
    content = bytearray(data.read_bytes())
    at = content.index(b"2" * 4096) + 70_000
    content[at] ^= 1
    changed.write_bytes(content)
    with opened([changed, hashes], verity=root) as image:
        assert image.cat("/one") == b"1" * 200_000
        with pytest.raises(OSError, match="Input/output error"):
            image.cat("/two")
        log = str(image.volume.kernel.log)
        assert f"data block {at // 4096} is corrupted" in log
    content[1024 + 120] ^= 1  # of the superblock's label
    changed.write_bytes(content)
    with pytest.raises(ImageError, match=r"verity \(cannot be read: Input/output error\)"):
        opened([changed, hashes], verity=root)


def test_what_does_not_fit(sealed: tuple[Path, Path, str], opened: Any) -> None:
    """Another root, a missing tree, or another device than what is checked: nothing is mounted."""
    data, hashes, root = sealed
    other = f"{int(root[0], 16) ^ 1:x}{root[1:]}"
    with pytest.raises(ImageError, match=r"has no tree of hashes .* with that root"):
        opened([data, hashes], verity=other)
    with pytest.raises(ImageError, match="has no tree of hashes"):
        opened(data, verity=root)
    with pytest.raises(ImageError, match=r"several file systems|no device with the data"):
        opened(hashes, verity=root)
    for wrong in ("", "xy", "00" * 100):
        with pytest.raises(ValueError, match=r"."):
            opened(data, verity=wrong)
    with pytest.raises(ValueError, match="multiple of 512"):
        opened(data, verity=root, verity_offset=100)


def test_a_tree_behind_the_data(
    sealed: tuple[Path, Path, str], opened: Any, tmp_path: Path
) -> None:
    """In the same image, with other sizes of blocks and another hash."""
    disk = tmp_path / "disk.img"
    shutil.copyfile(sealed[0], disk)
    size = disk.stat().st_size
    options = [f"--data-blocks={size // 4096}", f"--hash-offset={size}", "--hash=sha512"]
    root = seal(*options, "--hash-block-size=1024", "--salt=-", disk, disk)
    with opened(disk, verity=root, verity_offset=size) as image:
        assert image.cat("/two") == b"2" * 200_000
        assert image.volume.device.size == size


def test_superblocks_of_strangers(sealed: tuple[Path, Path, str]) -> None:
    """Sizes that cannot be are none of a tree."""
    whole = sealed[1].read_bytes()[:512]
    assert parse(whole) is not None
    for at, value in ((8, 2), (12, 2), (64, 3), (68, 0), (80, 0xFFFF), (32, 0x20), (72 + 7, 0x80)):
        data = bytearray(whole)
        data[at : at + 2] = value.to_bytes(2, "little")
        assert parse(bytes(data)) is None, at
    assert parse(whole[:100]) is None
