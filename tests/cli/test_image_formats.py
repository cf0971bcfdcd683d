# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` of other formats."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.images.server import serving
from tests.images.tools import ENV

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


def test_what_the_programs_of_the_host_do(run: Run, disk: Path) -> None:
    """They change raw images, and leave others alone; of those a copy is checked."""
    qemu_img("convert", "-O", "qcow2", "disk.img", "disk.qcow2")
    assert run("check", "disk.qcow2").lines == ["disk.qcow2: ext4: clean"]
    before = Path("disk.qcow2").read_bytes()
    for command in (("check", "--repair", "disk.qcow2"), ("resize", "disk.qcow2", "64M")):
        refused = run(*command, status=1)
        assert "disk.qcow2: is qcow2, and this works on raw images only" in refused.error
    assert Path("disk.qcow2").read_bytes() == before


def test_a_url(run: Run, disk: Path) -> None:
    with serving() as server:
        server.files["/disk.img"] = disk.read_bytes()
        assert run("ls", f"{server.url}/disk.img:/").lines == ["lost+found"]
        missing = run("ls", f"{server.url}/none:/", status=1)
        assert missing.error == f"rumpel: {server.url}/none: no such image\n"
