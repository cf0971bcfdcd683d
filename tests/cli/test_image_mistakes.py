# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image`` where things go wrong: nothing of the user's is lost, nothing is a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import rumpel
from rumpel.cli.image import edit, ls, stat, tree
from rumpel.cli.image.common import size
from rumpel.cli.image.modes import change
from rumpel.images.found import Found
from rumpel.images.tools import copy_range
from tests.cli.conftest import Run
from tests.conftest import VERSION
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_create_replaces_at_the_end(run: Run, tree: Path, tmp_path: Path) -> None:
    """What is there stays until the new image is whole; files of similar names are not ours."""
    image, part = tmp_path / "x.img", tmp_path / "x.img.part"
    image.write_bytes(b"old" * 1000)
    part.write_text("mine")
    (tree / "large").write_bytes(os.urandom(2 << 20))
    Path("junk.tar").write_bytes(b"junk" * 1000)
    names = sorted(os.listdir())
    for arguments, status in (
        (["--fs", "zfs"], 1),
        (["-p", "9M:ext4"], 1),
        (["--fs", "ext4", "--from", tree], 1),
        (["--fs", "ext4", "--from", "junk.tar"], 1),
        (["--fs", "ext4", "--mkfs", "--nonsense"], 1),
        (["--fs", "ext4", "--from", tree, "--overlay", "o.qcow2"], 2),
        (["--disk", "x.img.part"], 2),
    ):
        result = run("create", "-f", "x.img", "1M", *arguments, status=status)
        assert result.error.count("\n") == 1
        assert image.read_bytes() == b"old" * 1000
        assert sorted(os.listdir()) == names
    held = rumpel.Disk(image)
    assert "another process" in run("create", "-f", "x.img", "1M", status=1).error
    del held
    assert "no regular file" in run("create", "-f", "tree", "1M", status=1).error
    run("create", "-f", "x.img", "32M", "-p", "8M:ext4", "-p", "rest:ext4", "--from", tree)
    assert run("cat", "x.img:2:/large").raw == (tree / "large").read_bytes()
    assert part.read_text() == "mine"
    assert sorted(os.listdir()) == names
    umask = os.umask(0)
    os.umask(umask)
    assert image.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("label", ['a"b, type=swap', "a\nb\\x41", "\N{SNOWMAN} x", "36" * 18])
def test_names_of_partitions(run: Run, label: str) -> None:
    """All that a table can have is there, just as it was said; nothing of it is a command."""
    run("create", "one.img", "8M", "-p", f"4M::{label}")
    (told,) = json.loads(run("info", "--json", "one.img").out)
    assert [each["part_label"] for each in told["devices"][1:]] == [label]


def test_labels_that_are_too_long(run: Run) -> None:
    """They are not cut off."""
    for kind, label in (("", "x" * 37), ("ext4", "x" * 17), ("vfat", "x" * 12), ("", "\udcff")):
        said = run("create", "one.img", "64M", "-p", f"rest:{kind}:{label}", status=1).error
        assert len(said.splitlines()) == 1
    assert not Path("one.img").exists()


def test_forced_links(run: Run, disk: Path, tree: Path) -> None:
    """With -f onto itself, of nothing, and of something else: no file is lost."""
    run("cp", f"{tree}/.", "disk.img:/")
    run("ln", "-f", "/etc/hosts", "disk.img:/etc/hosts")
    assert "No such file" in run("ln", "-f", "/none", "disk.img:/etc/hosts", status=1).error
    assert run("cat", "disk.img:/etc/hosts").out == "127.0.0.1 localhost\n"
    run("ln", "-f", "/etc/hosts", "disk.img:/su")
    run("ln", "-f", "/etc/hosts", "disk.img:/su")
    assert run("cat", "disk.img:/su").out == "127.0.0.1 localhost\n"
    run("ln", "-sf", "/none", "disk.img:/etc/passwd")
    run("ln", "-f", "/etc/group", "disk.img:/new")
    assert run("ls", "disk.img:/etc").lines == ["group", "hosts", "link", "passwd"]
    assert run("ls", "-ld", "disk.img:/etc/passwd").out.endswith(" -> /none\n")
    assert run("ls", disk).lines == ["etc", "lost+found", "new", "su"]
    check(disk)


def test_repair_of_a_partition(run: Run, tmp_path: Path) -> None:
    """What a program frees and punches in its copy is zero in the image, and all is clean."""
    run("create", "two.img", "48M", "-p", "8M:vfat", "-p", "rest:ext4")
    (told,) = json.loads(run("info", "--json", "two.img").out)
    start, length = (told["devices"][2][field] for field in ("start", "size"))
    image, part = tmp_path / "two.img", tmp_path / "part"
    part.touch()
    os.truncate(part, length)
    copy_range(image, start, part, 0, length)
    subprocess.run(["debugfs", "-w", "-R", "clri <11>", part], check=True, capture_output=True)
    copy_range(part, 0, image, start, length)
    part.unlink()
    names = sorted(os.listdir())
    held = rumpel.Disk(image)
    assert "in use: another process" in run("check", "--repair", "two.img", status=1).error
    del held
    for refused in (
        ["--disk", "two.img"],
        ["--repair", "--read-only"],
        ["--repair", "--verity=00"],
    ):
        assert run("check", *refused, "two.img", status=2).error.count("\n") == 1
    assert "two.img:2: ext4: NOT CLEAN" in run("check", "two.img", status=1).lines
    run("check", "--repair", "two.img:2")
    assert run("check", "two.img").lines == ["two.img:1: vfat: clean", "two.img:2: ext4: clean"]
    assert sorted(os.listdir()) == names


def test_holes_that_were_data(tmp_path: Path) -> None:
    """A hole of the source is zeroes in the target; holes of both stay holes."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"begin")
    os.truncate(source, 8 << 20)
    with source.open("r+b") as file:
        file.seek(6 << 20)
        file.write(b"late")
    target.write_bytes(b"\xff" * (2 << 20))
    os.truncate(target, 16 << 20)
    with target.open("r+b") as file:
        file.seek((11 << 20) + 5)
        file.write(b"after")
    copy_range(source, 0, target, 1 << 20, 8 << 20)
    data = target.read_bytes()
    assert data[: 1 << 20] == b"\xff" * (1 << 20)
    assert data[1 << 20 : 9 << 20] == source.read_bytes()
    assert data[9 << 20 :].strip(b"\0") == b"after"
    assert target.stat().st_blocks * 512 < 4 << 20


def test_escapes_of_a_terminal(run: Run, disk: Path, tmp_path: Path) -> None:
    """Names in messages are escaped; on a terminal also those that are listed, line by line."""
    (tmp_path / "in").mkdir()
    for name in ("esc\x1b[31m", "new\nline"):
        (tmp_path / "in" / name).touch()
    run("cp", tmp_path / "in", "disk.img:/")
    error = run("cp", "disk.img:/in/*", tmp_path / "none" / "x", status=1).error
    assert "/in/new\\nline: " in error
    assert error.count("\n") == 2
    error = run("cp", "disk.img:/in/esc*", "/dev/null/x", status=1).error
    assert "esc\\x1b[31m" in error
    assert error.count("\n") == 1
    assert run("cat", "disk.img:/in/new\nline/x", status=1).error.count("\n") == 1
    assert "\x1b" not in run("cat", "disk.img:/in/x\x1b[0m\x9b", status=1).error
    assert "esc\x1b[31m" in run("ls", "disk.img:/in").lines
    assert on_a_terminal("tree", "disk.img:/in") == [
        "disk.img:/in", "├── esc?[31m", "└── new?line", "", "0 directories, 2 files", "",
    ]  # fmt: skip
    assert on_a_terminal("ls", "disk.img:/in", "disk.img:/lost+found") == [
        "disk.img:/in:", "esc?[31m", "new?line", "", "disk.img:/lost+found:", "",
    ]  # fmt: skip


def on_a_terminal(command: str, *arguments: str) -> list[str]:
    """Run a command whose output is a terminal; its lines."""
    leader, terminal = pty.openpty()
    program = [str(Path(sys.executable).with_name("rumpel")), "image", command]
    try:
        subprocess.run(
            [*program, "--kernel", VERSION, *arguments],
            stdin=subprocess.DEVNULL, stdout=terminal, timeout=100, check=True,
        )  # fmt: skip
        said = b""
        os.close(terminal)
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
            while part := os.read(leader, 4096):
                said += part
        return said.decode().split("\r\n")
    finally:
        os.close(leader)


def test_mistakes(run: Run, disk: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names what is wrong, and nothing is done."""
    run("cp", tree / "etc" / "hosts", "disk.img:/")
    assert "nonsense" in run("ls", "--memory", "nonsense", disk, status=2).error
    error = run("create", "small.img", "100M", "--fs", "xfs", status=1).error
    assert error.endswith("mkfs.xfs: Filesystem must be larger than 300MB.\n")
    assert "none.img" in run("diff", "none.img", tree, status=2).error
    monkeypatch.setenv("VISUAL", "no-such-editor")
    assert "no-such-editor: No such file" in run("edit", "disk.img:/hosts", status=1).error
    assert not run("df", "none.img", status=1).out
    assert ".lz4" in run("tar", disk, "x.tar.lz4", status=2).error
    assert not Path("x.tar.lz4").exists()
    assert run("untar", "nofile", "disk.img:/u", status=1).error == (
        "rumpel: nofile: No such file or directory\n"
    )
    for time in ("NaN", "Infinity", "-Infinity", "abc", "1e30"):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
            member = tarfile.TarInfo("x")
            member.pax_headers = {"mtime": time}
            tar.addfile(member)
        error = run("untar", "-", "disk.img:/u", stdin=data.getvalue(), status=1).error
        assert error.count("\n") == 1
    check(disk)


def test_as_coreutils(run: Run, disk: Path, tree: Path) -> None:
    """Hidden directories, the order of du, patterns that name nothing."""
    (tree / ".dark" / "deep").mkdir(parents=True)
    (tree / "etc" / "a" / "b").mkdir(parents=True)
    (tree / "etc" / "c").mkdir()
    run("cp", tree, "disk.img:/")
    assert run("ls", "-R", "disk.img:/tree").lines == [
        "/tree:", "etc", "su", "",
        "/tree/etc:", "a", "c", "group", "hosts", "link", "passwd", "",
        "/tree/etc/a:", "b", "",
        "/tree/etc/a/b:", "",
        "/tree/etc/c:",
    ]  # fmt: skip
    assert "/tree/.dark/deep:" in run("ls", "-aR", "disk.img:/tree").lines
    # First what is no directory.
    names = ("disk.img:/tree/etc", "disk.img:/tree/su", "disk.img:/tree/etc/hosts")
    heading = ["/tree/su", "/tree/etc/hosts", "", "disk.img:/tree/etc:"]
    assert run("ls", *names).lines[:4] == heading
    assert run("ls", "-d", *names).lines == ["/tree/etc", "/tree/su", "/tree/etc/hosts"]
    assert run("ls", "-ld", "disk.img:/tree").lines[0].endswith(" /tree")
    assert [row["path"] for row in json.loads(run("ls", "-d", "--json", *names[:1]).out)] == [
        "/tree/etc"
    ]
    assert run("ls", "-R", "disk.img:/tree/su").lines == ["/tree/su"]
    run("ln", "-s", "nowhere", "disk.img:/dangling")
    assert run("ls", "disk.img:/dangling").lines == ["/dangling"]
    # A slash at its end is a directory's, which only a tree can become.
    for name in (tree / "su", "disk.img:/tree/su"):
        assert run("cp", name, "disk.img:/new/", status=1).error == (
            "rumpel: disk.img:/new/: Not a directory\n"
        )
    run("cp", "disk.img:/tree/etc", "disk.img:/new/")
    assert "hosts" in run("ls", "disk.img:/new").lines
    ours = [line.split("\t")[1] for line in run("du", "disk.img:/tree").lines]
    assert ours == [
        "/tree/.dark/deep", "/tree/.dark", "/tree/etc/a/b", "/tree/etc/a", "/tree/etc/c",
        "/tree/etc", "/tree",
    ]  # fmt: skip
    assert not run("rm", "-f", "disk.img:/x*", "disk.img:/none").error
    assert "No such file" in run("rm", "disk.img:/x*", status=1).error


def test_a_difference_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    """One line and status 2, with the rest of the trees unread."""
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a" / "file").write_bytes(b"x" * 3_000_000)
    (tree / "b").write_bytes(b"x" * 3_000_000)
    plain = ["--mkfs", "-O", "--mkfs", "^metadata_csum,^has_journal"]
    run("create", "d.img", "32M", "--fs", "ext4", "--from", tree, *plain)
    break_it = ["debugfs", "-w", "-R", "set_inode_field /a/file block[0] 0", "d.img"]
    subprocess.run(break_it, check=True, capture_output=True)
    result = run("diff", "d.img", tree, status=2)
    assert result.error.startswith("rumpel: a/file: ")
    assert (result.error.count("\n"), result.out) == (1, "")


def test_two_names_of_a_partition(run: Run) -> None:
    """Partitions of an image that is written to are opened one after the other, none twice."""
    run("create", "two.img", "32M", "-p", "8M:vfat", "-p", "rest:ext4:root")
    run("mkdir", "two.img:1:/a", "two.img:2:/b", "two.img:LABEL=root:/c", "two.img:1:/d")
    run("mv", "two.img:2:/b", "two.img:LABEL=root:/c")
    assert run("find", "two.img:2", "--name", "b").lines == ["/c/b"]
    assert run("ls", "two.img:1").lines == ["a", "d"]
    error = run("mv", "two.img:1:/a", "two.img:2:/c", status=1).error
    assert error == "rumpel: two.img:1:/a: another file system than two.img:2:/c: use cp\n"
    run("cp", "two.img:1:/a", "two.img:2:e")
    assert run("ls", "two.img:2").lines == ["c", "e", "lost+found"]


def test_numbers_beyond(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Sizes, years and depths that only a strange file system has."""
    assert size(1 << 60, True) == "1.0E"
    assert size(1 << 90, True) == "1.0R"
    for when in (ls._when, stat._when):
        assert when(1 << 80) == when(1 << 80) != when(0)
    found = [Found._make(["/".join("d" * n), 0o40755, *[0] * 11, None]) for n in range(1500)]
    tree._show(found)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out.count("└── d".encode()) == 1499


def test_modes_and_the_umask() -> None:
    """A clause that names nobody leaves out whom the umask leaves out."""
    umask = os.umask(0o022)
    try:
        assert change("+w", 0o444, False) == 0o644
        assert change("a+w", 0o444, False) == 0o666
        assert change("-w", 0o666, False) == 0o466
        assert change("=rw", 0o777, False) == 0o644
    finally:
        os.umask(umask)


def test_signals_of_an_editor() -> None:
    """What is typed is the editor's affair; it gets them as usual, and we do not."""
    before = signal.getsignal(signal.SIGINT)
    assert edit._run("x", ["sh", "-c", "kill -INT $PPID; exit 3"]) == 3
    assert edit._run("x", ["sh", "-c", "kill -INT $$; exit 3"]) == -signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_newcomers_mistakes_name_what_is_wrong(run: Run) -> None:
    """A size without a unit, an overlay in no directory, a forgotten colon, an empty disk."""
    said = run("create", "new.img", "64", "--fs", "ext4", status=2).error
    assert "64 bytes are no disk (write 64M)" in said
    assert not Path("new.img").exists()
    said = run("ls", "--overlay", "nowhere/x.qcow2", "disk.img", status=2).error
    assert "nowhere/x.qcow2: No such file or directory" in said
    make(Path("here.img"), "ext4", 8)
    Path("a file").touch()
    said = run("cp", "a file", "here.img", status=2).error
    assert (
        "neither source nor target is in an image that is there (in an image is here.img:)" in said
    )
    Path("empty.img").write_bytes(bytes(1 << 20))
    said = run("ls", "empty.img", status=1).error
    assert re.fullmatch(r"rumpel: empty.img: no file system that Linux [\d.]+ knows\n", said)


@pytest.mark.parametrize(
    ("where", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("command", ["ls", "ls -l", "cat {}:/file", "df", "info", "tree", "find"])
def test_output_that_cannot_be_written(tmp_path: Path, command: str, where: str, why: str) -> None:
    """It is no fault of the image's."""
    image = make(tmp_path / "disk.img", "ext4", 8)
    (tmp_path / "file").write_text("x")
    subprocess.run(["debugfs", "-w", "-R", f"write {tmp_path / 'file'} file", image], check=True)
    line = command.format(image) if "{}" in command else f"{command} {image}"
    name, _, rest = line.partition(" ")
    code = "from rumpel.cli import program; program()"
    line = f"{sys.executable} -c '{code}' image {name} --kernel {VERSION} {rest} {where}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == f"rumpel: standard output: {why}\n"
    assert done.returncode == 1
    check(image)
