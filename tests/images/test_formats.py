# SPDX-License-Identifier: GPL-2.0-only
"""qcow2, VMDK, VHD, VHDX and VDI, and which other files they may name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rumpel.errors import DeviceError
from rumpel.images import ImageError
from rumpel.images.commit import commit
from rumpel.images.formats import detect, look
from rumpel.sandbox.launch import command
from tests.images.tools import check

pytestmark = [pytest.mark.kernel, pytest.mark.once]

QEMU = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}


def qemu_img(*args: Any) -> str:
    """Run qemu-img."""
    command = ["qemu-img", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def convert(disk: Path, format: str, *options: str) -> Path:
    """The same image in another format."""
    to = disk.with_suffix(f".{format}")
    qemu_img("convert", "-O", QEMU[format], *options, disk, to)
    return to


def check_inside(image: Path, format: str) -> None:
    """Fail unless QEMU and e2fsck find it clean."""
    if format in ("qcow2", "vhdx", "vdi"):
        qemu_img("check", "-q", "-f", QEMU[format], image)
    raw = image.with_suffix(".check")
    qemu_img("convert", "-f", QEMU[format], "-O", "raw", image, raw)
    check(raw)
    raw.unlink()


@pytest.mark.parametrize("format", QEMU)
def test_written_and_read(disk: Path, opened: Any, format: str) -> None:
    """What is written is there for the next one and for QEMU; its format is found by content."""
    image = convert(disk, format)
    image = image.rename(image.with_suffix(".img2"))
    with opened(image) as img:
        (img / "file").write_bytes(b"content" * 10_000)
    check_inside(image, format)
    with opened(image, read_only=True) as img:
        assert (img / "file").read_bytes() == b"content" * 10_000
        with pytest.raises(OSError, match="Read-only file system"):
            (img / "more").touch()


def test_a_fixed_vhd(disk: Path, opened: Any) -> None:
    """All that is not the disk's is at its end, which is found."""
    image = convert(disk, "vhd", "-o", "subformat=fixed,force_size=on")
    with opened(image) as img:
        (img / "file").write_text("fixed")
        assert img.volume.devices[0].size == disk.stat().st_size
    check_inside(image, "vhd")


def test_without_a_sandbox(disk: Path, opened: Any) -> None:
    image = convert(disk, "qcow2")
    with opened(image, sandbox=False) as img:
        (img / "file").write_text("here")
    check_inside(image, "qcow2")


def test_overlays_and_snapshots(disk: Path, opened: Any, tmp_path: Path) -> None:
    """What is written goes elsewhere, is there again, and ends in the image by commit."""
    image, file = convert(disk, "qcow2"), tmp_path / "changes"
    before = image.read_bytes()
    with opened(image, overlay=True) as img:
        (img / "file").write_text("one")
        one = img.snapshot()
        (img / "file").write_text("two")
        img.rollback(one)
        assert (img / "file").read_text() == "one"
    with opened(image, overlay=file) as img:
        (img / "file").write_text("over")
    assert image.read_bytes() == before
    told = qemu_img("info", file)
    assert f"backing file: {image}" in told
    assert "backing file format: qcow2" in told
    with opened(image, overlay=file, read_only=True) as img:
        assert (img / "file").read_text() == "over"
    commit(str(image), str(file))
    check_inside(image, "qcow2")
    with opened(image, overlay=file) as img:
        assert (img / "file").read_text() == "over"
        (img / "file").write_text("again")
    with opened(image) as img:
        assert (img / "file").read_text() == "over"
        (img / "other").touch()
    with pytest.raises(DeviceError, match="the base has changed"):
        opened(image, overlay=file, read_only=True)


def test_locks(disk: Path, opened: Any) -> None:
    """One writer or many readers, of the files below as well."""
    base = convert(disk, "qcow2")
    image = base.with_name("over.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.name, image)
    with opened(image):
        for other in (image, base):
            with pytest.raises(OSError, match="in use: another process has the image open"):
                opened(other)
        with opened(base, read_only=True):
            pass
    with opened(image, read_only=True), opened(image, read_only=True):
        pass
    with opened(base), pytest.raises(OSError, match="in use"):
        opened(image)


def test_a_base_in_the_same_directory(disk: Path, opened: Any) -> None:
    """It is read, and stays as it is."""
    with opened(disk) as img:
        (img / "below").write_text("base")
    before = disk.read_bytes()
    image = disk.with_suffix(".qcow2")
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk.name, image)
    with opened(image) as img:
        assert (img / "below").read_text() == "base"
        (img / "below").write_text("above")
    with opened(image, read_only=True) as img:
        assert (img / "below").read_text() == "above"
    assert disk.read_bytes() == before
    vmdk = convert(disk, "vmdk")
    over = disk.with_name("over.vmdk")
    qemu_img("create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", vmdk, over)
    with opened(over) as img:
        (img / "new").write_text("above")
        assert (img / "below").read_text() == "base"


def test_other_files_are_not_opened(disk: Path, opened: Any, tmp_path: Path) -> None:
    """By default, whatever the name, and wherever a link leads."""
    elsewhere = tmp_path / "private" / "base.img"
    elsewhere.parent.mkdir()
    shutil.copy(disk, elsewhere)
    link = tmp_path / "link.img"
    link.symlink_to(elsewhere)
    image = tmp_path / "image.qcow2"
    for name in (elsewhere, "../../../../../../etc/passwd", link.name, "/dev/../etc/passwd"):
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, image, "64M")
        refused = r"image\.qcow2: lies over .*(there is no such file|is in another directory)"
        with pytest.raises(ImageError, match=refused):
            opened(image)
    for name in ("nbd://127.0.0.1/x", 'json:{"driver":"null-co"}', "fat:/etc", "none.img"):
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, image, "64M")
        with pytest.raises(ImageError, match="there is no such file"):
            opened(image, backing=True)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", elsewhere, image)
    with opened(image, backing=True) as img:
        assert img.exists("/lost+found")


def test_a_base_is_what_its_image_says(disk: Path, opened: Any, tmp_path: Path) -> None:
    """A raw base whose content is a header that names others is not followed."""
    secret = tmp_path / "private"
    secret.mkdir()
    shutil.copy(disk, secret / "base.img")
    inner = tmp_path / "inner"
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret / "base.img", inner)
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", inner.name, image, "64M")
    with pytest.raises(ImageError, match="no file system"):
        opened(image)
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", inner.name, image, "64M")
    with pytest.raises(ImageError, match="which is in another directory"):
        opened(image)
    # The same of an image that is opened as raw.
    with pytest.raises(ImageError, match="no file system"):
        opened(inner, format="raw")


def test_a_chain_without_end(tmp_path: Path, opened: Any) -> None:
    image = tmp_path / "loop.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", image.name, image, "64M")
    with pytest.raises(ImageError, match="lies over itself"):
        opened(image, read_only=True)


def test_a_vmdk_of_several_files(disk: Path, opened: Any, tmp_path: Path) -> None:
    """They have to be beside it, and plain lines of its descriptor."""
    image = convert(disk, "vmdk", "-o", "subformat=monolithicFlat")
    assert image.with_name("disk-flat.vmdk").exists()
    with opened(image) as img:
        (img / "file").write_text("flat")
    check(image.with_name("disk-flat.vmdk"))
    text = image.read_text()
    image.write_text(text.replace('"disk-flat.vmdk"', '"/etc/passwd"'))
    with pytest.raises(ImageError, match="lies over '/etc/passwd', which is in another directory"):
        opened(image)
    image.write_text(text.replace('FLAT "disk-flat.vmdk"', 'VMFSSPARSE"/etc/passwd"'))
    with pytest.raises(ImageError, match="a line in its descriptor that says nothing"):
        opened(image)


def test_what_cannot_be_opened(disk: Path, opened: Any, tmp_path: Path) -> None:
    """Each gets a message that names the image and says why."""
    image = tmp_path / "bad.qcow2"
    image.write_bytes(b"QFI\xfb\0\0\0\x03" + b"\xff" * 24 + b"\0" * 600)
    with pytest.raises(ImageError, match=r"bad\.qcow2: damaged"):
        opened(image)
    image.write_bytes(b"QFI\xfb\0\0\0\x09" + b"\0" * 600)
    with pytest.raises(ImageError, match=r"bad\.qcow2: qemu-nbd: .*Unsupported qcow2 version"):
        opened(image)
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", image, "64M")
    with pytest.raises(ImageError, match="keeps its data in another file"):
        opened(image)
    with pytest.raises(ImageError, match="is no image of format vmdk, but raw"):
        opened(disk, format="vmdk")
    with pytest.raises(ImageError, match="'floppy' is no format of images"):
        opened(disk, format="floppy")


def test_without_qemu(disk: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = convert(disk, "qcow2")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ImageError, match="qcow2 needs qemu-nbd: apt install qemu-utils"):
        opened(image)


def server_of(image: Path) -> int:
    """The process that serves an image."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"/usr/bin/qemu-nbd\0") and os.fsencode(image) in line:
            return int(directory.name)
    raise AssertionError("there is none")


def test_the_server_can_do_nothing_else(disk: Path, opened: Any) -> None:
    """It parses what a stranger has made: other files and all connections are refused."""
    image = convert(disk, "qcow2")
    with opened(image):
        status = Path(f"/proc/{server_of(image)}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    script = 'for file; do if (exec < "$file"); then echo yes; else echo no; fi; done'
    args = ["/bin/sh", "-c", script, "sh", str(image), "/etc/passwd", str(disk), "/proc/1/maps"]
    ran = subprocess.run(command(args, [(str(image), False)]), capture_output=True, text=True)
    assert ran.stdout.split() == ["yes", "no", "no", "no"], ran


def test_the_server_ends(disk: Path, opened: Any) -> None:
    """With the image, and what its end says is not lost."""
    image = convert(disk, "qcow2")
    img = opened(image)
    pid = server_of(image)
    img.close()
    assert not Path(f"/proc/{pid}").exists()
    img = opened(image)
    os.kill(server_of(image), signal.SIGKILL)
    with pytest.raises(OSError, match="Input/output error"):
        (img / "file").write_bytes(b"lost" * 1_000_000)
        img.volume.kernel.os.sync()
        img.volume.kernel.syscall("syncfs", img.volume.kernel.os.open("/", os.O_RDONLY))
    with pytest.raises((OSError, ImageError)):
        img.close()


def test_headers() -> None:
    """A header that lies about lengths is no more than a wrong name."""
    for data in (b"QFI\xfb", b"KDMV" + b"\xff" * 60, b"BZh91AY&SY", b"\x50\x2a\x4d\x18\xff"):
        assert detect(data) in ("qcow2", "vmdk", "bzip2", "raw")
    head = bytearray(b"QFI\xfb\0\0\0\x03" + bytes(2000))
    head[8:20] = (1 << 60).to_bytes(8, "big") + (5).to_bytes(4, "big")
    head[100:104] = b"\xff\xff\xff\xff"
    told = look("x", lambda at, size: bytes(head[at : at + size]), len(head))
    assert (told.format, told.backing) == ("qcow2", "")
