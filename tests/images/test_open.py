# SPDX-License-Identifier: GPL-2.0-only
"""Opening images: partitions, what is no image, who else has it, overlays and snapshots."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem

import rumpel
from rumpel.images import ImageError
from tests.conftest import VERSION
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_partitions_by_number_and_name(two_partitions: Path, opened: Any) -> None:
    for name in (1, "1", "LABEL=L1", "PARTLABEL=EFI"):
        assert opened(two_partitions, name, read_only=True).volume.device.kind == "vfat"
    image = opened(f"{two_partitions}:LABEL=L2", read_only=True)
    device = image.volume.device
    assert (device.number, device.start, device.size) == (2, 34816 * 512, 90000 * 512)
    again = opened(two_partitions, f"UUID={device.uuid}", read_only=True)
    assert again.volume.device == device


def test_partitions_that_are_not_there(two_partitions: Path, opened: Any) -> None:
    """The message tells what there is."""
    there = r"1 \(vfat L1\), 2 \(ext4 L2\)"
    with pytest.raises(ImageError, match=f"several file systems, name one: {there}"):
        opened(two_partitions)
    with pytest.raises(ImageError, match="has no partition 7; there is 0"):
        opened(two_partitions, 7)
    with pytest.raises(ImageError, match="has no partition LABEL=nix"):
        opened(two_partitions, "LABEL=nix")
    with pytest.raises(ImageError, match="'root' names no partition"):
        opened(two_partitions, "root")


def test_a_disk_that_has_a_partition_table_by_chance(disk: Path, opened: Any) -> None:
    """What Acorn's PowerTec controllers used is known by a sum of 8 bits and nothing else."""
    sector = struct.pack("<8x II 495x", 0, 8)
    with disk.open("r+b") as file:
        file.write(sector + bytes([(0x2A + sum(sector)) % 256]))
    assert [device.kind for device in opened(disk).volume.devices] == ["ext4"]


def test_a_cd_that_is_a_disk_too(opened: Any, tmp_path: Path) -> None:
    """Installers come so: the first partition begins with the CD, the second is its EFI system."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "README").write_text("a CD\n")
    path, efi = tmp_path / "cd.iso", make(tmp_path / "efi", "vfat", 4)
    command = ["genisoimage", "-quiet", "-R", "-V", "CD", "-o", str(path), str(tmp_path / "tree")]
    subprocess.run(command, check=True, capture_output=True)
    start = path.stat().st_size // 512
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(efi.read_bytes())
        file.seek(446)
        for kind, first, count in ((0x17, 0, start), (0xEF, start, efi.stat().st_size // 512)):
            file.write(struct.pack("<4x B 3x II", kind, first, count))
        file.seek(510)
        file.write(b"\x55\xaa")
    assert opened(path, read_only=True).cat("/README") == b"a CD\n"
    assert opened(path, 2, read_only=True).volume.device.kind == "vfat"


def test_what_is_no_image(opened: Any, tmp_path: Path) -> None:
    """Each gets a message that names it, and says what is wrong."""
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "noise").write_bytes(b"noise" * 100_000)
    for name, message in (
        ("none", "no such image"),
        (".", "is a directory, not a disk image"),
        ("empty", "is empty"),
        ("short", "is too short for a disk"),
        ("noise", "no file system that Linux .* knows"),
    ):
        with pytest.raises(ImageError, match=f"{tmp_path / name}: {message}"):
            opened(tmp_path / name)


def test_a_truncated_image(disk: Path, opened: Any) -> None:
    """The kernel's own words are in the message."""
    os.truncate(disk, 20 << 20)
    with pytest.raises(ImageError, match=r"disk.img: cannot mount ext4: .*bad geometry"):
        opened(disk)


def test_two_writers(disk: Path, opened: Any) -> None:
    """The second is refused; two readers are fine."""
    writer = opened(disk)
    with pytest.raises(OSError, match="in use: another process has the image open") as raised:
        opened(disk)
    assert raised.value.filename == str(disk)
    writer.close()
    opened(disk, read_only=True)
    assert opened(disk, read_only=True).exists("/lost+found")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_file_that_may_not_be_written_to(disk: Path) -> None:
    """It can be read; to write to it is an error, and nothing is tried behind the user's back."""
    disk.chmod(0o444)
    for directory in list(disk.parents)[:-2]:
        directory.chmod(directory.stat().st_mode | 0o755)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            # The interpreter may be in a directory of root's own, so no process is started.
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            with pytest.raises(PermissionError, match=str(disk)):
                rumpel.Disk(disk)
            rumpel.Disk(disk, read_only=True)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_nothing_is_written_to_what_is_read(disk: Path, opened: Any) -> None:
    before = disk.read_bytes()
    image = opened(disk, read_only=True)
    with pytest.raises(OSError, match="Read-only file system"):
        image.mkdir("/new")
    image.close()
    assert disk.read_bytes() == before


def test_a_journal_is_replayed_in_memory(disk: Path, opened: Any) -> None:
    """What is in the journal of a disk that lost its power is seen, and stays in the journal."""
    with rumpel.boot(disks=[disk], version=VERSION) as k:
        k.mount("/dev/vda", "/mnt", "ext4")
        with k.open("/mnt/fsynced", "w") as file:
            file.write("still here")
            file.flush()
            k.os.fsync(file.fileno())
        k.close()
    before = disk.read_bytes()
    with opened(disk, read_only=True) as image:
        assert image.cat("/fsynced") == b"still here"
    assert disk.read_bytes() == before
    with opened(disk) as image:
        assert image.cat("/fsynced") == b"still here"
    check(disk)


def test_bytes(disk: Path, opened: Any) -> None:
    """A copy of them is the image."""
    data = disk.read_bytes()
    with opened(data) as image:
        image.pipe("/file", b"hello")
        assert image.cat("/file") == b"hello"
    with pytest.raises(ImageError, match=r"^<bytes>: is empty$"):
        opened(b"")


@pytest.mark.parametrize("sandbox", [True, False])
def test_overlays(disk: Path, opened: Any, tmp_path: Path, sandbox: bool) -> None:
    """The image stays as it is; the file has what was written."""
    before = disk.read_bytes()
    over = tmp_path / "over.qcow2"
    with opened(disk, overlay=over, sandbox=sandbox) as image:
        image.pipe("/file", b"hello")
    with opened(disk, overlay=True, sandbox=sandbox) as image:
        image.pipe("/other", b"hello")
    with opened(disk, overlay=over, sandbox=sandbox) as image:
        assert image.cat("/file") == b"hello"
        assert not image.exists("/other")
    assert disk.read_bytes() == before


@pytest.mark.parametrize("sandbox", [True, False])
def test_snapshots(disk: Path, opened: Any, sandbox: bool) -> None:
    """Rolling back forgets what came after; earlier snapshots can be gone back to again."""
    before = disk.read_bytes()
    image = opened(disk, overlay=True, sandbox=sandbox)
    image.pipe("/0", b"")
    first = image.snapshot()
    image.pipe("/1", b"")
    image.snapshot()
    image.pipe("/2", b"")
    image.rollback()
    assert image.glob("/[0-9]") == ["/0", "/1"]
    image.pipe("/3", b"")
    image.rollback()
    assert image.glob("/[0-9]") == ["/0", "/1"]
    for _ in range(2):
        image.rollback(first)
        assert image.glob("/[0-9]") == ["/0"]
        image.pipe("/4", b"")
    with pytest.raises(ValueError, match="no such snapshot"):
        image.rollback(2)
    image.close()
    assert disk.read_bytes() == before


def test_coroutines(disk: Path, opened: Any) -> None:
    """Asynchronous methods of fsspec work, also side by side, and the loop goes on meanwhile."""

    async def main() -> None:
        image = whole.aio
        await asyncio.gather(*(image._pipe_file(f"/{n}", b"x" * n) for n in range(1, 20)))
        found = await asyncio.gather(*(image._cat_file(f"/{n}") for n in range(1, 20)))
        assert [len(each) for each in found] == list(range(1, 20))
        await image._rm(["/1", "/2"])
        assert not await image._exists("/1")
        assert len(await image._find("/")) == 17

    with opened(disk) as whole:
        asyncio.run(main())
    check(disk)


@pytest.mark.parametrize("overlay", [None, True])
@pytest.mark.parametrize("sandbox", [True, False])
def test_snapshots_that_cannot_be(
    disk: Path, opened: Any, overlay: bool | None, sandbox: bool
) -> None:
    """Of a plain image, or with a file open: an error, and writes go to the image as before."""
    image = opened(disk, overlay=overlay, sandbox=sandbox)
    message = "Device or resource busy" if overlay else "snapshots need an overlay"
    with image.volume.kernel.open("/held", "w") as file:
        with pytest.raises(OSError, match=message):
            image.snapshot()
        file.write("held")
        image.pipe("/after", b"here")
        assert image.ls("/", detail=False) == ["/after", "/held", "/lost+found"]
        with pytest.raises(ValueError, match="no such snapshot"):
            image.rollback()
    if overlay:
        image.snapshot()
        image.pipe("/after", b"changed")
        image.rollback()
        assert (image.cat("/after"), image.cat("/held")) == (b"here", b"held")
    image.close()
    if not overlay:
        assert opened(disk, read_only=True).cat("/after") == b"here"
    check(disk)


def test_copies_between_partitions(two_partitions: Path, opened: Any, tmp_path: Path) -> None:
    """Links lead where they lead in their own file system, not in the kernel's own root."""
    disk = tmp_path / "two.img"
    shutil.copyfile(two_partitions, disk)
    with opened(disk, 1) as image:
        image.makedirs("/etc")
        image.pipe({"/file": b"of the first", "/etc/hosts": b"hosts"})
    with opened(disk, 2) as image:
        k = image.volume.kernel
        image.makedirs("/root/deep")
        k.os.symlink("/root", "/absolute")
        k.os.symlink("../../..", "/root/deep/up")
        copy = image.volume.copy_from
        copy("1", "/file", "/absolute/one")
        copy("1", "/file", "/absolute")
        copy("1", "file", "two")
        copy("1", "/etc/.", "/root/deep/up/three")
        copy("1", "/etc/../../file", "/absolute/../four")
        assert sorted(image.find("/")) == [
            "/absolute", "/four", "/root/deep/up", "/root/file", "/root/one", "/three/hosts",
            "/two",
        ]  # fmt: skip
        assert image.cat("/root/one") == image.cat("/two") == b"of the first"


@pytest.mark.parametrize("sandbox", [True, False])
def test_open_files(disk: Path, opened: Any, sandbox: bool) -> None:
    """Files that somebody has left open do not keep an image from being clean."""
    image = opened(disk, sandbox=sandbox)
    os_ = image.volume.kernel.os
    os_.open("/lost+found", os_.O_RDONLY | os_.O_DIRECTORY)
    fd = os_.open("/file", os_.O_WRONLY | os_.O_CREAT)
    os_.write(fd, b"written")
    os_.write(os_.open("/gone", os_.O_WRONLY | os_.O_CREAT), b"written")
    os_.unlink("/gone")
    image.close()
    check(disk)
    assert opened(disk, read_only=True).cat("/file") == b"written"


def test_images_that_nobody_closes(disk: Path) -> None:
    """They are unmounted at the end of the interpreter, however it ends."""
    for ending in ("", "raise SystemExit(3)", "1/0"):
        code = (
            "from rumpel.images import open_image\n"
            f"image = open_image({str(disk)!r}, version={VERSION!r})\n"
            f"image.pipe('/file', b'x' * 100_000)\n{ending}"
        )
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        check(disk)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals(disk: Path, number: signal.Signals) -> None:
    """Whatever ends the program, the kernel's process unmounts: nothing is to be replayed."""
    code = (
        "from rumpel.images import open_image\n"
        f"image = open_image({str(disk)!r}, version={VERSION!r})\n"
        "n = 0\n"
        "while True:\n"
        "    image.pipe(f'/{n}', b'x' * 10_000)\n"
        "    n += 1\n"
        "    if n == 20: print('go', flush=True)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout
        assert program.stdout.readline() == b"go\n"
        program.send_signal(number)
        program.wait()
    # The kernel's process is nobody's child any more; it has the image locked until it ends.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            rumpel.Disk(disk)
        except OSError:
            time.sleep(0.02)
        else:
            break
    check(disk)


def test_a_full_disk(disk: Path, opened: Any, tmp_path: Path) -> None:
    """What does not fit is an error, what fitted is there, and the file system is clean."""
    (tmp_path / "tree").mkdir()
    for number in range(10):
        (tmp_path / "tree" / str(number)).write_bytes(os.urandom(10 << 20))
    with opened(disk) as image:
        image.pipe("/before", b"here")
        with pytest.raises(shutil.Error, match="No space left on device"):
            image.copy_in(tmp_path / "tree", "/tree")
        kept = image.ls("/tree", detail=False)
        assert len(kept) < 10
        for name in kept:
            original = tmp_path / "tree" / Path(name).name
            assert image.cat(name) == original.read_bytes()
        assert image.cat("/before") == b"here"
    check(disk)


def test_without_fsspec() -> None:
    """Who has installed rumpel alone is told what is missing."""
    code = "import sys; sys.modules['fsspec'] = None; from rumpel.images import open_image"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith("to install: pip install 'rumpel[images]'\n")


def test_a_file_keeps_its_image(disk: Path) -> None:
    """Who has nothing but the file reads it, as pandas does; and what was written is there."""
    file = fsspec.open(f"rumpel://file::{disk}", "wb").open()
    gc.collect()
    file.write(b"some\ntext\n")
    file.close()
    # One that is closed has it no more.
    other = fsspec.open(f"rumpel://file::{disk}", "rb").open()
    gc.collect()
    assert (other.size, other.read()) == (10, b"some\ntext\n")
    del other
    gc.collect()
    check(disk)
    with fsspec.open(f"rumpel://file::{disk}", "rb") as file:  # pyright: ignore
        image: Any = file.raw.keeps  # pyright: ignore
        assert image.tail("/file", 3) == image.cat_file("/file", start=-3) == b"xt\n"


def test_transactions(disk: Path, opened: Any) -> None:
    """Of fsspec: all files are there at its end, or none if it fails."""
    with opened(disk) as image:
        image.pipe("/old", b"old")
        with image.transaction:
            for name, mode in (("/old", "wb"), ("/new", "xb"), ("/more", "ab")):
                with image.open(name, mode) as file:
                    file.write(b"written")
            assert image.cat("/old") == b"old"
            assert not image.exists("/new")
        names = ["/lost+found", "/more", "/new", "/old"]
        assert image.ls("/", detail=False) == names
        assert {image.cat(name) for name in names[1:]} == {b"written"}
        with image.transaction, image.open("/more", "ab") as file:
            file.write(b" on")
        with pytest.raises(ZeroDivisionError), image.transaction:
            image.open("/other", "wb").write(b"x" * 1_000_000)
            raise ZeroDivisionError
        with pytest.raises(FileExistsError), image.transaction:
            image.open("/new", "xb")
        assert image.ls("/", detail=False) == names
        assert image.cat("/more") == b"written on"
    check(disk)


def test_as_json(disk: Path, opened: Any) -> None:
    """What fsspec makes another one of."""
    with opened(disk, read_only=True) as image:
        other = AbstractFileSystem.from_json(image.to_json())
        assert other.ls("/") == image.ls("/")
        other.close()


def test_what_can_be_no_image(opened: Any) -> None:
    with pytest.raises(TypeError, match="an image is a path, bytes or a file, not int"):
        opened(5)
    with pytest.raises(ValueError, match="no image is named"):
        opened([])


def test_text(opened: Any, tmp_path: Path) -> None:
    """It is too short for some drivers, and none of them has the last word."""
    path = tmp_path / "text"
    path.write_text("root:x:0:0\n" * 150)
    with pytest.raises(ImageError, match=r"text: no file system that Linux [\d.]+ knows$"):
        opened(path)
