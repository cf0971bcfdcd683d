# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` of other formats."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.images.server import serving
from tests.images.tools import ENV, check

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def qemu_img(*args: object) -> None:
    subprocess.run(["qemu-img", *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def test_info(run: Run, disk: Path) -> None:
    """Format, size, what is below, and features as the file system's own program calls them."""
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "disk.img", "over.qcow2")
    (told,) = json.loads(run("info", "--json", "over.qcow2").out)
    assert (told["format"], told["backing"], told["size"]) == ("qcow2", "disk.img", 32 << 20)
    dump = subprocess.run(["dumpe2fs", "-h", "disk.img"], env=ENV, capture_output=True, text=True)
    (line,) = (line for line in dump.stdout.splitlines() if line.startswith("Filesystem features"))
    assert told["devices"][0]["features"].split() == line.split(":")[1].split()
    first = run("info", "over.qcow2").lines[0]
    assert first.startswith("over.qcow2: qcow2, 32M, ")
    assert first.endswith("over disk.img, no partition table")


def test_commit(run: Run, disk: Path) -> None:
    """An overlay over a qcow2 goes into it."""
    qemu_img("convert", "-O", "qcow2", "disk.img", "disk.qcow2")
    run("mkdir", "--overlay", "over", "disk.qcow2:/new")
    assert "new" not in run("ls", "disk.qcow2:").lines
    run("commit", "disk.qcow2", "over")
    assert "new" in run("ls", "disk.qcow2:").lines


def test_mistakes(run: Run, disk: Path) -> None:
    """One line each, which says what may be done."""
    Path("elsewhere").mkdir()
    disk.rename("elsewhere/disk.img")
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "elsewhere/disk.img", "over.qcow2")
    refused = run("ls", "over.qcow2:", status=1)
    assert "is in another directory: allow it (--backing" in refused.error
    assert run("ls", "--backing", "over.qcow2:").lines == ["lost+found"]
    wrong = run("ls", "--format", "vmdk", "elsewhere/disk.img:", status=1)
    assert len(wrong.error.splitlines()) == 1
    assert "is no image of format vmdk, but raw" in wrong.error


def _damage(disk: Path) -> None:
    subprocess.run(["debugfs", "-w", "-R", "clri <11>", disk], env=ENV, check=True, stderr=-3)


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vhdx"])
def test_check_and_repair(run: Run, disk: Path, format: str) -> None:
    """A copy of what is in it is checked; what was repaired is written back."""
    _damage(disk)
    qemu_img("convert", "-O", format, "disk.img", "disk")
    names = sorted(path.name for path in Path().iterdir())
    assert "disk: ext4: NOT CLEAN" in run("check", "disk", status=1).lines
    assert "disk: ext4: clean" in run("check", "--repair", "disk").lines
    assert run("check", "disk").lines == ["disk: ext4: clean"]
    assert sorted(path.name for path in Path().iterdir()) == names
    qemu_img("convert", "-O", "raw", "disk", "raw.img")
    check(Path("raw.img"))


def test_repair_into_an_overlay(run: Run, disk: Path) -> None:
    """The image stays as it is, also one that cannot be written to, until the overlay is put in."""
    _damage(disk)
    before = disk.read_bytes()
    Path("disk.gz").write_bytes(gzip.compress(before))
    refused = run("check", "--repair", "disk.gz", status=1).error
    assert refused == "rumpel: disk.gz: cannot be written to: repair it with an --overlay\n"
    for image in ("disk.img", "disk.gz"):
        run("check", "--repair", "--overlay", f"{image}.over", image)
        assert run("check", "--overlay", f"{image}.over", image).lines == [f"{image}: ext4: clean"]
        assert "NOT CLEAN" in run("check", image, status=1).out
    assert disk.read_bytes() == before
    run("commit", "disk.img", "disk.img.over")
    assert run("check", "disk.img").lines == ["disk.img: ext4: clean"]


def test_what_cannot_be_written_back(
    run: Run, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept, and said where."""
    _damage(disk)
    qemu_img("convert", "-O", "qcow2", "disk.img", "disk.qcow2")

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("rumpel.images.session.Session.replace", fails)
    said = run("check", "--repair", "disk.qcow2", status=1).error
    assert "disk.qcow2: Input/output error; what was repaired is kept in " in said
    check(Path(said.split()[-1]))


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vhd", "vhdx", "vdi"])
def test_create(run: Run, tree: Path, format: str) -> None:
    run("create", "--format", format, "new", "32M", "-p", "rest:ext4:root", "--from", tree)
    (told,) = json.loads(run("info", "--json", "new").out)
    assert (told["format"], told["size"]) == (
        format.replace("vhd", "vpc", format == "vhd"),
        32 << 20,
    )
    assert run("cat", "new:LABEL=root:/etc/hosts").out == "127.0.0.1 localhost\n"
    assert run("check", "new").lines == ["new:1: ext4: clean"]
    assert "known are raw, qcow2" in run("create", "--format", "gz", "x", "1M", status=2).error
    assert not Path("x").exists()


def test_a_url(run: Run, disk: Path) -> None:
    with serving() as server:
        server.files["/disk.img"] = disk.read_bytes()
        assert run("ls", f"{server.url}/disk.img:/").lines == ["lost+found"]
        missing = run("ls", f"{server.url}/none:/", status=1)
        assert missing.error == f"rumpel: {server.url}/none: no such image\n"


@pytest.mark.parametrize("format", ["pax", "gnu", "oldgnu"])
def test_holes_of_archives(run: Run, disk: Path, tree: Path, format: str) -> None:
    """A file that would not fit is there, with its holes, and what is between them."""
    with (tree / "sparse").open("wb") as file:
        for number in range(30):  # more than fit into the first header
            file.seek(number * (10 << 20))
            file.write(bytes([number + 1]) * 5000)
        file.truncate(400 << 20)
    subprocess.run(["tar", "-S", f"--format={format}", "-cf", "a.tar", "-C", tree, "."], check=True)
    run("untar", "a.tar", "disk.img:/")
    assert run("diff", "--ignore", "times", "--exclude", "lost+found", tree, "disk.img:/").out == ""
    (told,) = json.loads(run("stat", "--json", "disk.img:/sparse").out)
    assert (told["size"], told["blocks"] < 1000) == (400 << 20, True)
    check(disk)
    run("tar", "disk.img:/sparse", "plain.tar")
    assert Path("plain.tar").stat().st_size > 400 << 20
    run("untar", "plain.tar", "disk.img:/again")
    run("diff", "--ignore", "times", "disk.img:/sparse", "disk.img:/again/sparse")
