# SPDX-License-Identifier: GPL-2.0-only
"""Directories of the host: what a kernel does there is what the host sees, and only there."""

from __future__ import annotations

import errno
import os
import random
import resource
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel import HostDirectory, Kernel, VirtualClock

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The directory, beside something that is not for kernels."""
    (tmp_path / "secret").write_text("secret")
    where = tmp_path / "host"
    where.mkdir()
    return where


@pytest.fixture
def kernel(boot: Boot, host: Path) -> Kernel:
    """It is at /mnt."""
    return mounted(boot, HostDirectory(host))


def mounted(boot: Boot, directory: HostDirectory, clock: VirtualClock | None = None) -> Kernel:
    """A kernel with the directory at /mnt."""
    kernel = boot(devices=[directory], clock=clock)
    kernel.mount(directory, "/mnt")
    return kernel


def put(kernel: Kernel, name: str, data: bytes) -> None:
    """Write a file."""
    with kernel.open(name, "wb") as file:
        file.write(data)


def get(kernel: Kernel, name: str) -> bytes:
    """Read a file."""
    with kernel.open(name, "rb") as file:
        data: bytes = file.read()
        return data


def a_tree(root: Path) -> None:
    """Files of all kinds."""
    (root / "a/deep/er").mkdir(parents=True)
    for number in range(60):
        (root / f"a/file{number}").write_bytes(os.urandom(number * 997))
    (root / "a/deep/er/big").write_bytes(os.urandom(3 << 20))
    (root / "link").symlink_to("a/file7")
    (root / "a/file1").chmod(0o600)
    (root / "a/exec").write_text("#!/bin/sh\n")
    (root / "a/exec").chmod(0o755)
    os.mkfifo(root / "pipe")
    os.link(root / "a/file2", root / "hard")
    (root / ("n" * 255)).write_text("a long name")
    (root / "ümlaut").write_text("UTF-8")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_text("not UTF-8")


def copy(kernel: Kernel, source: str, target: str) -> None:
    """A tree, with everything that the tests compare."""
    os_ = kernel.os
    os_.makedirs(target, exist_ok=True)
    for name in os_.listdir(source):
        old, new = f"{source}/{name}", f"{target}/{name}"
        status = os_.lstat(old)
        if stat.S_ISDIR(status.st_mode):
            copy(kernel, old, new)
        elif stat.S_ISLNK(status.st_mode):
            os_.symlink(os_.readlink(old), new)
        elif stat.S_ISFIFO(status.st_mode):
            os_.mkfifo(new)
        else:
            put(kernel, new, get(kernel, old))
        if not stat.S_ISLNK(status.st_mode):
            os_.chmod(new, stat.S_IMODE(status.st_mode))


def equal(one: Path, other: Path) -> None:
    """By the host's own tools."""
    # It calls any two pipes different: they are looked at below.
    subprocess.run(["diff", "-r", "--no-dereference", "-x", "pipe", one, other], check=True)
    found = [
        subprocess.run(
            ["find", ".", "!", "-type", "d", "-printf", "%P %y %m %s %l\n"],
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout.splitlines()
        for root in (one, other)
    ]
    assert sorted(found[0]) == sorted(found[1])


@pytest.mark.parametrize("virtual", [False, True])
def test_a_tree_in_and_out(boot: Boot, host: Path, virtual: bool) -> None:
    """Copied by the kernel, within the directory and through a file system of its own."""
    (host / "tree").mkdir()
    a_tree(host / "tree")
    kernel = mounted(boot, HostDirectory(host), VirtualClock() if virtual else None)
    copy(kernel, "/mnt/tree", "/tmp/tree")
    copy(kernel, "/tmp/tree", "/mnt/back")
    equal(host / "tree", host / "back")


def test_many_small_files(kernel: Kernel, host: Path) -> None:
    """More than there are descriptors, there and gone."""
    kernel.os.mkdir("/mnt/d")
    names = [f"file{number}" for number in range(2000)]
    for name in names:
        put(kernel, f"/mnt/d/{name}", name.encode())
    assert sorted(kernel.os.listdir("/mnt/d")) == sorted(names)
    assert sorted(os.listdir(host / "d")) == sorted(names)
    assert all((host / "d" / name).read_text() == name for name in names[::50])
    for name in names:
        kernel.os.unlink(f"/mnt/d/{name}")
    kernel.os.rmdir("/mnt/d")
    assert os.listdir(host) == []


def test_attributes(kernel: Kernel, host: Path) -> None:
    """What either side sets the other sees."""
    put(kernel, "/mnt/file", b"x" * 1000)
    file = host / "file"
    kernel.os.chmod("/mnt/file", 0o4751)
    assert stat.S_IMODE(file.stat().st_mode) == 0o4751
    kernel.os.truncate("/mnt/file", 10)
    assert file.read_bytes() == b"x" * 10
    kernel.os.utime("/mnt/file", ns=(10**9 + 1, 2 * 10**9 + 2))
    assert file.stat().st_mtime_ns == 2 * 10**9 + 2
    assert kernel.os.stat("/mnt/file").st_atime_ns == 10**9 + 1
    kernel.os.link("/mnt/file", "/mnt/other")
    assert kernel.os.stat("/mnt/file").st_nlink == file.stat().st_nlink == 2
    assert kernel.os.stat("/mnt/other").st_ino == kernel.os.stat("/mnt/file").st_ino
    kernel.os.setxattr("/mnt/file", "user.name", b"value")
    assert os.getxattr(file, "user.name") == b"value"
    assert kernel.os.listxattr("/mnt/file") == ["user.name"]
    kernel.os.removexattr("/mnt/file", "user.name")
    assert os.listxattr(file) == []
    file.write_bytes(b"the host was here")
    assert get(kernel, "/mnt/file") == b"the host was here"
    assert kernel.os.stat("/mnt/file").st_uid == 0
    assert kernel.os.statvfs("/mnt").f_blocks == os.statvfs(host).f_blocks


def test_modes_do_not_depend_on_the_process(kernel: Kernel, host: Path) -> None:
    """The kernel's own mask counts."""
    before = os.umask(0o077)
    try:
        fd = kernel.os.open("/mnt/file", os.O_CREAT | os.O_WRONLY, 0o666)
        kernel.os.close(fd)
        kernel.os.mkdir("/mnt/d", 0o777)
    finally:
        os.umask(before)
    mask = kernel.os.umask(0)
    kernel.os.umask(mask)
    assert stat.S_IMODE((host / "file").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((host / "d").stat().st_mode) == 0o777 & ~mask


def test_files_that_are_unlinked_or_renamed_while_open(kernel: Kernel, host: Path) -> None:
    fd = kernel.os.open("/mnt/file", os.O_CREAT | os.O_RDWR)
    kernel.os.write(fd, b"one")
    kernel.os.rename("/mnt/file", "/mnt/renamed")
    kernel.os.write(fd, b"two")
    assert (host / "renamed").read_bytes() == b"onetwo"
    kernel.os.unlink("/mnt/renamed")
    kernel.os.write(fd, b"three")
    assert kernel.os.pread(fd, 100, 0) == b"onetwothree"
    assert kernel.os.fstat(fd).st_nlink == 0
    kernel.os.fsync(fd)
    kernel.os.close(fd)
    assert os.listdir(host) == []


def test_files_without_a_name_do_not_use_up_the_hosts_descriptors(boot: Boot, host: Path) -> None:
    """Of 800 that the process may have, a kernel that keeps too many gets ENFILE."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (800, before[1]))
    try:
        directory = HostDirectory(host)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    kernel = boot(devices=[directory])
    kernel.mount(directory, "/mnt")
    descriptors = len(os.listdir("/proc/self/fd"))
    held = []
    for number in range(800):
        name = f"/mnt/{number}"
        kernel.os.close(kernel.os.open(name, os.O_CREAT))
        held.append(kernel.os.open(name, os.O_PATH))
        try:
            kernel.os.unlink(name)
        except OSError as error:
            assert error.errno == errno.ENFILE
            break
    assert 100 <= len(os.listdir("/proc/self/fd")) - descriptors <= 300
    for fd in held:
        kernel.os.close(fd)
    # They are free again.
    kernel.os.unlink(name)
    assert os.listdir(host) == []
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 5


def test_as_git_writes(kernel: Kernel, host: Path) -> None:
    """Locks by O_EXCL, replaced by rename, read by everybody."""
    kernel.os.mkdir("/mnt/.git")
    for number in range(100):
        fd = kernel.os.open("/mnt/.git/index.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        with pytest.raises(FileExistsError):
            kernel.os.open("/mnt/.git/index.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        kernel.os.write(fd, b"%d" % number)
        kernel.os.fsync(fd)
        kernel.os.close(fd)
        kernel.os.rename("/mnt/.git/index.lock", "/mnt/.git/index")
        assert (
            get(kernel, "/mnt/.git/index") == (host / ".git/index").read_bytes() == b"%d" % number
        )
    assert os.listdir(host / ".git") == ["index"]


def test_sparse_files(kernel: Kernel, host: Path) -> None:
    fd = kernel.os.open("/mnt/sparse", os.O_CREAT | os.O_RDWR)
    kernel.os.pwrite(fd, b"end", 1 << 30)
    assert (host / "sparse").stat().st_blocks < 1000
    assert kernel.os.lseek(fd, 0, os.SEEK_DATA) >= (1 << 30) - (1 << 20)
    kernel.os.posix_fallocate(fd, 0, 1 << 20)
    assert (host / "sparse").stat().st_blocks >= 2048
    kernel.os.close(fd)


def test_random_operations_beside_the_host(kernel: Kernel, host: Path, tmp_path: Path) -> None:
    """In the manner of fsx: the same on a file of the host's, compared all the time."""
    chance = random.Random(7)
    fd = kernel.os.open("/mnt/file", os.O_CREAT | os.O_RDWR)
    twin = os.open(tmp_path / "twin", os.O_CREAT | os.O_RDWR)
    for _ in range(1500):
        offset, size = chance.randrange(300_000), chance.randrange(1, 70_000)
        match chance.randrange(6):
            case 0 | 1:
                data = chance.randbytes(size)
                kernel.os.pwrite(fd, data, offset)
                os.pwrite(twin, data, offset)
            case 2:
                kernel.os.ftruncate(fd, offset)
                os.ftruncate(twin, offset)
            case 3:
                kernel.os.posix_fallocate(fd, offset, size)
                os.posix_fallocate(twin, offset, size)
            case _:
                assert kernel.os.pread(fd, size, offset) == os.pread(twin, size, offset)
        assert kernel.os.fstat(fd).st_size == os.fstat(twin).st_size
    kernel.os.close(fd)
    os.close(twin)
    assert (host / "file").read_bytes() == (tmp_path / "twin").read_bytes()


def test_two_kernels(boot: Boot, host: Path) -> None:
    """Each sees at once what the other has done, and appends lose nothing."""
    one, two = (mounted(boot, HostDirectory(host)) for _ in range(2))
    for number in range(30):
        put(one, "/mnt/file", b"%d" % number)
        assert get(two, "/mnt/file") == b"%d" % number
        two.os.rename("/mnt/file", "/mnt/moved")
        assert not one.os.path.exists("/mnt/file")
        one.os.unlink("/mnt/moved")
        assert two.os.listdir("/mnt") == []
    logs = [k.os.open("/mnt/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for k in (one, two)]
    for number in range(100):
        for k, fd in zip((one, two), logs, strict=True):
            k.os.write(fd, b"%06d\n" % number)
    assert sorted((host / "log").read_bytes().split()) == sorted(
        [b"%06d" % n for n in range(100)] * 2
    )


def test_read_only(boot: Boot, host: Path) -> None:
    (host / "file").write_text("text")
    kernel = mounted(boot, HostDirectory(host, read_only=True))
    assert get(kernel, "/mnt/file") == b"text"
    changes: list[Callable[[], object]] = [
        lambda: put(kernel, "/mnt/file", b""),
        lambda: kernel.os.unlink("/mnt/file"),
        lambda: kernel.os.mkdir("/mnt/d"),
        lambda: kernel.os.chmod("/mnt/file", 0),
        lambda: kernel.os.rename("/mnt/file", "/mnt/x"),
    ]
    for change in changes:
        with pytest.raises(OSError, match="Read-only") as caught:
            change()
        assert caught.value.errno == errno.EROFS
    assert (host / "file").read_text() == "text"


class TestConfinement:
    """Nothing outside of the directory can be reached."""

    def test_links_lead_into_the_kernels_own_tree(self, kernel: Kernel, host: Path) -> None:
        (host / "up").symlink_to("../secret")
        (host / "absolute").symlink_to(host.parent / "secret")
        (host / "dots").symlink_to("../../../../../../../.." + str(host.parent / "secret"))
        for name in ("up", "absolute", "dots"):
            with pytest.raises(FileNotFoundError):
                get(kernel, f"/mnt/{name}")
        put(kernel, "/secret", b"the kernel's own")
        assert get(kernel, "/mnt/up") == b"the kernel's own"
        assert (host.parent / "secret").read_text() == "secret"

    def test_dots(self, kernel: Kernel) -> None:
        kernel.os.mkdir("/mnt/d")
        assert kernel.os.stat("/mnt/d/../..").st_dev != kernel.os.stat("/mnt").st_dev
        with pytest.raises(FileNotFoundError):
            get(kernel, "/mnt/d/../../secret")

    def test_a_directory_that_becomes_a_link(self, kernel: Kernel, host: Path) -> None:
        """While the kernel walks through it; and a directory that is moved out meanwhile."""
        (host / "d").mkdir()
        (host / "d/secret").write_text("inside")
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                (host / "d").rename(host / "aside")
                (host / "d").symlink_to("..")
                time.sleep(0.0005)
                (host / "d").unlink()
                (host / "aside").rename(host / "d")
                time.sleep(0.0005)

        thread = threading.Thread(target=swap)
        thread.start()
        seen = set()
        try:
            for _ in range(400):
                try:
                    seen.add(get(kernel, "/mnt/d/secret"))
                except OSError as error:
                    assert error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)
        finally:
            stop.set()
            thread.join()
        assert seen <= {b"inside"}

    def test_devices(self, kernel: Kernel, host: Path) -> None:
        with pytest.raises(PermissionError):
            kernel.os.mknod("/mnt/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert os.listdir(host) == []


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HostDirectory(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        HostDirectory(tmp_path / "file")
    with pytest.raises(ValueError, match="negative"):
        HostDirectory(tmp_path, cache=-1)
    for tag in ("", "t" * 37):
        with pytest.raises(ValueError, match="bad arguments of a directory"):
            HostDirectory(tmp_path, tag=tag)


def test_a_directory_that_the_kernel_does_not_have(
    kernel: Kernel, host: Path, tmp_path: Path
) -> None:
    """Also not if it has one with the same name."""
    for tag in ("other", None):
        with pytest.raises(ValueError, match="not one of this kernel's devices"):
            kernel.mount(HostDirectory(tmp_path, tag=tag), "/other")
    with pytest.raises(OSError, match=r"Errno|tag"):
        kernel.mount("other", "/other", "virtiofs")


def test_two_directories(boot: Boot, tmp_path: Path) -> None:
    """Each is mounted where it was asked for, and two of one tag are refused."""
    directories = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
        directories.append(HostDirectory(tmp_path / name))
    kernel = boot(devices=directories[:2])
    kernel.plug(directories[2])
    for number, directory in enumerate(directories):
        kernel.mount(directory, f"/mnt{number}")
    assert [get(kernel, f"/mnt{n}/name") for n in range(3)] == [b"one", b"two", b"three"]
    same = [HostDirectory(tmp_path / name, tag="same") for name in ("one", "two")]
    with pytest.raises(ValueError, match="the tag 'same'"):
        boot(devices=same)
    kernel.plug(same[0])
    with pytest.raises(ValueError, match="the tag 'same'"):
        kernel.plug(same[1])
