# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image``: what the commands do, print and return."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

import rumpel
from rumpel.images import open_image
from tests.cli.conftest import Run
from tests.conftest import VERSION
from tests.images.tools import check

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_looking(run: Run, disk: Path, tree: Path) -> None:
    """ls, tree, find, cat, stat, df and du say what is there, to people and to programs."""
    run("cp", "--owner", "7:8", f"{tree}/.", "disk.img:")
    assert run("ls", disk).lines == ["etc", "lost+found", "su"]
    assert ".hidden" in run("ls", "-a", disk).lines
    long = run("ls", "-l", "disk.img:/etc").lines
    assert long[1].split()[:5] == ["-rw-r--r--", "1", "7", "8", "20"]
    assert long[2].endswith("link -> hosts")
    assert run("ls", "-d", "disk.img:/etc", "disk.img:/su").lines[-1] == "/su"
    assert run("ls", "-R", disk).lines[:4] == ["/:", "etc", "lost+found", "su"]
    (told,) = json.loads(run("ls", "--json", "disk.img:/etc/hosts").out)
    assert (told["path"], told["size"], told["uid"]) == ("/etc/hosts", 20, 7)
    assert "├── hosts" in run("tree", "disk.img:/etc").lines
    assert run("cat", "disk.img:/etc/h*", "disk.img:/etc/link").raw == b"127.0.0.1 localhost\n" * 2
    assert run("find", disk, "--type", "f", "--perm", "-4000").lines == ["/su"]
    assert run("find", disk, "--size", "+4k").lines[-1] == "/lost+found"
    assert run("find", disk, "--name", "p*", "--print0").raw == b"/etc/passwd\0"
    assert "Access: (4755/-rwsr-xr-x)  Uid: 7  Gid: 8" in run("stat", "disk.img:/su").lines
    (told,) = json.loads(run("df", "--json", disk).out)
    assert (told["type"], told["size"] > 20 << 20) == ("ext4", True)
    assert run("df", "-h", disk).lines[1].split()[1] == "ext4"
    sizes = {row["path"]: row["bytes"] for row in json.loads(run("du", "--json", disk).out)}
    assert sizes["/etc"] == 4 * 1024
    assert sizes["/"] > sizes["/etc"] + sizes["/lost+found"]
    (told,) = json.loads(run("info", "--json", disk).out)
    assert [device["label"] for device in told["devices"]] == ["TEST"]


def test_errors(run: Run, disk: Path) -> None:
    """One line each, status 1, and what can be done is done; mistakes of usage are 2."""
    result = run("cat", "disk.img:/none", "disk.img:/lost+found", "gone.img:/x", status=1)
    assert result.error.splitlines() == [
        "rumpel: disk.img:/none: No such file or directory",
        "rumpel: disk.img:/lost+found: Is a directory",
        "rumpel: gone.img: no such image",
    ]
    result = run("ls", "disk.img:/none", disk, status=1)
    assert "lost+found" in result.lines
    assert run("cat", "disk.img:/n*", status=1).error.count("\n") == 1
    assert run("cp", "a", "b", status=2).error.count("\n") == 1
    assert run("rm", "--read-only", "disk.img:/x", status=2).error.count("\n") == 1
    assert "root of a file system" in run("rm", "-r", "disk.img:/", status=1).error
    assert "Is a directory" in run("rm", "disk.img:/lost+found", status=1).error
    assert "no octal mode" in run("find", disk, "--perm", "u+x", status=2).error
    held = rumpel.Disk(disk)
    assert "in use: another process" in run("mkdir", "disk.img:/x", status=1).error
    del held
    check(disk)


def test_changing(run: Run, disk: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mkdir, mv, ln, chmod, chown, edit, rm; the image is clean after each."""
    run("cp", f"{tree}/.", "disk.img:/")
    run("mkdir", "-p", "-m", "750", "disk.img:/a/b", "disk.img:/etc")
    run("mv", "disk.img:/etc/hosts", "disk.img:/su", "disk.img:/a")
    run("mv", "disk.img:/a/hosts", "disk.img:/a/names")
    failed = run("mv", "disk.img:/a/names", "disk.img:/none/x", status=1).error
    assert failed == "rumpel: disk.img:/a/names: to /none/x: No such file or directory\n"
    run("ln", "-s", "../a/names", "disk.img:/etc/hosts")
    run("ln", "/a/names", "disk.img:/a/again")
    run("chmod", "u=rw,go-r", "disk.img:/a/names")
    run("chown", "alice:users", "disk.img:/a/names")
    (told,) = json.loads(run("stat", "-L", "--json", "disk.img:/etc/hosts").out)
    assert (told["mode"], told["uid"], told["gid"], told["links"]) == ("0o100600", 1000, 100, 2)
    assert "no user 'bob'" in run("chown", "bob", "disk.img:/a", status=2).error
    monkeypatch.setenv("EDITOR", "sed -i s/local/global/")
    run("edit", "disk.img:/a/names")
    assert run("cat", "disk.img:/etc/hosts").out == "127.0.0.1 globalhost\n"
    (told,) = json.loads(run("stat", "--json", "disk.img:/a/names").out)
    assert (told["mode"], told["uid"]) == ("0o100600", 1000)
    monkeypatch.setenv("EDITOR", "false")
    assert "nothing is changed" in run("edit", "disk.img:/a/names", status=1).error
    monkeypatch.setenv("EDITOR", "sh -c 'head -c 100000000 /dev/zero >\"$0\"'")
    error = run("edit", "disk.img:/a/names", status=1).error
    assert "No space left on device" in error
    (kept,) = re.findall("is kept in (.*)", error)
    assert Path(kept).stat().st_size == 100_000_000
    shutil.rmtree(Path(kept).parent)
    assert run("cat", "disk.img:/a/names").out == "127.0.0.1 globalhost\n"
    run("chmod", "-R", "700", "disk.img:/a")
    run("rm", "-r", "disk.img:/a", "disk.img:/etc")
    assert run("ls", disk).lines == ["lost+found"]
    assert "bytes trimmed" in run("trim", disk).out
    check(disk)


def test_copies_between(run: Run, disk: Path, tree: Path, tmp_path: Path) -> None:
    """Into, within, between two images and two partitions, and out; diff finds no difference."""
    run("create", "two.img", "64M", "-p", "16M:vfat:EFI", "-p", "rest:ext4:root")
    told = json.loads(run("df", "--json", "two.img").out)
    assert [(row["image"], row["type"]) for row in told] == [
        ("two.img:1", "vfat"),
        ("two.img:2", "ext4"),
    ]
    trimmed = [line.split()[0] for line in run("trim", "two.img").lines]
    assert trimmed == ["two.img:1:", "two.img:2:"]
    told = json.loads(run("info", "--json", "two.img").out)[0]
    assert told["table"] == "gpt"
    assert [d["part_label"] for d in told["devices"]] == ["", "EFI", "root"]
    run("cp", tree, "disk.img:/")
    run("cp", "disk.img:/tree", "disk.img:/copy")
    run("cp", "disk.img:/copy", "two.img:LABEL=root:/copy")
    run("cp", "two.img:LABEL=root:/copy/etc/passwd", "two.img:1:/")
    run("cp", "two.img:2:/copy/etc/*o*", "two.img:1:/")
    assert run("ls", "two.img:1:").lines == ["group", "hosts", "passwd"]
    assert "No such file" in run("cp", "two.img:2:/none*", "two.img:1:/", status=1).error
    run("cp", "two.img:1:/passwd", "two.img:2:/copy/su", "out", status=1)
    (tmp_path / "out").mkdir()
    run("cp", "two.img:1:/passwd", "two.img:2:/copy", "out")
    assert (tmp_path / "out" / "passwd").read_text().startswith("root")
    assert run("diff", "out/copy", tree).out == ""
    assert run("diff", "two.img:2:/copy", "disk.img:/copy").out == ""
    (tree / "etc" / "hosts").write_text("else\n")
    (tree / "new").touch()
    (tree / "su").chmod(0o700)
    assert run("diff", "--ignore", "times", "disk.img:/copy", tree, status=1).lines == [
        "etc/hosts: content",
        f"new: only in {tree}",
        "su: mode",
    ]
    assert (
        "cannot copy a directory into itself"
        in run("cp", "disk.img:/copy", "disk.img:/copy/etc", status=1).error
    )
    for image in ("disk.img", "two.img"):
        assert all(line.endswith("clean") for line in run("check", image).lines)
    run("cp", "--exclude", "etc", "--exclude", "*den", tree, "disk.img:/less")
    assert run("ls", "-a", "disk.img:/less").lines == ["new", "su"]


def test_archives(run: Run, disk: Path, tree: Path, tmp_path: Path) -> None:
    """To and from what tar reads and writes, with holes, links and attributes."""
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(600_000)
        file.write(b"data")
    os.link(tree / "su", tree / "etc" / "su")
    os.setxattr(tree / "su", "user.note", b"\xff\x00x")
    packed = subprocess.run(
        ["tar", "-c", "--xattrs", "--format=pax", "-C", tree, "."], capture_output=True, check=True
    ).stdout
    run("untar", "-", "disk.img:/tree", stdin=packed)
    assert run("diff", tree, "disk.img:/tree").out == ""
    archive = run("tar", "disk.img:/tree").raw
    (tmp_path / "back").mkdir()
    unpack = ["tar", "-x", "--xattrs", "-C", str(tmp_path / "back")]
    subprocess.run(unpack, input=archive, check=True)
    os.utime(tmp_path / "back", ns=(0, tree.stat().st_mtime_ns))
    assert run("diff", tree, "back").out == ""
    run("tar", "disk.img:/tree/etc", "etc.tar.gz", "--exclude", "p*")
    with tarfile.open("etc.tar.gz") as tar:
        assert sorted(tar.getnames()) == [".", "./group", "./hosts", "./link", "./su"]
    run("tar", "disk.img:/tree", "tree.tar.zst")
    run("untar", "-", "disk.img:/expanded", stdin=Path("tree.tar.zst").read_bytes())
    assert run("diff", tree, "disk.img:/expanded").out == ""
    subprocess.run(["zstd", "-qdc", "tree.tar.zst"], stdout=subprocess.DEVNULL, check=True)
    Path("cut.tar.zst").write_bytes(Path("tree.tar.zst").read_bytes()[:-20])
    Path("noise").write_bytes(b"noise" * 1000)
    for name in ("noise", "cut.tar.zst"):
        assert run("untar", name, "disk.img:/x", status=1).error.startswith(f"rumpel: {name}: ")
    check(disk)


def test_archives_that_lead_out(run: Run, disk: Path) -> None:
    """Names and links of an archive stay where it is unpacked."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, to in (
            ("../up", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "/etc"),
            ("link/through", tarfile.REGTYPE, ""),
            ("hard", tarfile.LNKTYPE, "link/hosts"),
            ("/absolute", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, to
            tar.addfile(member)
    run("mkdir", "disk.img:/etc")
    result = run("untar", "-", "disk.img:/here", stdin=data.getvalue(), status=1)
    assert result.error.count("\n") == 3
    assert run("find", disk, "--type", "f").lines == ["/here/absolute"]


def test_create(run: Run, tree: Path) -> None:
    """With a tree in it; nothing is left if that fails, and nothing is overwritten."""
    run("create", "new.img", "32M", "--fs", "ext4", "--label", "new", "--from", tree)
    assert run("diff", "--ignore", "times", "new.img", tree, status=1).lines == [
        "lost+found: only in new.img"
    ]
    assert "there is such a file already" in run("create", "new.img", "1M", status=1).error
    (tree / "large").write_bytes(os.urandom(2 << 20))
    run("create", "small.img", "1M", "--fs", "ext4", "--from", tree, status=1)
    assert not Path("small.img").exists()
    assert "cannot be made" in run("create", "odd.img", "1M", "--fs", "zfs", status=1).error
    assert "no room" in run("create", "odd.img", "8M", "-p", "9M:ext4", status=1).error
    assert not Path("odd.img").exists()


def test_damage(run: Run, disk: Path) -> None:
    """It is found and repaired."""
    subprocess.run(["debugfs", "-w", "-R", "clri <11>", disk], check=True, capture_output=True)
    found = run("check", "disk.img", status=1)
    assert "disk.img: ext4: NOT CLEAN" in found.lines, found.error
    run("check", "--repair", disk)
    run("check", disk)


def test_overlay(run: Run, disk: Path) -> None:
    """Changes go to the file; commit puts them into the image."""
    run("mkdir", "--overlay", "o.qcow2", "disk.img:/made")
    assert run("ls", disk).lines == ["lost+found"]
    assert run("ls", "--overlay", "o.qcow2", disk).lines == ["lost+found", "made"]
    run("commit", disk, "o.qcow2")
    assert run("ls", "--no-sandbox", disk).lines == ["lost+found", "made"]
    check(disk)


@pytest.mark.parametrize("sandbox", ["--sandbox", "--no-sandbox"])
@pytest.mark.parametrize("command", ["cat", "tar", "find"])
def test_nobody_reads(disk: Path, tree: Path, command: str, sandbox: str) -> None:
    """`| head` ends the command as SIGPIPE would, though there were an exabyte more."""
    with open_image(disk, version=VERSION) as image:
        image.copy_in(tree, "/tree")
        with image.volume.kernel.open("/huge", "wb") as file:
            file.truncate(1 << 40)
    names = [f"{disk}:/huge"] if command == "cat" else [f"{disk}:/"]
    if command == "find":
        names *= 5000  # more than a pipe takes
    rumpel = str(Path(sys.executable).with_name("rumpel"))
    with subprocess.Popen(
        [rumpel, "image", command, "--kernel", VERSION, sandbox, *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        try:
            process.wait(60)
        finally:
            process.kill()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_pipes_in_an_image(run: Run, disk: Path) -> None:
    """Nobody will write to one: it is refused, not waited for."""
    with open_image(disk, version=VERSION) as image:
        image.volume.kernel.os.mkfifo("/fifo")
    result = run("cat", "disk.img:/fifo", status=1)
    assert result.error == "rumpel: disk.img:/fifo: not a regular file\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("sandbox", ["--sandbox", "--no-sandbox"])
def test_signals(disk: Path, number: signal.Signals, sandbox: str, tmp_path: Path) -> None:
    """An interrupted copy leaves a clean file system and no half a file."""
    tree = tmp_path / "many"
    tree.mkdir()
    for name in range(3000):
        (tree / str(name)).write_bytes(b"x" * 500)
    rumpel = str(Path(sys.executable).with_name("rumpel"))
    # Who has started the tests may ignore one of them.
    program = ["env", "--default-signal=HUP", rumpel, "image", "cp", "--kernel", VERSION]
    with subprocess.Popen(
        [*program, sandbox, str(tree), f"{disk}:/"], stderr=subprocess.PIPE, text=True
    ) as process:
        before = disk.stat().st_mtime_ns
        deadline = time.monotonic() + 60
        while disk.stat().st_mtime_ns == before and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(number)
        try:
            _, error = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode:  # else it was done before
        assert process.returncode == 128 + number
        assert error.strip() in ("", "rumpel: interrupted")
    check(disk)
    listed = subprocess.run(
        ["debugfs", "-R", "ls -p /many", disk], capture_output=True, text=True, check=True
    ).stdout
    sizes = [line.split("/")[6] for line in listed.split("\n") if "/100644/" in line]
    assert set(sizes) <= {"500"}
