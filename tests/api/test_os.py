# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os`` beside the host's ``os``: each story is told to both, with the same end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel
from tests.api.stories import Stories, Story, error_of, make, tell

pytestmark = pytest.mark.kernel

story = Stories()


@pytest.mark.parametrize("told", story, ids=lambda s: s.__name__)
def test_same_end(told: Story, kernel: Kernel, tmp_path: Path) -> None:
    tell(told, kernel, tmp_path)


@story
def reading_and_writing(os: Any, root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
    result = [os.write(fd, b"hello world"), os.lseek(fd, 0, os.SEEK_SET), os.read(fd, 5)]
    result += [os.read(fd, 100), os.read(fd, 100), os.pread(fd, 3, 6), os.pwrite(fd, b"WO", 6)]
    result += [os.pread(fd, 100, 0), os.lseek(fd, -3, os.SEEK_END), os.ftruncate(fd, 4)]
    result += [os.fstat(fd).st_size, os.fsync(fd), os.fdatasync(fd), os.close(fd)]
    return result


@story
def vectors(os: Any, root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
    a, b = bytearray(3), bytearray(20)
    result = [os.writev(fd, [b"ab", bytearray(b"cdefg"), memoryview(b"h")])]
    result += [os.lseek(fd, 0, 0), os.readv(fd, [a, b]), bytes(a), bytes(b)]
    result += [os.pwritev(fd, [b"X", b"Y"], 2), os.preadv(fd, [a], 1), bytes(a)]
    os.close(fd)
    return result


@story
def errors(os: Any, root: str) -> Any:
    make(os, f"{root}/file")
    os.mkdir(f"{root}/dir")
    make(os, f"{root}/dir/x")
    return [
        error_of(os.open, f"{root}/nothing", os.O_RDONLY),
        error_of(os.open, f"{root}/file", os.O_CREAT | os.O_EXCL),
        error_of(os.open, f"{root}/file/x", os.O_RDONLY),
        error_of(os.open, f"{root}/dir", os.O_WRONLY),
        error_of(os.stat, f"{root}/nothing"),
        error_of(os.lstat, root.encode() + b"/nothing"),
        error_of(os.mkdir, f"{root}/dir"),
        error_of(os.rmdir, f"{root}/dir"),
        error_of(os.rmdir, f"{root}/file"),
        error_of(os.unlink, f"{root}/nothing"),
        error_of(os.rename, f"{root}/nothing", f"{root}/else"),
        error_of(os.link, f"{root}/nothing", f"{root}/else"),
        error_of(os.symlink, "x", f"{root}/file"),
        error_of(os.readlink, f"{root}/file"),
        error_of(os.listdir, f"{root}/file"),
        error_of(os.listdir, f"{root}/nothing"),
        error_of(os.chdir, f"{root}/file"),
        error_of(os.truncate, f"{root}/nothing", 0),
        error_of(os.makedirs, f"{root}/file/x/y"),
        error_of(os.close, 12345),
        error_of(os.read, 12345, 1),
        error_of(os.open, "x" * 300, os.O_RDONLY),
    ]


@story
def names_with_nul(os: Any, root: str) -> Any:
    try:
        os.open(f"{root}/a\0b", os.O_RDONLY)
    except ValueError as error:
        return "null" in str(error)


@story
def descriptors(os: Any, root: str) -> Any:
    make(os, f"{root}/a", b"0123456789")
    fd = os.open(f"{root}/a", os.O_RDONLY)
    copy = os.dup(fd)
    result = [os.read(copy, 3), os.read(fd, 3), os.get_inheritable(copy), os.get_blocking(fd)]
    other = os.dup2(fd, 77)
    result += [other, os.get_inheritable(77), os.read(77, 2)]
    os.set_inheritable(fd, True)
    os.set_blocking(fd, False)
    result += [os.get_inheritable(fd), os.get_blocking(fd), os.isatty(fd)]
    os.closerange(77, 80)
    result += [error_of(os.read, 77, 1), os.close(fd), os.close(copy)]
    return result


@story
def pipes(os: Any, root: str) -> Any:
    r, w = os.pipe()
    result = [os.write(w, b"abc"), os.read(r, 10), os.get_inheritable(r)]
    os.set_blocking(r, False)
    result += [error_of(os.read, r, 1), os.close(w), os.read(r, 1), os.close(r)]
    r, w = os.pipe2(os.O_NONBLOCK)
    result += [os.get_blocking(r), os.get_inheritable(r), os.close(r), error_of(os.write, w, b"x")]
    os.close(w)
    return result


@story
def directories(os: Any, root: str) -> Any:
    os.makedirs(f"{root}/a/b/c")
    os.makedirs(f"{root}/a/b/c", exist_ok=True)
    make(os, f"{root}/a/file", b"12345")
    os.symlink("file", f"{root}/a/link")
    os.symlink("b", f"{root}/a/dirlink")
    os.symlink("nowhere", f"{root}/a/dangling")
    result: list[Any] = [sorted(os.listdir(f"{root}/a")), sorted(os.listdir(f"{root}/a".encode()))]
    with os.scandir(f"{root}/a") as entries:
        result += sorted(
            (
                *(e.name, e.path, e.is_dir(), e.is_file(), e.is_symlink()),
                *(e.is_dir(follow_symlinks=False), e.stat(follow_symlinks=False).st_mode),
                os.fspath(e),
                repr(e),
                e.is_junction() if hasattr(e, "is_junction") else False,
            )
            for e in entries
        )
    for top in (f"{root}/a", f"{root}/a".encode()):
        for options in ({}, {"topdown": False}, {"followlinks": True}):
            walked = [(p, sorted(d), sorted(f)) for p, d, f in os.walk(top, **options)]
            # Which of two names comes first is the file system's affair.
            result += sorted(walked) if "followlinks" in options else walked
    os.rmdir(f"{root}/a/b/c")
    fd = os.open(f"{root}/a", os.O_RDONLY)
    result += [sorted(os.listdir(fd)), os.stat("file", dir_fd=fd).st_size, os.close(fd)]
    os.makedirs(f"{root}/p/q/r")
    os.removedirs(f"{root}/p/q/r")
    return [*result, os.path.exists(f"{root}/p")]


@story
def walking_changes_what_is_walked(os: Any, root: str) -> Any:
    for name in ("a/x", "b/x", "c/x"):
        os.makedirs(f"{root}/{name}")
    seen = []
    for here, dirs, _ in os.walk(root):
        dirs[:] = [d for d in sorted(dirs) if d != "b"]
        seen.append(here)
    failures: list[Any] = []
    list(os.walk(f"{root}/nothing", onerror=failures.append))
    return [seen, [f.errno for f in failures]]


@story
def links(os: Any, root: str) -> Any:
    make(os, f"{root}/a", b"xyz")
    os.link(f"{root}/a", f"{root}/b")
    os.symlink("a", f"{root}/c")
    result = [os.stat(f"{root}/b").st_nlink, os.readlink(f"{root}/c")]
    result += [os.readlink(f"{root}/c".encode()), os.stat(f"{root}/c").st_size]
    result += [stat.S_ISLNK(os.lstat(f"{root}/c").st_mode)]
    os.rename(f"{root}/a", f"{root}/d")
    os.replace(f"{root}/b", f"{root}/d")
    return [*result, sorted(os.listdir(root)), error_of(os.stat, f"{root}/c")]


@story
def attributes(os: Any, root: str) -> Any:
    old = os.umask(0o027)
    make(os, f"{root}/a", b"x" * 5000, 0o777)
    os.umask(old)
    status = os.stat(f"{root}/a")
    result = [oct(status.st_mode), status.st_size, status.st_nlink, status.st_uid]
    os.chmod(f"{root}/a", 0o640)
    os.chown(f"{root}/a", 12, 34)
    os.utime(f"{root}/a", (1.5, 2.25))
    status = os.stat(f"{root}/a")
    result += [oct(status.st_mode), status.st_uid, status.st_gid]
    result += [status.st_atime, status.st_mtime, status.st_mtime_ns]
    os.utime(f"{root}/a", ns=(10**18 + 1, 10**18 + 3))
    os.truncate(f"{root}/a", 3)
    result += [os.stat(f"{root}/a").st_atime_ns, os.stat(f"{root}/a").st_size]
    fd = os.open(f"{root}/a", os.O_RDWR)
    os.chmod(fd, 0o600)
    os.fchmod(fd, 0o604)
    os.fchown(fd, -1, 35)
    os.truncate(fd, 2)
    os.utime(fd, (7, 8))
    status = os.fstat(fd)
    result += [oct(status.st_mode), status.st_gid, status.st_size, status.st_mtime]
    return [*result, os.close(fd), os.access(f"{root}/a", os.R_OK), os.access("/x", os.F_OK)]


@story
def special_files(os: Any, root: str) -> Any:
    os.mkfifo(f"{root}/fifo", 0o600)
    os.mknod(f"{root}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    status = os.stat(f"{root}/null")
    fd = os.open("/dev/zero", os.O_RDONLY)
    result = [oct(os.stat(f"{root}/fifo").st_mode), os.major(status.st_rdev), os.read(fd, 4)]
    return [*result, os.minor(status.st_rdev), os.close(fd)]


@story
def working_directory(os: Any, root: str) -> Any:
    before = os.getcwd()
    try:
        os.mkdir(f"{root}/a")
        os.chdir(f"{root}/a")
        make(os, "file")
        result = [os.getcwd(), os.getcwdb(), os.listdir(), [e.path for e in os.scandir()]]
        result += [os.path.abspath("x"), os.path.realpath("../a/file"), os.path.relpath(root)]
        fd = os.open(root, os.O_RDONLY)
        os.fchdir(fd)
        os.close(fd)
        return [*result, os.getcwd()]
    finally:
        os.chdir(before)


@story
def paths(os: Any, root: str) -> Any:
    make(os, f"{root}/file", b"abc")
    os.symlink("file", f"{root}/link")
    os.symlink("nowhere", f"{root}/dangling")
    os.utime(f"{root}/file", (5, 6))
    names = ("file", "link", "dangling", "nothing", ".")
    tests = (os.path.exists, os.path.lexists, os.path.isfile, os.path.isdir, os.path.islink)
    result = [[test(f"{root}/{name}") for name in names] for test in tests]
    result += [os.path.getsize(f"{root}/file"), os.path.getmtime(f"{root}/link")]
    result += [os.path.samefile(f"{root}/file", f"{root}/link"), os.path.ismount(root)]
    return [*result, os.path.realpath(f"{root}/./link"), os.path.join("a", "b")]


@story
def moving_within_the_kernel(os: Any, root: str) -> Any:
    make(os, f"{root}/a", bytes(range(256)) * 40)
    source = os.open(f"{root}/a", os.O_RDONLY)
    target = os.open(f"{root}/b", os.O_CREAT | os.O_RDWR)
    result = [os.sendfile(target, source, 10, 100), os.copy_file_range(source, target, 50, 0, 200)]
    r, w = os.pipe()
    result += [os.splice(source, w, 20, offset_src=3), os.read(r, 100), os.pread(target, 300, 0)]
    for fd in (source, target, r, w):
        os.close(fd)
    return result


@story
def files_without_names(os: Any, root: str) -> Any:
    fd = os.memfd_create("x")
    result = [os.write(fd, b"abc"), os.pread(fd, 10, 0), os.get_inheritable(fd), os.close(fd)]
    counter = os.eventfd(3, os.EFD_NONBLOCK)
    os.eventfd_write(counter, 4)
    return [
        *result,
        os.eventfd_read(counter),
        error_of(os.eventfd_read, counter),
        os.close(counter),
    ]


@story
def room(os: Any, root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 10000)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    size = os.fstat(fd).st_size
    same = os.statvfs(root)[:3] == os.fstatvfs(fd)[:3]
    os.close(fd)
    return [size, same]


@story
def extended_attributes(os: Any, root: str) -> Any:
    make(os, f"{root}/a")
    os.setxattr(f"{root}/a", "user.one", b"1")
    os.setxattr(f"{root}/a", b"user.two", b"22", os.XATTR_CREATE)
    result = [os.getxattr(f"{root}/a", "user.one"), sorted(os.listxattr(f"{root}/a"))]
    result += [error_of(os.setxattr, f"{root}/a", "user.one", b"", os.XATTR_CREATE)]
    os.removexattr(f"{root}/a", "user.one")
    fd = os.open(f"{root}/a", os.O_RDONLY)
    result += [os.getxattr(fd, "user.two"), os.listxattr(fd), os.close(fd)]
    return [*result, error_of(os.getxattr, f"{root}/a", "user.one")]


@story
def what_is_refused_before_the_kernel_sees_it(os: Any, root: str) -> Any:
    kinds = []
    for call, args, keywords in (
        (os.open, (3.5, 0), {}),
        (os.read, (0,), {}),
        (os.write, (1, "text"), {}),
        (os.utime, (root, (1, 2)), {"ns": (1, 2)}),
        (os.copy_file_range, (0, 1, -1), {}),
        (os.fdopen, ("x",), {}),
    ):
        try:
            call(*args, **keywords)
        except (TypeError, ValueError) as error:
            kinds.append(type(error).__name__)
    return kinds


def test_who_and_where(kernel: Kernel) -> None:
    name = kernel.os.uname()
    assert name.sysname == "Linux"
    assert name.release == kernel.release
    assert kernel.os.getpid() == 1
    assert kernel.os.getppid() == 0
    assert (kernel.os.getuid(), kernel.os.geteuid(), kernel.os.getgid()) == (0, 0, 0)
    assert kernel.os.getpgid(0) >= 0
    assert len(kernel.os.getloadavg()) == 3
    assert kernel.os.getgroups() == []
    assert kernel.os.sched_yield() is None  # type: ignore[func-returns-value]


def test_random_bytes(kernel: Kernel) -> None:
    assert len(kernel.os.urandom(1000)) == 1000
    assert kernel.os.getrandom(16) != kernel.os.getrandom(16)


def test_a_root_of_ones_own(kernel: Kernel) -> None:
    kernel.os.makedirs("/tmp/jail/inside")
    with kernel.process():
        kernel.os.chroot("/tmp/jail")
        assert kernel.os.listdir("/") == ["inside"]
    assert kernel.os.path.isdir("/tmp/jail/inside")


def test_an_iterator_that_is_dropped_closes_its_directory(kernel: Kernel) -> None:
    before = len(kernel.os.listdir("/proc/self/fd"))
    with pytest.warns(ResourceWarning, match="unclosed scandir iterator"):
        for _ in kernel.os.scandir("/"):
            break
    assert len(kernel.os.listdir("/proc/self/fd")) == before


def test_a_large_directory(kernel: Kernel) -> None:
    kernel.os.mkdir("/tmp/many")
    names = {f"{i:05d}-with-a-name-that-takes-room" for i in range(3000)}
    for name in names:
        kernel.os.close(kernel.os.open(f"/tmp/many/{name}", os.O_CREAT | os.O_WRONLY))
    found = kernel.os.listdir("/tmp/many")
    assert len(found) == 3000
    assert set(found) == names


def test_names_that_are_not_there(kernel: Kernel) -> None:
    for name in ("fork", "putenv", "nonsense", "O_NONSENSE"):
        with pytest.raises(AttributeError, match=f"kernel.os has no '{name}'"):
            getattr(kernel.os, name)


def test_constants_are_the_hosts(kernel: Kernel) -> None:
    assert kernel.os.O_CREAT == os.O_CREAT
    assert kernel.os.error is OSError
    assert kernel.os.fsencode("ä") == os.fsencode("ä")
    assert errno.ENOENT == 2
