# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os`` beside the host's ``os``: directories and files by descriptors."""

from __future__ import annotations

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
def entries_of_an_open_directory(os: Any, root: str) -> Any:
    make(os, f"{root}/file", b"12345")
    os.symlink("file", f"{root}/link")
    os.mkdir(f"{root}/dir")
    fd = os.open(root, os.O_RDONLY)
    result: list[Any] = []
    # Twice: the position of the descriptor is not used up.
    for _ in range(2):
        with os.scandir(fd) as entries:
            result.append(
                sorted(
                    (e.name, e.path, e.is_dir(), e.stat().st_size if e.is_file() else None)
                    for e in entries
                )
            )
    result.append(sorted(os.listdir(fd)))
    walked = [(p, sorted(d), sorted(f)) for p, d, f, _ in os.fwalk(root)]
    result.append(walked)
    relative = [(p, sorted(d), sorted(f)) for p, d, f, _ in os.fwalk("dir", dir_fd=fd)]
    return [*result, relative, os.close(fd)]


@story
def what_a_directory_entry_remembers(os: Any, root: str) -> Any:
    make(os, f"{root}/file", b"12345")
    with os.scandir(root) as entries:
        [entry] = entries
    before = entry.stat().st_size
    os.unlink(f"{root}/file")
    return [before, entry.stat().st_size, entry.is_file(), entry.inode() > 0]


@story
def relative_to_a_directory(os: Any, root: str) -> Any:
    os.mkdir(f"{root}/d")
    fd = os.open(f"{root}/d", os.O_RDONLY)
    file = os.open("a", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=fd)
    result: list[Any] = [os.write(file, b"abc"), os.close(file)]
    os.mkdir("sub", dir_fd=fd)
    os.link("a", "b", src_dir_fd=fd, dst_dir_fd=fd)
    os.symlink("a", "c", dir_fd=fd)
    os.mkfifo("f", 0o600, dir_fd=fd)
    os.mknod("n", 0o600 | stat.S_IFCHR, os.makedev(1, 3), dir_fd=fd)
    os.rename("b", "sub/b", src_dir_fd=fd, dst_dir_fd=fd)
    os.chmod("a", 0o604, dir_fd=fd)
    os.chown("c", 3, 4, dir_fd=fd, follow_symlinks=False)
    os.utime("c", ns=(1, 2), dir_fd=fd, follow_symlinks=False)
    for name in ("a", "sub/b", "c", "f", "n"):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        result.append((oct(status.st_mode), status.st_nlink, status.st_size, status.st_uid))
    result += [os.stat("c", dir_fd=fd, follow_symlinks=False).st_mtime_ns]
    result += [os.readlink("c", dir_fd=fd), os.access("a", os.R_OK, dir_fd=fd)]
    result += [os.unlink("sub/b", dir_fd=fd), os.rmdir("sub", dir_fd=fd), sorted(os.listdir(fd))]
    result += [error_of(os.stat, "none", dir_fd=fd), os.close(fd)]
    return result


@story
def descriptors_in_place_of_paths(os: Any, root: str) -> Any:
    make(os, f"{root}/a", b"abc")
    fd = os.open(f"{root}/a", os.O_RDWR)
    result: list[Any] = [os.stat(fd).st_size, os.chmod(fd, 0o600), os.chown(fd, 1, 2)]
    result += [os.utime(fd, (1, 2)), os.truncate(fd, 1), os.statvfs(fd).f_namemax]
    result += [os.pathconf(fd, "PC_NAME_MAX"), os.stat(fd).st_uid, os.close(fd)]
    calls = (
        *((os.stat,), (os.listdir,), (os.chmod, 1), (os.truncate, 1), (os.utime,), (os.chdir,)),
        *((os.getxattr, "user.x"), (os.statvfs,), (os.chown, 1, 1), (os.ftruncate, 1)),
        *((os.scandir,), (os.fstat,), (os.fchmod, 1), (os.fsync,), (os.fchdir,), (os.listxattr,)),
    )
    for call, *args in calls:
        result.append(error_of(call, 999, *args))
    for call, keywords in (
        (os.stat, {"dir_fd": 0}),
        (os.stat, {"follow_symlinks": False}),
        (os.utime, {"dir_fd": 0}),
        (os.chown, {"dir_fd": 0, "uid": 0, "gid": 0}),
        (os.getxattr, {"attribute": "user.x", "follow_symlinks": False}),
        (os.listxattr, {"follow_symlinks": False}),
    ):
        try:
            call(1, **keywords)
        except ValueError as error:
            result.append(str(error))
    return result


@story
def modes_of_links(os: Any, root: str) -> Any:
    make(os, f"{root}/a")
    os.symlink("a", f"{root}/l")
    os.chmod(f"{root}/a", 0o621, follow_symlinks=False)
    result: list[Any] = [oct(os.stat(f"{root}/a").st_mode)]
    try:
        os.chmod(f"{root}/l", 0o600, follow_symlinks=False)
    except NotImplementedError as error:
        result.append(str(error))
    return result


@story
def hard_links_to_symbolic_links(os: Any, root: str) -> Any:
    make(os, f"{root}/a")
    os.symlink("a", f"{root}/l")
    os.link(f"{root}/l", f"{root}/m")
    os.link(f"{root}/l", f"{root}/n", follow_symlinks=False)
    fd = os.open(root, os.O_RDONLY)
    os.link("l", "o", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    return [os.path.islink(f"{root}/{name}") for name in "mno"]


@story
def renames(os: Any, root: str) -> Any:
    os.makedirs(f"{root}/a/b")
    make(os, f"{root}/a/b/file")
    os.renames(f"{root}/a/b/file", f"{root}/x/y/file")
    return [sorted(os.listdir(root)), os.listdir(f"{root}/x/y")]


@story
def names_that_are_no_text(os: Any, root: str) -> Any:
    raw = root.encode() + b"/\xff\xfe"
    make(os, raw)
    result = [os.listdir(root), os.listdir(root.encode()), os.fsdecode(raw), os.fsencode(root)]
    return [*result, os.path.exists(os.fsdecode(raw))]


@story
def what_is_deep(os: Any, root: str) -> Any:
    """Deeper than a path may be long: only by descriptors."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    result = [os.listdir(fd), os.close(fd), error_of(os.stat, root + ("/" + "d" * 200) * 30)]
    return [result[0], result[1], result[2][:2]]
