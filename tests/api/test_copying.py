# SPDX-License-Identifier: GPL-2.0-only
"""Copies between host and kernel keep everything that cp -a keeps."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import Kernel

pytestmark = pytest.mark.kernel

ACL = struct.pack(
    "<I" + "HHI" * 5,
    *(2,),  # version
    *(0x01, 6, 0xFFFFFFFF),  # owner: rw
    *(0x02, 6, 1234),  # a user: rw
    *(0x04, 4, 0xFFFFFFFF),  # group: r
    *(0x10, 6, 0xFFFFFFFF),  # mask: rw
    *(0x20, 0, 0xFFFFFFFF),  # others: nothing
)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
"""cap_net_raw+ep, of revision 2: linux/capability.h."""


def describe(os_: Any, top: str) -> dict[str, Any]:
    """All that a copy has to keep, by name. Directories' sizes are the file system's affair."""
    found: dict[str, Any] = {}
    inodes: dict[int, str] = {}

    def add(path: str, rel: str) -> None:
        status = os_.lstat(path)
        row: list[Any] = [status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns]
        if stat.S_ISREG(status.st_mode):
            fd = os_.open(path, os.O_RDONLY)
            data = b""
            while part := os_.read(fd, 1 << 20):
                data += part
            os_.close(fd)
            row += [data, status.st_blocks * 512 < status.st_size]
        if stat.S_ISLNK(status.st_mode):
            row.append(os_.readlink(path))
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            row.append(status.st_rdev)
        if not stat.S_ISDIR(status.st_mode):
            row += [status.st_nlink, inodes.setdefault(status.st_ino, rel)]
        names = os_.listxattr(path, follow_symlinks=False)
        row.append({n: os_.getxattr(path, n, follow_symlinks=False) for n in sorted(names)})
        found[rel] = row
        if stat.S_ISDIR(status.st_mode):
            for name in sorted(os_.listdir(path)):
                add(f"{path}/{name}", f"{rel}/{name}")

    add(top, "")
    return found


def make_tree(top: Path) -> None:
    """A tree with everything in it."""
    (top / "dir" / "empty").mkdir(parents=True)
    (top / "dir" / "file").write_bytes(os.urandom(300_000))
    (top / "dir" / "again").hardlink_to(top / "dir" / "file")
    (top / "small").write_text("small")
    (top / "nothing").touch()
    (top / "link").symlink_to("dir/file")
    (top / "dangling").symlink_to("/no/where")
    (top / os.fsdecode(b"no \xff text")).write_text("x")
    with (top / "sparse").open("wb") as file:
        file.truncate(20 << 20)
        file.seek(5 << 20)
        file.write(b"in the middle")
    with (top / "hole at the end").open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(1 << 20)
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(top / "disk", 0o660 | stat.S_IFBLK, os.makedev(300, 70000))
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(top, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    os.setxattr(top / "small", "user.note", b"a note")
    os.setxattr(top / "small", "user.large", b"z" * 2000)
    os.setxattr(top / "dir", "user.dir", b"")
    os.setxattr(top / "small", "system.posix_acl_access", ACL)
    os.setxattr(top / "dir", "system.posix_acl_default", ACL)
    os.chown(top / "dir" / "file", 1001, 1002)
    (top / "dir" / "file").chmod(0o6755)
    os.setxattr(top / "dir" / "file", "security.capability", CAPABILITY)
    os.chown(top / "link", 3, 4, follow_symlinks=False)
    (top / "dir").chmod(0o1777)
    (top / "dir" / "empty").chmod(0)
    for n, name in enumerate(("link", "small", "fifo", "dir/empty", "dir", ".")):
        times = (10**18 + n, 1_111_111_111_123_456_789 + n)
        os.utime(top / name, ns=times, follow_symlinks=False)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", image], check=True)
    return image


def test_there_and_back(boot: Any, disk: Path, tmp_path: Path) -> None:
    """Host to ext4 in a kernel to host: the same tree three times, and e2fsck agrees."""
    source = tmp_path / "source"
    make_tree(source)
    with boot(disks=[disk]) as k:
        k.mount("/dev/vda", "/mnt", "ext4")
        copied = k.copy_in(source, "/mnt/tree")
        assert copied.lost == []
        assert (copied.files, copied.directories, copied.links, copied.specials) == (6, 3, 3, 4)
        assert copied.bytes < 1 << 20  # holes are not copied
        expected = describe(os, str(source))
        assert describe(k.os, "/mnt/tree") == expected
        back = k.copy_out("/mnt/tree", tmp_path / "back")
        assert (back.files, back.links, back.lost) == (6, 3, [])
    assert describe(os, str(tmp_path / "back")) == expected
    check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, check=False)
    assert check.returncode == 0, check.stdout
    debugfs = ["debugfs", "-R", "cat /tree/dir/again", str(disk)]
    again = subprocess.run(debugfs, capture_output=True, check=True).stdout
    assert again == (source / "dir" / "file").read_bytes()


def test_into_memory_of_the_kernel(kernel: Kernel, tmp_path: Path) -> None:
    """The same into tmpfs."""
    make_tree(tmp_path / "source")
    # A tmpfs has user.* attributes since 6.6 only where it is told so; it says so if not.
    copied = kernel.copy_in(tmp_path / "source", "/tmp/tree")
    assert {lost.what for lost in copied.lost} <= {"user.note", "user.large", "user.dir"}
    ours, theirs = describe(kernel.os, "/tmp/tree"), describe(os, str(tmp_path / "source"))
    for row in (*ours.values(), *theirs.values()):
        row[-1] = {n: v for n, v in row[-1].items() if not n.startswith("user.")}
    assert ours == theirs


def test_a_file_into_a_directory_and_under_a_name(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    kernel.os.mkdir("/tmp/d")
    kernel.copy_in(tmp_path / "file", "/tmp/d")
    kernel.copy_in(str(tmp_path / "file"), kernel.Path("/tmp/d/other"))
    assert sorted(kernel.os.listdir("/tmp/d")) == ["file", "other"]
    kernel.copy_out("/tmp/d/file", tmp_path / "back")
    kernel.copy_out(kernel.Path("/tmp/d"), tmp_path / "dir")
    assert (tmp_path / "back").read_text() == (tmp_path / "dir" / "other").read_text() == "one"


def test_directories_are_merged_and_files_replaced(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "new").write_text("new")
    (tmp_path / "a" / "both").write_text("new")
    kernel.os.makedirs("/tmp/t/sub")
    kernel.Path("/tmp/t/sub/old").write_text("old")
    kernel.Path("/tmp/t/both").write_text("old and longer")
    kernel.os.link("/tmp/t/both", "/tmp/t/linked")
    kernel.copy_in(tmp_path / "a", "/tmp/t")
    assert sorted(kernel.os.listdir("/tmp/t/sub")) == ["new", "old"]
    assert kernel.Path("/tmp/t/both").read_text() == "new"
    assert kernel.Path("/tmp/t/linked").read_text() == "old and longer"


def test_what_a_directory_would_pass_on_is_not_added(kernel: Kernel, tmp_path: Path) -> None:
    """A default access control list of the target's directory is for new files, not for copies."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "a" / "file").chmod(0o600)
    kernel.os.mkdir("/tmp/t")
    kernel.os.setxattr("/tmp/t", "system.posix_acl_default", ACL)
    kernel.copy_in(tmp_path / "a", "/tmp/t")
    assert kernel.os.listxattr("/tmp/t/file") == []
    assert kernel.os.stat("/tmp/t/file").st_mode & 0o777 == 0o600


def test_links_in_the_target_are_not_followed(kernel: Kernel, tmp_path: Path) -> None:
    """An image from somewhere else cannot write outside of where it is copied to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    target = tmp_path / "target"
    target.mkdir()
    (target / "dir").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    kernel.os.makedirs("/tmp/t/dir")
    kernel.Path("/tmp/t/dir/file").write_text("hostile")
    kernel.Path("/tmp/t/file").write_text("replaces the link")
    with pytest.raises(shutil.Error) as caught:
        kernel.copy_out("/tmp/t", target)
    [(source, name, reason)] = caught.value.args[0]
    assert (source, name) == ("/tmp/t/dir", str(target / "dir"))
    assert "Not a directory" in reason or "Too many levels" in reason
    assert (outside / "file").read_text() == "untouched"
    assert (target / "file").read_text() == "replaces the link"
    assert not (target / "file").is_symlink()


def test_an_attribute_that_has_no_room_is_lost(boot: Any, tmp_path: Path) -> None:
    """The file is complete without it."""
    image = tmp_path / "small.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "1024", image], check=True)
    (tmp_path / "file").write_text("x")
    os.setxattr(tmp_path / "file", "user.large", b"z" * 2000)
    with boot(disks=[image]) as k:
        k.mount("/dev/vda", "/mnt", "ext4")
        [lost] = k.copy_in(tmp_path / "file", "/mnt").lost
        assert (lost.path, lost.what, lost.error.errno) == ("/mnt/file", "user.large", errno.ENOSPC)
        assert k.Path("/mnt/file").read_text() == "x"


def test_what_fails_is_told_and_the_rest_is_copied(boot: Any, tmp_path: Path) -> None:
    """A full disk: half a file is not left behind."""
    image = tmp_path / "small.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", image], check=True)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("fits")
    (source / "b").write_bytes(b"x" * (8 << 20))
    (source / "c").write_text("fits, too")
    with boot(disks=[image]) as k:
        k.mount("/dev/vda", "/mnt", "ext4")
        with pytest.raises(shutil.Error) as caught:
            k.copy_in(source, "/mnt/t")
        [(name, _, reason)] = caught.value.args[0]
        assert name == str(source / "b")
        assert "No space left" in reason
        assert sorted(k.os.listdir("/mnt/t")) == ["a", "c"]
    with boot() as k, pytest.raises(FileNotFoundError) as missing:
        k.copy_in(tmp_path / "none", "/tmp/x")
    assert missing.value.filename == str(tmp_path / "none")


def test_a_file_system_without_attributes_says_what_it_lost(boot: Any, tmp_path: Path) -> None:
    image = tmp_path / "fat.img"
    with image.open("wb") as file:
        file.truncate(40 << 20)
    subprocess.run(["/usr/sbin/mkfs.vfat", image], check=True, capture_output=True)
    (tmp_path / "file").write_text("x")
    os.setxattr(tmp_path / "file", "user.note", b"1")
    os.chown(tmp_path / "file", 5, 6)
    with boot(disks=[image]) as k:
        k.mount("/dev/vda", "/mnt", "vfat")
        copied = k.copy_in(tmp_path / "file", "/mnt")
        assert {lost.what for lost in copied.lost} == {"owner", "user.note"}
        assert {lost.path for lost in copied.lost} == {"/mnt/file"}
        assert k.Path("/mnt/file").read_text() == "x"


def test_without_privilege_owners_are_lost_and_devices_are_errors(kernel: Kernel) -> None:
    """Copies to the host by a user who is not root."""
    with tempfile.TemporaryDirectory() as name:
        without_privilege(kernel, Path(name))


def without_privilege(kernel: Kernel, where: Path) -> None:
    kernel.os.mkdir("/tmp/t")
    kernel.Path("/tmp/t/program").write_text("x")
    kernel.os.chown("/tmp/t/program", 1234, 1234)
    kernel.os.chmod("/tmp/t/program", 0o4755)
    kernel.os.mknod("/tmp/t/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    where.chmod(0o777)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(shutil.Error) as caught:
            kernel.copy_out("/tmp/t", where / "t")
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert [row[0] for row in caught.value.args[0]] == ["/tmp/t/null"]
    status = (where / "t" / "program").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (65534, 0o755)


def test_progress_is_told(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "large").write_bytes(bytes(3 << 20))
    (tmp_path / "a" / "small").touch()
    seen: list[tuple[str, int]] = []
    kernel.copy_in(tmp_path / "a", "/tmp/a", progress=lambda c: seen.append((c.path, c.bytes)))
    assert seen[0] == ("", 0)
    assert seen[-1] == ("small", 3 << 20)
    assert len([1 for path, _ in seen if path == "large"]) > 3
    assert [done for _, done in seen] == sorted(done for _, done in seen)

    def stop(copied: Any) -> None:
        raise KeyboardInterrupt

    before = len(kernel.os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        kernel.copy_in(tmp_path / "a", "/tmp/b", progress=stop)
    assert len(kernel.os.listdir("/proc/self/fd")) == before[0]
    assert len(os.listdir("/proc/self/fd")) <= before[1]  # those of earlier tests may go


def test_mounts_can_be_left_out(kernel: Kernel, tmp_path: Path) -> None:
    kernel.os.mkdir("/tmp/t")
    kernel.mount("none", "/tmp/t/mounted", "tmpfs")
    kernel.Path("/tmp/t/mounted/x").touch()
    kernel.Path("/tmp/t/y").touch()
    kernel.copy_out("/tmp/t", tmp_path / "one", one_file_system=True)
    kernel.copy_out("/tmp/t", tmp_path / "all")
    assert sorted(p.name for p in (tmp_path / "one").rglob("*")) == ["mounted", "y"]
    assert sorted(p.name for p in (tmp_path / "all").rglob("*")) == ["mounted", "x", "y"]


def test_files_without_size(kernel: Kernel, tmp_path: Path) -> None:
    """Files of /proc say that they are empty."""
    kernel.copy_out("/proc/version", tmp_path / "version")
    assert (tmp_path / "version").read_text().startswith("Linux version")
    kernel.copy_in("/proc/self/status", "/tmp/status")
    assert "Pid:" in kernel.Path("/tmp/status").read_text()


def test_deep_trees(kernel: Kernel, tmp_path: Path) -> None:
    """Deeper than a path may be long; only what cannot be held open at once is too deep."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in ("top", *["d" * 100] * 60):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    copied = kernel.copy_in(tmp_path / "top", "/tmp/top")
    assert (copied.directories, copied.files) == (61, 1)


def test_paths_of_the_wrong_side_are_refused(kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="belongs to a kernel"):
        kernel.copy_in(kernel.Path("/tmp"), "/tmp/x")
    with pytest.raises(TypeError, match="belongs to a kernel"):
        kernel.copy_out("/tmp", kernel.Path("/tmp/x"))


def test_between_kernels(boot: Any, tmp_path: Path) -> None:
    """Both sides are modules with os's names, so two kernels will do as well."""
    from rumpel.copying import copy

    make_tree(tmp_path / "source")
    with boot() as a, boot() as b:
        a.copy_in(tmp_path / "source", "/tmp/t")
        copy(a.os, "/tmp/t", b.os, "/tmp/t")
        assert describe(a.os, "/tmp/t") == describe(b.os, "/tmp/t")


def test_not_running(kernel: Kernel, tmp_path: Path) -> None:
    kernel.halt()
    with pytest.raises(rumpel.KernelClosed):
        kernel.copy_in(tmp_path, "/tmp/x")
