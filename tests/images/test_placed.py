# SPDX-License-Identifier: GPL-2.0-only
"""Long files are copied by the host, from where they lie in the image."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from rumpel.copying.placed import Placed
from rumpel.copying.target import Writer
from rumpel.errors import SandboxError
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]
_MIB = 1 << 20


def _filled(image: Any) -> dict[str, bytes]:
    """Make long files of all kinds; what is in them."""
    chance, os_ = random.Random(5), image.volume.kernel.os
    os_.mkdir("/tree")
    plain, with_holes = chance.randbytes(3 * _MIB + 777), chance.randbytes(2 * _MIB)
    fd = os_.open("/tree/plain", os.O_WRONLY | os.O_CREAT)
    assert os_.write(fd, plain) == len(plain)
    os_.close(fd)
    # Data, a hole, what was allocated and never written, data, a hole at the end.
    fd = os_.open("/tree/holes", os.O_WRONLY | os.O_CREAT)
    os_.pwrite(fd, with_holes[:_MIB], 0)
    os_.posix_fallocate(fd, 2 * _MIB, _MIB)
    os_.pwrite(fd, with_holes[_MIB:], 4 * _MIB)
    os_.ftruncate(fd, 6 * _MIB)
    os_.close(fd)
    os_.link("/tree/plain", "/tree/second")
    gap = bytes(3 * _MIB)
    holes = with_holes[:_MIB] + gap + with_holes[_MIB:] + bytes(_MIB)
    return {"plain": plain, "holes": holes, "second": plain}


@pytest.mark.parametrize("sandbox", [True, False])
@pytest.mark.parametrize("kind", ["ext2", "ext4", "xfs", "partition"])
def test_content(
    opened: Any, kind: str, sandbox: bool, tmp_path: Path, two_partitions: Path
) -> None:
    """It is what was written, with its holes, on a disk and in a partition."""
    path = tmp_path / "disk.img"
    if kind == "partition":
        shutil.copyfile(two_partitions, path)
    else:
        make(path, kind, 320 if kind == "xfs" else 64)
    name = f"{path}:2" if kind == "partition" else str(path)
    if kind == "ext2":  # it has nothing that was allocated and not written
        image = opened(name, sandbox=sandbox)
        wanted = {"plain": random.Random(6).randbytes(2 * _MIB + 1)}
        image.mkdir("/tree")
        image.pipe_file("/tree/plain", wanted["plain"])
        image.close()
    else:
        with opened(name, sandbox=sandbox) as image:
            wanted = _filled(image)
    with opened(name, sandbox=sandbox, read_only=True) as image:
        kinds = [item[0] for item, _ in image.volume.items("/tree", placed=True)]
        assert "i" in kinds
        assert "c" not in kinds
        counts = image.copy_out("/tree", tmp_path / "out")
    found = {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()}
    assert found == wanted
    if "holes" in wanted:
        assert (tmp_path / "out" / "holes").stat().st_blocks * 512 <= 3 * _MIB
        assert (tmp_path / "out" / "second").samefile(tmp_path / "out" / "plain")
    assert counts.bytes == sum(2 * _MIB if n == "holes" else len(d) for n, d in wanted.items()) - (
        len(wanted["plain"]) if "second" in wanted else 0
    )
    if kind != "partition":
        check(path, kind)


def test_where_the_image_is_not_all(opened: Any, disk: Path, tmp_path: Path) -> None:
    """What an overlay has, or may still be in memory, is not taken from the image."""
    with opened(disk) as image:
        image.pipe_file("/file", b"1" * (2 * _MIB))
        # Nothing of it need be in the image yet.
        image.copy_out("/file", tmp_path / "one")
    with opened(disk, overlay=True) as image:
        image.pipe_file("/file", b"2" * (2 * _MIB))
        image.copy_out("/file", tmp_path / "two")
    with opened(disk, read_only=True) as image:
        disk.rename(tmp_path / "other.img")
        make(disk, "ext4", 64)
        image.copy_out("/file", tmp_path / "three")
    for name, byte in (("one", b"1"), ("two", b"2"), ("three", b"1")):
        assert (tmp_path / name).read_bytes() == byte * (2 * _MIB)


def test_an_image_that_shrinks(opened: Any, disk: Path, tmp_path: Path) -> None:
    """It is an error of the file, of which nothing is left."""
    with opened(disk) as image:
        image.pipe_file("/file", os.urandom(8 * _MIB))
    image = opened(disk, read_only=True)
    (*_, last) = [item for item, _ in image.volume.items("/file", placed=True) if item[0] == "i"]
    os.truncate(disk, last[2] + 4096)
    with pytest.raises(shutil.Error, match=os.strerror(errno.EIO)):
        image.copy_out("/file", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(Exception, match="has become shorter"):
        image.close()


ATTRIBUTES = [0o100644, 0, 0, 0, 0, 1, []]


@pytest.mark.parametrize(
    "place", [(-1, 1), (0, -1), (4000, 97), (1 << 63, 1), (1.0, 1), ("0", 1), (0, None), (0,), ()]
)
def test_hostile_places(place: tuple[Any, ...], tmp_path: Path) -> None:
    """Nothing but the image's own bytes, from the device's beginning on, can be asked for."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(5120))
    items = [(["f", "", ATTRIBUTES, False, 9], b""), (["i", 0, *place], b"")]
    for placed in (True, False):
        with image.open("rb") as file:
            given = Placed(file.fileno(), 1024, 4096) if placed else None
            writer = Writer(os, str(tmp_path / "out"), "source", placed=given)
            with pytest.raises((ValueError, TypeError)):
                writer.run(items)
        assert not (tmp_path / "out").exists()


def test_nonsense_of_a_sandbox(opened: Any, disk: Path, tmp_path: Path) -> None:
    """It is told as such."""
    with opened(disk, read_only=True) as image:
        items = [(["f", "", ATTRIBUTES, False, 9], b""), (["i", 0, 64 * _MIB, 1], b"")]
        image.volume.items = lambda *_, **__: iter(items)
        with pytest.raises(SandboxError, match="nonsense"):
            image.copy_out("/file", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_file_systems(tmp_path: Path) -> None:
    """Where the host cannot copy between them itself, the content goes through a pipe of it."""
    data = os.urandom(3 * _MIB)
    image = tmp_path / "image"
    image.write_bytes(b"head" + data)
    to = os.memfd_create("other")
    with image.open("rb") as file:
        placed = Placed(file.fileno(), 4, len(data))
        assert sum(placed.copy(to, 0, _MIB)) == _MIB
        assert sum(placed.copy(to, _MIB, 2 * _MIB)) == 2 * _MIB
    assert os.pread(to, len(data) + 1, 0) == data
    os.close(to)
