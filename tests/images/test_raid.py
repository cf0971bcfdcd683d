# SPDX-License-Identifier: GPL-2.0-only
"""RAID arrays, whose superblocks mdadm writes and examines."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel.images import ImageError
from rumpel.images.layers.raid import ROOM, offsets, parse
from rumpel.images.session import Options, Session
from tests.conftest import VERSION
from tests.images.tools import check
from tests.images.volumes import examined, ext4, raid, sparse, tool

MIB = 1 << 20
pytestmark = pytest.mark.kernel


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What takes the place of the host's md driver."""
    library = tmp_path_factory.mktemp("md") / "no_md.so"
    source = Path(__file__).with_name("no_md.c")
    tool("gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, source)
    return library


def array(shim: Path, top: Path, level: str, count: int, metadata: str, number: int) -> list[Path]:
    """An array with an ext4 file system on it."""
    paths = [sparse(top / f"{at}.img", 20) for at in range(count)]
    raid(shim, paths, level, metadata, number)
    session = Session([str(path) for path in paths], Options(version=VERSION))
    try:
        (device,) = [each for each in session.devices() if each.volume.startswith("md/")]
        source = ext4(top / "fs", device.size // MIB, hello="on raid\n")
        with source.open("rb") as read, session.kernel.open(device.path, "r+b") as file:
            while piece := read.read(MIB):
                file.write(piece)
    finally:
        session.close()
    return paths


@pytest.mark.parametrize(
    ("number", "level", "count", "metadata"),
    [
        (80, "1", 2, "1.2"),
        (81, "1", 2, "1.0"),
        (82, "5", 3, "1.1"),
        (83, "10", 4, "0.90"),
        (84, "0", 2, "1.2"),
        (85, "6", 4, "1.2"),
    ],
)
def test_arrays(
    shim: Path, opened: Any, tmp_path: Path, number: int, level: str, count: int, metadata: str
) -> None:
    """Read, written to and clean afterwards; without one disk as far as the level allows."""
    paths = array(shim, tmp_path, level, count, metadata, number)
    with opened(paths) as image:
        name = "md/127" if metadata == "0.90" else "md/home"
        assert image.volume.device.volume == name
        assert image.cat("/hello") == b"on raid\n"
        image.pipe("/new", b"x" * 100_000)
    told = [examined(path) for path in paths]
    assert {each["State"] for each in told} == {"clean"}
    assert len({each["Events"] for each in told}) == 1
    assert all("correct" in each["Checksum"] for each in told)
    if level == "0":
        with pytest.raises(ImageError, match=r"cannot be started \(1 of its 2 disks are here\)"):
            opened(paths[:1])
        return
    before = paths[1].read_bytes()
    with opened(paths[1:], read_only=True) as image:
        assert image.cat("/new") == b"x" * 100_000
    assert paths[1].read_bytes() == before


def test_half_of_a_mirror(shim: Path, opened: Any, tmp_path: Path) -> None:
    """What was written without one disk wins when both are there again, and both get it."""
    paths = array(shim, tmp_path, "1", 2, "1.0", 86)
    with opened(paths[1]) as image:
        image.pipe("/newer", b"x" * 100_000)
    assert examined(paths[0])["Events"] != examined(paths[1])["Events"]
    with opened([paths[0], paths[1]]) as image:
        assert image.cat("/newer") == b"x" * 100_000
    # Format 1.0 has its superblock at the end: a member begins as its file system does.
    plain = tmp_path / "plain"
    shutil.copyfile(paths[1], plain)
    check(plain)


def test_a_program_that_is_killed(shim: Path, tmp_path: Path) -> None:
    """The kernel's process unmounts, and stops the array, which is clean."""
    paths = array(shim, tmp_path, "1", 2, "1.2", 89)
    code = (
        "from rumpel.images import open_image\n"
        f"image = open_image({[str(path) for path in paths]}, version={VERSION!r})\n"
        "image.pipe('/new', b'x' * 100_000)\n"
        "print('go', flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout
        assert program.stdout.readline() == b"go\n"
        program.kill()
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            rumpel.Disk(paths[1])
        except OSError:
            time.sleep(0.02)
        else:
            break
    assert {examined(path)["State"] for path in paths} == {"clean"}
    assert examined(paths[0])["Events"] == examined(paths[1])["Events"]


def test_a_halt(shim: Path, tmp_path: Path) -> None:
    """It takes apart what lies on each other, also below a root that somebody has changed."""
    paths = array(shim, tmp_path, "1", 2, "1.2", 90)
    session = Session([str(path) for path in paths], Options(version=VERSION, sandbox=False))
    kernel = session.kernel
    (device,) = [each for each in session.devices() if each.volume.startswith("md/")]
    above = kernel.dm.create("above", [(0, device.size, "linear", f"{device.path} 0")])
    kernel.mount(above, "/mnt", "ext4")
    with kernel.open("/mnt/new", "wb") as file:
        file.write(b"x" * 100_000)
    kernel.os.chroot("/mnt")
    kernel.os.chdir("/")
    kernel.halt()
    kernel.close()
    assert {examined(path)["State"] for path in paths} == {"clean"}


def test_snapshots_and_partitions(shim: Path, opened: Any, tmp_path: Path) -> None:
    """Arrays are stopped and started around them; an array may have partitions."""
    paths = [sparse(tmp_path / f"{at}.img", 20) for at in range(2)]
    raid(shim, paths, "1", "1.2", 87)
    session = Session([str(path) for path in paths], Options(version=VERSION))
    disk = sparse(tmp_path / "disk", 18)
    tool("sfdisk", "-q", disk, stdin="label: gpt\nstart=2048, size=20480\nstart=24576, size=8192\n")
    part = ext4(tmp_path / "part", 10, hello="in a partition\n")
    data = bytearray(disk.read_bytes())
    data[MIB : 11 * MIB] = part.read_bytes()
    try:
        session.devices()
        with session.kernel.open("/dev/md127", "r+b") as file:
            file.write(data)
    finally:
        session.close()
    with opened(paths, "md/home/1", overlay=True) as image:
        before = image.snapshot()
        image.rm("/hello")
        image.rollback(before)
        assert image.cat("/hello") == b"in a partition\n"
        assert image.volume.device.volume == "md/home/1"


def test_superblocks_of_strangers(shim: Path, tmp_path: Path) -> None:
    """Whatever they say, it is a member or none."""
    paths = [sparse(tmp_path / f"{at}.img", 20) for at in range(2)]
    raid(shim, paths, "1", "1.2", 88)
    whole = paths[0].read_bytes()[4096 : 4096 + ROOM]
    assert parse(whole, 4096, (1, 2)) is not None
    assert parse(whole, 8192, (1, 2)) is None
    chance = random.Random(1)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(4):
            data[chance.randrange(8, 300)] = chance.randrange(256)
        for version in ((0, 90), (1, 2)):
            parse(bytes(data[: chance.choice((ROOM, ROOM, 100))]), 4096, version)
    for size in (0, 512, 1 << 16, 1 << 20, paths[0].stat().st_size):
        assert all(0 <= at <= size or at <= 4096 for at, _ in offsets(size))
