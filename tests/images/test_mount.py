# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mount``: what programs may do there, and that every end leaves the image clean."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import VERSION
from tests.images.server import serving
from tests.images.tools import check, make

pytestmark = [
    pytest.mark.once,
    pytest.mark.kernel,
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse"),
]
_RUMPEL = [sys.executable, "-c", "from rumpel.cli import main; main()", "image"]


def rumpel(command: str, *args: object, code: int = 0) -> str:
    """Run a command; what it says, of errors on stderr."""
    words = [*_RUMPEL, command, *([] if command == "umount" else ["--kernel", VERSION])]
    done = subprocess.run([*words, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@contextmanager
def fails(*errors: int) -> Iterator[None]:
    """What is done fails with one of these."""
    with pytest.raises(OSError, match="Errno") as raised:
        yield
    assert raised.value.errno in errors


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A directory, where nothing is mounted after the test."""
    path = tmp_path / "here"
    path.mkdir()
    yield path
    if os.path.ismount(path):
        subprocess.run(["fusermount3", "-uz", path], check=True)


@pytest.fixture
def mounted(disk: Path, here: Path) -> Iterator[Path]:
    """A mounted image; it is clean after the test."""
    rumpel("mount", disk, here)
    yield here
    if os.path.ismount(here):
        rumpel("umount", here)
    check(disk)


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a program, which must not fail."""
    words = [str(word) for word in command]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def _tree(top: Path) -> Path:
    """Files of all kinds, with what they can have."""
    rng = random.Random(1)
    (top / "deep" / "er").mkdir(parents=True)
    for number in range(40):
        file = top / "deep" / f"{number}"
        file.write_bytes(rng.randbytes(rng.randrange(200_000)))
        file.chmod(0o600 | number)
        os.utime(file, ns=(number * 10**9 + 5, number * 10**10 + 7))
    (top / "deep" / "er" / "link").symlink_to("../1")
    os.link(top / "deep" / "1", top / "hard")
    os.setxattr(top / "hard", "user.name", b"value")
    os.mkfifo(top / "fifo")
    (top / "with a blank \n and \xe4").touch()
    with (top / "sparse").open("wb") as file_:
        file_.seek(10 << 20)
        file_.write(b"end")
    return top


def _told(top: Path) -> dict[str, Any]:
    """All about a tree, but numbers of inodes and times of directories."""
    told: dict[str, Any] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        times = 0 if path.is_dir() and not path.is_symlink() else status.st_mtime_ns
        content: Any = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes(), os.listxattr(path)
        size = 0 if path.is_dir() else status.st_size
        links = 0 if path.is_dir() else status.st_nlink
        about = status.st_mode, links, status.st_uid, size, times, content
        told[str(path.relative_to(top))] = about
    return told


def test_cp_and_tar(mounted: Path, disk: Path, tmp_path: Path) -> None:
    """A tree goes in by cp -a and out by tar as it was, and is in the image."""
    source = _tree(tmp_path / "tree")
    run("cp", "-a", "--sparse=always", source, mounted / "copy")
    assert _told(mounted / "copy") == _told(source)
    assert (mounted / "copy" / "sparse").stat().st_blocks < 100
    (tmp_path / "out").mkdir()
    run("tar", "cf", tmp_path / "t.tar", "-C", mounted, "--xattrs", "copy")
    run("tar", "xf", tmp_path / "t.tar", "-C", tmp_path / "out", "--xattrs")
    assert _told(tmp_path / "out" / "copy") == _told(source)
    rumpel("umount", mounted)
    check(disk)
    rumpel("cp", f"{disk}:/copy", tmp_path / "again")
    assert _told(tmp_path / "again") == _told(source)
    # Another mount sees what this one has made, and what is removed is gone.
    rumpel("mount", disk, mounted)
    assert _told(mounted / "copy") == _told(source)
    shutil.rmtree(mounted / "copy")
    assert os.listdir(mounted) == ["lost+found"]


def test_git(mounted: Path) -> None:
    """It makes locks, renames, maps files, and syncs: a repository of 60 commits is sound."""
    repo = mounted / "repo"
    git = ["git", "-C", repo, "-c", "user.name=n", "-c", "user.email=e", "-c", "core.fsync=all"]
    run("git", "init", "-q", repo)
    for number in range(6):
        for file in range(10):
            (repo / f"{file}").write_text(f"{number} {file}\n" * 50)
        run(*git, "add", ".")
        run(*git, "commit", "-qm", str(number))
    run(*git, "gc", "-q")
    assert run(*git, "fsck", "--strict") == ""
    assert run(*git, "status", "--porcelain") == ""
    run("git", "clone", "-q", repo, mounted / "other")
    assert run("git", "-C", mounted / "other", "log", "--oneline").count("\n") == 6


def test_files_without_names(mounted: Path) -> None:
    """Who has a file open may go on after it was removed, or replaced by another one."""
    path = mounted / "gone"
    for end in (path.unlink, lambda: (mounted / "new").rename(path)):
        path.write_bytes(b"data" * 10_000)
        (mounted / "new").write_bytes(b"new")
        with path.open("r+b") as file:
            end()
            assert file.read() == b"data" * 10_000
            file.write(b"more")
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o600)
            os.ftruncate(file.fileno(), 40_002)
            assert os.fstat(file.fileno()).st_size == 40_002
            assert os.fstat(file.fileno()).st_nlink == 0
            file.seek(39_999)
            assert file.read() == b"amo"
    assert path.read_bytes() == b"new"
    (mounted / "dir").mkdir()
    fd = os.open(mounted / "dir", os.O_RDONLY)
    (mounted / "dir").rmdir()
    assert os.listdir(fd) == []
    os.close(fd)


def test_links_and_renames(mounted: Path) -> None:
    """Names change in all ways; what was found by an old one is found by the new one."""
    (mounted / "a" / "b").mkdir(parents=True)
    (mounted / "a" / "b" / "file").write_text("one")
    os.link(mounted / "a" / "b" / "file", mounted / "link")
    with (mounted / "a" / "b" / "file").open() as file:
        (mounted / "a").rename(mounted / "c")
        assert (mounted / "c" / "b" / "file").read_text() == "one"
        (mounted / "c" / "b" / "file").unlink()
        assert file.read() == "one"
        assert os.fstat(file.fileno()).st_nlink == 1
    assert (mounted / "link").read_text() == "one"
    os.link(mounted / "link", mounted / "two")
    (mounted / "link").rename(mounted / "two")  # two links to one file: nothing happens
    assert sorted(os.listdir(mounted)) == ["c", "link", "lost+found", "two"]
    (mounted / "other").write_text("other")
    run("mv", "--exchange", mounted / "other", mounted / "two") if _can_exchange() else None
    with fails(errno.EINVAL):
        (mounted / "c").rename(mounted / "c" / "b" / "c")
    with fails(errno.ENOTEMPTY):
        (mounted / "c").rmdir()


def _can_exchange() -> bool:
    return "--exchange" in run("mv", "--help")


def test_content(mounted: Path) -> None:
    """Mappings, holes, appends, copies within the file system, and programs that are executed."""
    path = mounted / "file"
    with path.open("w+b") as file:
        file.truncate(1 << 20)
        with mmap.mmap(file.fileno(), 1 << 20) as mapped:
            mapped[5:10] = b"first"
            mapped.flush()
            mapped[500_000:500_004] = b"last"
        assert os.pread(file.fileno(), 5, 5) == b"first"
        assert os.pread(file.fileno(), 4, 500_000) == b"last"
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) < 500_000
        os.posix_fallocate(file.fileno(), 1 << 20, 1 << 20)
        assert path.stat().st_size == 2 << 20
        with (mounted / "copy").open("wb") as copy:
            assert os.copy_file_range(file.fileno(), copy.fileno(), 600_000, 0) == 600_000
    assert (mounted / "copy").read_bytes() == path.read_bytes()[:600_000]
    with path.open("ab") as one, path.open("ab") as two:
        for each in (one, two, one):
            each.write(b"more")
            each.flush()
    assert path.stat().st_size == (2 << 20) + 12
    program = mounted / "true"
    shutil.copy("/bin/true", program)
    run(program)
    with path.open() as file_:
        flags = bytearray(4)
        fcntl.ioctl(file_, 0x80086601, flags)  # FS_IOC_GETFLAGS
        assert int.from_bytes(flags, "little") & 0x80000  # EXT4_EXTENTS_FL


def test_large_directories_and_rewinding(mounted: Path) -> None:
    """Each entry is told once, also of directories read side by side and again."""
    for top in range(40):
        (mounted / str(top)).mkdir()
    names = [f"name-{number:05}" for number in range(3000)]
    for name in names:
        (mounted / "0" / name).touch()
    rumpel("umount", mounted)
    rumpel("mount", mounted.parent / "disk.img", mounted)
    with os.scandir(mounted / "0") as one, os.scandir(mounted / "0") as two:
        first = [next(one).name for _ in range(1000)]
        other = [each.name for each in two]
        for top in range(1, 40):
            assert os.listdir(mounted / str(top)) == []
        first += [each.name for each in one]
    assert sorted(first) == sorted(other) == names
    fd = os.open(mounted / "0", os.O_RDONLY)
    for _ in range(3):
        assert len(os.listdir(fd)) == 3000
    os.close(fd)


def test_directories_that_change_while_they_are_read(mounted: Path) -> None:
    """Who has seen the end begins anew, and sees what came and went."""
    top = mounted / "dir"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for number in range(300):
        assert len(os.listdir(fd)) == len(os.listdir(top)) == number
        (top / f"{number}").touch()
        if number % 3 == 0:
            (top / f"{number}").rename(top / f"a name that is longer, of {number}")
    for number in range(299, -1, -1):
        (top / (f"a name that is longer, of {number}" if number % 3 == 0 else f"{number}")).unlink()
        assert len(os.listdir(fd)) == number
    # Its flags and its entries are asked for by turns: both have it open.
    for _ in range(2):
        fcntl.ioctl(fd, 0x80086601, bytearray(4))  # FS_IOC_GETFLAGS
        assert os.listdir(fd) == []
        (top / "one").mkdir(exist_ok=True)
        assert os.listdir(fd) == ["one"]
        (top / "one").rmdir()
    os.close(fd)


def test_files_that_are_read_and_written(mounted: Path) -> None:
    """What was open for reading is written to, and read again as it is then."""
    large, small = mounted / "large", mounted / "small"
    large.write_bytes(b"a" * (3 << 20))
    small.write_bytes(b"a" * 5000)
    rumpel("umount", mounted)
    rumpel("mount", mounted.parent / "disk.img", mounted)
    with large.open("r+b", buffering=0) as one, small.open("r+b", buffering=0) as two:
        for number, (file, size) in enumerate([(one, 3 << 20), (two, 5000)] * 3):
            assert os.pread(file.fileno(), 10, 0) == (b"b" * 10 if number > 1 else b"a" * 10)
            os.pwrite(file.fileno(), b"b" * 10, 0)
            os.pwrite(file.fileno(), b"c" * 10, size - 10)
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            told = os.pread(file.fileno(), size + 10, 0)
            assert (told[:10], told[-10:], len(told)) == (b"b" * 10, b"c" * 10, size)
            assert set(told[10:-10]) == {ord("a")}
        os.ftruncate(two.fileno(), 100)
        os.posix_fadvise(two.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert two.read() == b"b" * 10 + b"a" * 90


def test_what_is_read_ahead(mounted: Path) -> None:
    """Who walks a tree gets what is there when he comes, not what was there before."""
    for number in range(8):
        (mounted / "files" / f"{number}").parent.mkdir(exist_ok=True)
        (mounted / "files" / f"{number}").write_bytes(b"old" * 1000)
        (mounted / "dirs" / f"{number}").mkdir(parents=True)
        for name in ("stays", "goes"):
            (mounted / "dirs" / f"{number}" / name).touch(0o600)
    rumpel("umount", mounted)
    rumpel("mount", mounted.parent / "disk.img", mounted)
    files, directories = (
        [Path(each.path) for each in os.scandir(mounted / name)] for name in ("files", "dirs")
    )
    for number, file in enumerate(files):
        if number in (4, 6):
            time.sleep(0.05)  # by now the next one was read
            with file.open("r+b", buffering=0) as it:
                it.write(b"new") if number == 4 else it.truncate(10)
        told = file.read_bytes()
        assert told == {4: b"new" + b"old" * 999, 6: b"oldoldoldo"}.get(number, b"old" * 1000)
    for number, directory in enumerate(directories):
        changed = number in (4, 6)
        if changed:
            time.sleep(0.05)
            (directory / "goes").unlink()
            (directory / "stays").chmod(0o640)
            (directory / "comes").touch(0o600)
        found = {each.name: each.stat().st_mode & 0o777 for each in os.scandir(directory)}
        assert found == {
            "stays": 0o640 if changed else 0o600,
            "comes" if changed else "goes": 0o600,
        }


def test_times_of_what_is_read_ahead(mounted: Path) -> None:
    """Where times of access are kept, only what was read has new ones."""
    top = mounted / "files"
    top.mkdir()
    for number in range(8):
        (top / f"{number}").write_bytes(b"old" * 1000)
        os.utime(top / f"{number}", (1000, 1000))
    rumpel("umount", mounted)
    rumpel("mount", "-o", "strictatime", mounted.parent / "disk.img", mounted)
    names = [each.name for each in os.scandir(top)]
    for name in names[:4]:
        (top / name).read_bytes()
    time.sleep(0.05)
    rumpel("umount", mounted)
    rumpel("mount", mounted.parent / "disk.img", mounted)
    assert [(top / name).stat().st_atime > 1000 for name in names] == [True] * 4 + [False] * 4


def test_full_and_read_only(disk: Path, here: Path) -> None:
    """Errors are those of the file system."""
    before = disk.read_bytes()
    rumpel("mount", "--read-only", disk, here)
    with fails(errno.EROFS):
        (here / "new").touch()
    rumpel("umount", here)
    assert disk.read_bytes() == before
    rumpel("mount", disk, here)
    with fails(errno.ENOSPC), (here / "large").open("wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    assert os.statvfs(here).f_bavail == 0
    (here / "large").unlink()
    assert os.statvfs(here).f_bavail > 10_000
    rumpel("umount", here)
    check(disk)


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "vfat"])
def test_other_file_systems(kind: str, here: Path, tmp_path: Path) -> None:
    """A tree in, out, and removed, in one that has subvolumes, and in one without inodes."""
    disk = make(tmp_path / "disk.img", kind, 320)
    rumpel("mount", "--memory", "96M", disk, here)
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    for number in range(200):
        (source / "sub" / f"{number}.txt").write_bytes(bytes(str(number), "ascii") * number)
    run("cp", "-r", source, here / "copy")
    run("diff", "-r", source, here / "copy")
    (here / "copy" / "sub").rename(here / "moved")
    with (here / "moved" / "7.txt").open() as file:
        shutil.rmtree(here / "moved")
        assert file.read() == "7" * 7
    assert os.listdir(here / "copy") == []
    rumpel("umount", here)
    check(disk, kind)


@contextmanager
def _serve(disk: Path | str, here: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in the foreground, which does not outlive the test."""
    command = [*_RUMPEL, "mount", "--kernel", VERSION, "-f", *options, str(disk), str(here)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not (os.path.ismount(here) and os.listdir(here)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("end", "sandbox"),
    [
        ("fusermount3", "--sandbox"),
        ("SIGTERM", "--sandbox"),
        ("SIGINT", "--no-sandbox"),
        ("busy", "--sandbox"),
        ("busy", "--no-sandbox"),
    ],
)
def test_ends(disk: Path, here: Path, end: str, sandbox: str) -> None:
    """Each leaves the image clean with all that was written, and nothing mounted."""
    with _serve(disk, here, sandbox) as process:
        (here / "file").write_bytes(b"written" * 1000)
        with (here / "file").open("rb") as file:
            if end != "busy":
                file.close()
            if end == "fusermount3":
                run("fusermount3", "-u", here)
            else:
                process.send_signal(signal.SIGINT if end == "SIGINT" else signal.SIGTERM)
            assert process.wait(60) == 0
            if end == "busy":
                with fails(errno.ENOTCONN, errno.ECONNABORTED):
                    os.fsync(file.fileno())
    assert not os.path.ismount(here)
    check(disk)
    assert rumpel("cat", f"{disk}:/file") == "written" * 1000


def test_a_server_that_is_killed(disk: Path, here: Path) -> None:
    """What uses the mount gets errors; the kernel's process sees to it that the image is clean."""
    with _serve(disk, here) as process:
        (here / "file").write_bytes(b"written" * 1000)
        process.kill()
        process.wait()
    run("fusermount3", "-uz", here)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = subprocess.run(
            [*_RUMPEL, "cat", "--kernel", VERSION, f"{disk}:/file"], capture_output=True
        )
        if not done.returncode:
            break
        time.sleep(0.1)
    assert done.stdout == b"written" * 1000
    check(disk)


def test_mistakes(disk: Path, here: Path, tmp_path: Path) -> None:
    """One line each, and nothing stays mounted."""
    nowhere = tmp_path / "nowhere"
    assert "is no directory" in rumpel("mount", disk, nowhere, code=1)
    assert "no such image" in rumpel("mount", nowhere, here, code=1)
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise" * 10_000)
    assert "no file system" in rumpel("mount", noise, here, code=1)
    assert "only whole file systems" in rumpel("mount", f"{disk}:/etc", here, code=2)
    assert "no image is mounted there" in rumpel("umount", here, code=1)
    assert not os.path.ismount(here)
    rumpel("mount", disk, here)
    other = tmp_path / "other"
    other.mkdir()
    told = f"{disk}: in use: it is mounted at {here}: work there, or rumpel image umount {here}"
    assert rumpel("mount", disk, other, code=1) == f"rumpel: {told}\n"
    for command in ("ls", "check", "resize"):
        words = (disk, "+1M") if command == "resize" else (disk,)
        assert told in rumpel(command, *words, code=1)
    assert not os.path.ismount(other)
    with (here / "file").open("w"):
        assert "is busy" in rumpel("umount", here, code=1)
    rumpel("umount", here)
    check(disk)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount at names like these")
def test_mounts_of_others(here: Path) -> None:
    """Whatever bytes their names have, they are not in the way."""
    script = 'mkdir "$0" && mount -t tmpfs "$1" "$0" && shift && exec "$@"'
    odd = os.fsencode(here) + b"/\xff\x0c\n \\134"
    words: list[str | bytes | Path] = ["unshare", "--mount", "sh", "-c", script, odd, b"no\xffne"]
    done = subprocess.run([*words, *_RUMPEL, "umount", here], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"rumpel: {here}: no image is mounted there\n"


def test_the_name_of_what_is_mounted(disk: Path, here: Path) -> None:
    """Everybody may read that: a URL is there without what is secret in it."""
    with serving() as server:
        server.files["/disk.img"] = disk.read_bytes()
        url = f"{server.url}/disk.img"
        with _serve(f"{url}?signature=secret", here) as process:
            mounts = Path("/proc/mounts").read_text(errors="replace").split("\n")
            assert [each.split()[0] for each in mounts if str(here) in each] == [url]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system that is too small")
@pytest.mark.parametrize("sandbox", ["--sandbox", "--no-sandbox"])
def test_what_could_not_be_written(tmp_path: Path, here: Path, sandbox: str) -> None:
    """Who unmounts is told, as he was not when he wrote."""
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=12M", "none", small)
    try:
        disk = small / "disk.img"
        disk.touch()
        os.truncate(disk, 100 << 20)
        run("mke2fs", "-q", "-t", "ext4", disk)
        rumpel("mount", sandbox, disk, here)
        (here / "file").write_bytes(os.urandom(30 << 20))
        said = rumpel("umount", here, code=1)
        why = f"{disk}: No space left on device, where {disk} lies"
        assert said == f"rumpel: {here}: not all may be in the image: {why}\n"
        assert not os.path.ismount(here)
    finally:
        run("umount", "--lazy", small)


def test_a_kernel_that_is_killed(disk: Path, here: Path) -> None:
    """Who works there must not go on in the host's directory; who unmounts is told."""
    with _serve(disk, here) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        assert process.wait(60) == 1
        with fails(errno.ENOTCONN, errno.ECONNABORTED):
            (here / "file").touch()
        assert "was killed by SIGKILL" in rumpel("umount", here, code=1)
        assert not list(here.iterdir())


def test_an_overlay(disk: Path, here: Path, tmp_path: Path) -> None:
    """It is free when it is unmounted, with all in it."""
    over = tmp_path / "over"
    rumpel("mount", "--overlay", over, disk, here)
    (here / "file").write_bytes(b"over" * 1_000_000)
    rumpel("umount", here)
    assert rumpel("cat", "--overlay", over, f"{disk}:/file") == "over" * 1_000_000
