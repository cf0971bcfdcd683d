# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: what works on paths."""

from __future__ import annotations

import _struct as struct
import errno
import os

from rumpel.os.base import (
    AT_EMPTY_PATH,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    NUMBERS,
    VOID,
    Base,
    at,
    c_int,
    fileno,
    on_descriptor,
    raise_about,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rumpel import _native
    from rumpel.os.base import AnyPath, Descriptor, FileOrPath

_STATX_BASIC = 0x7FF
# struct statx: what os.stat_result has, and padding.
_STATX = struct.Struct("<II Q III Hxx QQQ Q qIxxxx qIxxxx qIxxxx qIxxxx IIII")
_STATFS = struct.Struct("<qqQQQQQ8xqqq")
_ST_VALID = 0x20
_NS = 1_000_000_000
_UTIME_NOW = (1 << 30) - 1
_PATHCONF = {"PC_NAME_MAX": 0, "PC_PATH_MAX": 4096, "PC_PIPE_BUF": 4096}
"""Names that are about the kernel, and what it says; 0: see the file system."""


class Paths(Base):
    """Functions of :mod:`os` on files by name."""

    umask: Callable[[int], int]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        bind = self._bind
        self.umask = bind("umask", flags=NUMBERS)
        self._statx = bind("statx", flags=VOID, paths=2)
        self._fstatx = bind("statx", flags=VOID)
        self._statfs = bind("statfs", flags=VOID, paths=1)
        self._fstatfs = bind("fstatfs", flags=VOID)
        self._linkat = bind("linkat", flags=VOID | NUMBERS, paths=10)
        self._symlinkat = bind("symlinkat", flags=VOID | NUMBERS, paths=5)
        self._readlinkat = bind("readlinkat", paths=2)
        self._renameat = bind("renameat2", flags=VOID | NUMBERS, paths=10)
        self._unlinkat = bind("unlinkat", flags=VOID | NUMBERS, paths=2)
        self._fchmodat = bind("fchmodat", flags=VOID | NUMBERS, paths=2)
        self._fchmod = bind("fchmod", flags=VOID | NUMBERS)
        self._fchownat = bind("fchownat", flags=VOID | NUMBERS, paths=2)
        self._fchown = bind("fchown", flags=VOID | NUMBERS)
        self._truncate = bind("truncate", flags=VOID | NUMBERS, paths=1)
        self._ftruncate = bind("ftruncate", flags=VOID | NUMBERS)
        self._faccessat = bind("faccessat2", flags=VOID | NUMBERS, paths=2)
        self._utimensat = bind("utimensat", flags=VOID, paths=2)
        self._futimens = bind("utimensat", flags=VOID)
        self._mknodat = bind("mknodat", flags=VOID | NUMBERS, paths=2)
        self._chdir = bind("chdir", flags=VOID | NUMBERS, paths=1)
        self._fchdir = bind("fchdir", flags=VOID | NUMBERS)
        self._chroot = bind("chroot", flags=VOID | NUMBERS, paths=1)
        self._getcwd = bind("getcwd")

    def stat(
        self, path: FileOrPath, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        """Look at a file."""
        buffer = bytearray(256)
        if isinstance(path, int):
            on_descriptor("stat", dir_fd, follow_symlinks)
            try:
                self._fstatx(c_int(path), b"", AT_EMPTY_PATH, _STATX_BASIC, buffer)
            except OSError as error:
                raise_about(error, path)
        else:
            flags = 0 if follow_symlinks else AT_SYMLINK_NOFOLLOW
            self._statx(at(dir_fd), path, flags, _STATX_BASIC, buffer)
        return stat_result(buffer)

    def lstat(self, path: AnyPath, *, dir_fd: int | None = None) -> os.stat_result:
        """Look at a file, not at what a symbolic link leads to."""
        if isinstance(path, int):
            raise TypeError("lstat: path should be string, bytes or os.PathLike, not int")
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def fstat(self, fd: int) -> os.stat_result:
        """Look at an open file."""
        buffer = bytearray(256)
        self._fstatx(c_int(fd), b"", AT_EMPTY_PATH, _STATX_BASIC, buffer)
        return stat_result(buffer)

    def statvfs(self, path: FileOrPath) -> os.statvfs_result:
        """Look at a file system."""
        if isinstance(path, int):
            try:
                return self.fstatvfs(path)
            except OSError as error:
                raise_about(error, path)
        buffer = bytearray(120)
        self._statfs(path, buffer)
        return statvfs_result(buffer)

    def fstatvfs(self, fd: int, /) -> os.statvfs_result:
        """Look at the file system of an open file."""
        buffer = bytearray(120)
        self._fstatfs(fd, buffer)
        return statvfs_result(buffer)

    def access(
        self,
        path: AnyPath,
        mode: int,
        *,
        dir_fd: int | None = None,
        effective_ids: bool = False,
        follow_symlinks: bool = True,
    ) -> bool:
        """May the caller do this to a file?"""
        at_eaccess = 0x200
        flags = (at_eaccess if effective_ids else 0) | (
            0 if follow_symlinks else AT_SYMLINK_NOFOLLOW
        )
        try:
            self._faccessat(at(dir_fd), path, mode, flags)
        except OSError:
            return False
        return True

    def link(
        self,
        src: AnyPath,
        dst: AnyPath,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Give a file another name."""
        # link(2) does not follow, whatever the default says; nor does the host's os.link.
        at_all = src_dir_fd is not None or dst_dir_fd is not None
        flags = AT_SYMLINK_FOLLOW if follow_symlinks and at_all else 0
        self._linkat(at(src_dir_fd), src, at(dst_dir_fd), dst, flags)

    def symlink(
        self,
        src: AnyPath,
        dst: AnyPath,
        target_is_directory: bool = False,
        *,
        dir_fd: int | None = None,
    ) -> None:
        """Make a symbolic link ``dst`` that leads to ``src``."""
        self._symlinkat(src, at(dir_fd), dst)

    def readlink(self, path: AnyPath, *, dir_fd: int | None = None) -> str | bytes:
        """Say where a symbolic link leads: str, or bytes for a path of bytes."""
        path = self.fspath(path)
        buffer = bytearray(4096)
        size = self._readlinkat(at(dir_fd), path, buffer, len(buffer))
        target = bytes(buffer[:size])
        return target if isinstance(path, bytes) else os.fsdecode(target)

    def rename(
        self,
        src: AnyPath,
        dst: AnyPath,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        """Rename a file; a file that has the name already is replaced."""
        self._renameat(at(src_dir_fd), src, at(dst_dir_fd), dst, 0)

    replace = rename

    def unlink(self, path: AnyPath, *, dir_fd: int | None = None) -> None:
        """Remove a file."""
        self._unlinkat(at(dir_fd), path, 0)

    remove = unlink

    def rmdir(self, path: AnyPath, *, dir_fd: int | None = None) -> None:
        """Remove an empty directory."""
        self._unlinkat(at(dir_fd), path, AT_REMOVEDIR)

    def chmod(
        self,
        path: FileOrPath,
        mode: int,
        *,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Change permissions."""
        if isinstance(path, int):
            try:
                self._fchmod(path, mode)
            except OSError as error:
                raise_about(error, path)
        elif follow_symlinks:
            self._fchmodat(at(dir_fd), path, mode)
        else:
            fchmodat2 = self._call("fchmodat2", VOID, paths=2)
            try:
                fchmodat2(at(dir_fd), path, mode, AT_SYMLINK_NOFOLLOW)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                # Modes of symbolic links: the host's os.chmod says it in this way, too.
                text = "chmod: follow_symlinks unavailable on this platform"
                raise NotImplementedError(text) from error

    def chown(
        self,
        path: FileOrPath,
        uid: int,
        gid: int,
        *,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Change owner and group; -1 leaves one as it is."""
        if isinstance(path, int):
            on_descriptor("chown", dir_fd, follow_symlinks)
            try:
                self._fchown(path, uid, gid)
            except OSError as error:
                raise_about(error, path)
        else:
            flags = 0 if follow_symlinks else AT_SYMLINK_NOFOLLOW
            self._fchownat(at(dir_fd), path, uid, gid, flags)

    def lchown(self, path: AnyPath, uid: int, gid: int) -> None:
        """Change the owner of a symbolic link itself."""
        self.chown(path, uid, gid, follow_symlinks=False)

    def truncate(self, path: FileOrPath, length: int) -> None:
        """Make a file this long."""
        if isinstance(path, int):
            self._ftruncate(path, length)
        else:
            self._truncate(path, length)

    def utime(
        self,
        path: FileOrPath,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Set the times of last access and modification; by default to now."""
        if times is not None and ns is not None:
            raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
        for name, pair in (("times", times), ("ns", ns)):
            if pair is not None and not (isinstance(pair, tuple) and len(pair) == 2):
                raise TypeError(
                    f"utime: '{name}' must be either a tuple of two ints or None"
                    if name == "times"
                    else "utime: 'ns' must be a tuple of two ints"
                )
        if times is not None:
            ns = (_to_ns(times[0]), _to_ns(times[1]))
        if ns is None:
            packed = struct.pack("<qqqq", 0, _UTIME_NOW, 0, _UTIME_NOW)
        else:
            packed = struct.pack("<qqqq", *_seconds(ns[0]), *_seconds(ns[1]))
        if isinstance(path, int):
            on_descriptor("utime", dir_fd, follow_symlinks)
            self._futimens(path, None, packed, 0)
        else:
            flags = 0 if follow_symlinks else AT_SYMLINK_NOFOLLOW
            self._utimensat(at(dir_fd), path, packed, flags)

    def mkfifo(self, path: AnyPath, mode: int = 0o666, *, dir_fd: int | None = None) -> None:
        """Make a named pipe."""
        self._mknodat(at(dir_fd), path, 0o010000 | mode, 0)

    def mknod(
        self,
        path: AnyPath,
        mode: int = 0o600,
        device: int = 0,
        *,
        dir_fd: int | None = None,
    ) -> None:
        """Make a file of any type; ``device`` as from os.makedev."""
        self._mknodat(at(dir_fd), path, mode, device)

    def chdir(self, path: FileOrPath) -> None:
        """Change the working directory of all threads."""
        if isinstance(path, int):
            try:
                self._fchdir(path)
            except OSError as error:
                raise_about(error, path)
        else:
            self._chdir(path)

    def fchdir(self, fd: Descriptor) -> None:
        """Change the working directory of all threads to one that is open."""
        self._fchdir(fileno(fd))

    @property
    def pathconf_names(self) -> dict[str, int]:
        """What :meth:`pathconf` knows: what is about the kernel, not about a C library."""
        return {name: os.pathconf_names[name] for name in _PATHCONF}

    def pathconf(self, path: FileOrPath, name: str | int) -> int:
        """Ask for a limit of a file or directory.

        Raises:
            ValueError: if there is no such name, or only a C library knows.
        """
        for each, number in self.pathconf_names.items():
            if name in (each, number):
                return _PATHCONF[each] or self.statvfs(path).f_namemax
        if isinstance(name, str | int):
            raise ValueError("unrecognized configuration name")
        raise TypeError("configuration names must be strings or integers")

    def fpathconf(self, fd: int, name: str | int, /) -> int:
        """Ask for a limit of an open file."""
        return self.pathconf(fd, name)

    def chroot(self, path: AnyPath) -> None:
        """Change the root directory of all threads."""
        self._chroot(path)

    def getcwdb(self) -> bytes:
        """Get the working directory, as bytes."""
        buffer = bytearray(4096)
        size = self._getcwd(buffer, len(buffer))
        return bytes(buffer[: size - 1])

    def getcwd(self) -> str:
        """Get the working directory."""
        return os.fsdecode(self.getcwdb())


def stat_result(buffer: bytes | bytearray) -> os.stat_result:
    """Make of a struct statx what os.stat returns."""
    fields = _STATX.unpack_from(buffer)
    _, blksize, _, nlink, uid, gid, mode, ino, size, blocks, _ = fields[:11]
    atime, atime_ns, _, _, ctime, ctime_ns, mtime, mtime_ns = fields[11:19]
    rdev_major, rdev_minor, dev_major, dev_minor = fields[19:]
    return os.stat_result(
        (
            mode,
            ino,
            os.makedev(dev_major, dev_minor),
            nlink,
            uid,
            gid,
            size,
            atime,
            mtime,
            ctime,
            atime + atime_ns * 1e-9,
            mtime + mtime_ns * 1e-9,
            ctime + ctime_ns * 1e-9,
            atime * _NS + atime_ns,
            mtime * _NS + mtime_ns,
            ctime * _NS + ctime_ns,
            blksize,
            blocks,
            os.makedev(rdev_major, rdev_minor),
        )
    )


def statvfs_result(buffer: bytes | bytearray) -> os.statvfs_result:
    """Make of a struct statfs what os.statvfs returns."""
    (_, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize, flags) = _STATFS.unpack_from(
        buffer
    )
    fsid = int.from_bytes(buffer[56:64], "little")
    return os.statvfs_result(
        (
            *(bsize, frsize or bsize, blocks, bfree, bavail),
            *(files, ffree, ffree, flags & ~_ST_VALID, namelen, fsid),
        )
    )


def _seconds(ns: int) -> tuple[int, int]:
    """Whole seconds and the rest; of what only looks like a number, an error."""
    pair = divmod(ns, _NS)
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"{type(ns).__name__}.__divmod__() must return a 2-tuple")
    return pair


def _to_ns(seconds: float) -> int:
    whole, part = divmod(seconds, 1)
    return int(whole) * _NS + int(part * _NS)
