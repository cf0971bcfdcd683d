# SPDX-License-Identifier: GPL-2.0-only
"""Copies of trees between the host and a kernel, or between kernels.

Both sides are modules with the names of :mod:`os`: the host's, or ``kernel.os``. What is
copied, and in which order, is what ``cp -a`` does; names within a directory are taken in
their order, so that the same tree makes the same image.

Targets are never followed: each name is made relative to a descriptor of its directory,
which was opened without following links. So a hostile image cannot write outside the
directory it is copied to.
"""

from __future__ import annotations

import contextlib
import errno
import os as host
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

__all__ = ["Copied", "Lost", "copy"]

_BUFFER = 256 << 10
_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY | host.O_NOFOLLOW
_READ = host.O_RDONLY | host.O_NOFOLLOW | host.O_NONBLOCK
_CREATE = host.O_WRONLY | host.O_CREAT | host.O_EXCL | host.O_NOFOLLOW
_DEFAULT_ACL, _ACL = "system.posix_acl_default", "system.posix_acl_access"
_NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM)
_REFUSED = (*_NO_XATTRS, errno.EINVAL, errno.ENODATA, errno.ENOSPC, errno.E2BIG, errno.EDQUOT)
"""Of an owner, a time or an attribute: what a file system has no way or no room to keep."""


class Lost(NamedTuple):
    """What of a file could not be kept, though its content was.

    Attributes:
        path: in the target.
        what: ``owner``, ``times``, or the name of an extended attribute.
        error: why.
    """

    path: str
    what: str
    error: OSError


@dataclass
class Copied:
    """What was copied so far.

    Attributes:
        path: the entry that was last begun, relative to the source; "" is the source itself.
        files: regular files; further names of one are links.
        directories: directories, those that existed before among them.
        links: symbolic links and further names of files.
        specials: devices, named pipes and sockets.
        bytes: of content; holes do not count.
        lost: what could not be kept.
    """

    path: str = ""
    files: int = 0
    directories: int = 0
    links: int = 0
    specials: int = 0
    bytes: int = 0
    lost: list[Lost] = field(default_factory=list)


Progress = Callable[[Copied], object]


def copy(
    source_os: Any,
    source: Any,
    target_os: Any,
    target: Any,
    *,
    one_file_system: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy a file or a tree; see :meth:`rumpel.Kernel.copy_in`."""
    source = source_os.fsdecode(source)
    target = target_os.fsdecode(target)
    status = source_os.lstat(source)
    if not stat.S_ISDIR(status.st_mode) and target_os.path.isdir(target):
        name = target_os.path.basename(source.rstrip("/"))
        target = target_os.path.join(target, name)
    copier = _Copier(source_os, source, target_os, target, progress)
    copier.device = status.st_dev if one_file_system else None
    copier.run(status)
    if copier.errors:
        raise shutil.Error(copier.errors)
    return copier.copied


class _Directory:
    """A directory that is being copied."""

    def __init__(
        self, rel: str, status: host.stat_result, source: int, target: int, names: list[str]
    ) -> None:
        self.rel = rel
        self.status = status
        self.source = source
        self.target = target
        self.names = iter(names)
        self.has_default_acl = False


class _Copier:
    device: int | None = None

    def __init__(
        self, source_os: Any, source: str, target_os: Any, target: str, progress: Progress | None
    ) -> None:
        self.source_os = source_os
        self.source = source
        self.target_os = target_os
        self.target = target
        self.progress = progress
        self.copied = Copied()
        self.errors: list[tuple[str, str, str]] = []
        self.stack: list[_Directory] = []
        self.first_names: dict[tuple[int, int], str] = {}
        self.view = memoryview(bytearray(_BUFFER))
        self.readinto = getattr(source_os, "_readinto", _readinto)

    def run(self, status: host.stat_result) -> None:
        try:
            self.entry(None, "", status)
            while self.stack:
                here = self.stack[-1]
                for name in here.names:
                    if self.entry(here, name, None):
                        break
                else:
                    self.leave(self.stack.pop())
        finally:
            for here in self.stack:
                self.source_os.close(here.source)
                self.target_os.close(here.target)

    def entry(self, parent: _Directory | None, name: str, status: host.stat_result | None) -> bool:
        """Copy an entry; True if it is a directory, whose entries come next."""
        rel = f"{parent.rel}/{name}" if parent and parent.rel else name
        self.copied.path = rel
        entered = False
        try:
            if parent is None:
                at = _At(None, None, self.source, self.target)
            else:
                at = _At(parent.source, parent.target, name, name)
            look = self.source_os.stat
            found = status or look(name, dir_fd=at.source, follow_symlinks=False)
            entered = self.make(at, rel, found, parent)
        except OSError as error:
            self.errors.append((*self.paths(rel), str(error)))
        if self.progress:
            self.progress(self.copied)
        return entered

    def paths(self, rel: str) -> tuple[str, str]:
        if not rel:
            return self.source, self.target
        return f"{self.source.rstrip('/')}/{rel}", f"{self.target.rstrip('/')}/{rel}"

    def make(self, at: _At, rel: str, status: host.stat_result, parent: _Directory | None) -> bool:
        if stat.S_ISDIR(status.st_mode):
            self.enter(at, rel, status)
            return True
        key = status.st_dev, status.st_ino
        first = self.first_names.get(key) if status.st_nlink > 1 else None
        if first is None:
            self.single(at, rel, status, bool(parent and parent.has_default_acl))
            if status.st_nlink > 1:
                self.first_names[key] = rel
        else:
            self.replace(at, lambda: self.link(first, at))
            self.copied.links += 1
        return False

    def single(self, at: _At, rel: str, status: host.stat_result, inherits: bool) -> None:
        """Copy what is no directory and has no other name yet."""
        if stat.S_ISREG(status.st_mode):
            self.file(at, rel, status, inherits)
            return
        if stat.S_ISLNK(status.st_mode):
            to = self.source_os.readlink(at.source_name, dir_fd=at.source)
            make = self.target_os.symlink
            self.replace(at, lambda: make(to, at.target_name, dir_fd=at.target))
            self.copied.links += 1
        else:
            make = self.target_os.mknod
            args = at.target_name, status.st_mode, status.st_rdev
            self.replace(at, lambda: make(*args, dir_fd=at.target))
            self.copied.specials += 1
        self.attributes_by_name(at, rel, status)

    def replace(self, at: _At, make: Callable[[], Any]) -> Any:
        """Make a name; if there is one already, and it is no directory, it goes."""
        try:
            return make()
        except FileExistsError:
            self.target_os.unlink(at.target_name, dir_fd=at.target)
            return make()

    def link(self, first: str, at: _At) -> None:
        top = self.stack[0].target
        name = at.target_name
        self.target_os.link(
            first, name, src_dir_fd=top, dst_dir_fd=at.target, follow_symlinks=False
        )

    # Directories

    def enter(self, at: _At, rel: str, status: host.stat_result) -> None:
        names: list[str] = []
        source = self.source_os.open(at.source_name, _DIRECTORY, dir_fd=at.source)
        try:
            if self.device in (None, status.st_dev):
                names = sorted(self.source_os.listdir(source))
            with contextlib.suppress(FileExistsError):
                self.target_os.mkdir(at.target_name, 0o700, dir_fd=at.target)
            # What is given for the target may be a link to a directory; what is below may not.
            flags = _DIRECTORY if rel else _DIRECTORY & ~host.O_NOFOLLOW
            target = self.target_os.open(at.target_name, flags, dir_fd=at.target)
        except BaseException:
            self.source_os.close(source)
            raise
        here = _Directory(rel, status, source, target, names)
        here.has_default_acl = _DEFAULT_ACL in _xattrs(self.target_os, target)
        self.stack.append(here)
        self.copied.directories += 1

    def leave(self, here: _Directory) -> None:
        """The attributes of a directory come last: entries change its times."""
        try:
            self.attributes(here.source, here.target, here.rel, here.status, here.has_default_acl)
        except OSError as error:
            self.errors.append((*self.paths(here.rel), str(error)))
        finally:
            self.source_os.close(here.source)
            self.target_os.close(here.target)

    # Regular files

    def file(self, at: _At, rel: str, status: host.stat_result, inherits: bool) -> None:
        create = self.target_os.open
        source = self.source_os.open(at.source_name, _READ, dir_fd=at.source)
        try:
            target = self.replace(
                at, lambda: create(at.target_name, _CREATE, 0o600, dir_fd=at.target)
            )
            try:
                self.content(source, target, status)
                self.attributes(source, target, rel, status, inherits)
            except BaseException:
                # Half a file is worse than none.
                self.target_os.unlink(at.target_name, dir_fd=at.target)
                raise
            finally:
                self.target_os.close(target)
        finally:
            self.source_os.close(source)
        self.copied.files += 1

    def content(self, source: int, target: int, status: host.stat_result) -> None:
        if status.st_blocks * 512 >= status.st_size:
            self.pump(source, target, None, status.st_size)
            return
        for start, end in self.extents(source, status.st_size):
            self.source_os.lseek(source, start, host.SEEK_SET)
            self.target_os.lseek(target, start, host.SEEK_SET)
            self.pump(source, target, end - start, end - start)
        self.target_os.ftruncate(target, status.st_size)

    def extents(self, fd: int, size: int) -> Iterator[tuple[int, int]]:
        """Where data is; see lseek(2)."""
        end = 0
        while end < size:
            try:
                start = self.source_os.lseek(fd, end, host.SEEK_DATA)
                end = min(self.source_os.lseek(fd, start, host.SEEK_HOLE), size)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                if error.errno != errno.EINVAL:
                    raise
                start, end = 0, size  # the file system cannot tell
            yield start, end

    def pump(self, source: int, target: int, limit: int | None, expected: int) -> None:
        """Copy bytes up to a limit, or to the end of the file."""
        done = 0
        while limit is None or done < limit:
            room = _BUFFER if limit is None else min(_BUFFER, limit - done)
            count = self.readinto(source, self.view[:room])
            written = 0
            while written < count:
                written += self.target_os.write(target, self.view[written:count])
            done += count
            self.copied.bytes += count
            # Files of /proc have no size, and may be read in small parts.
            if count == 0 or (count < room and done == expected):
                return
            if self.progress and count == _BUFFER:
                self.progress(self.copied)

    # Attributes

    def attributes(
        self, source: int, target: int, rel: str, status: host.stat_result, inherits: bool
    ) -> None:
        """Keep owner, mode, extended attributes and times, in an order that keeps all of them."""
        to = self.target_os
        owned = self.keep(rel, "owner", to.fchown, target, status.st_uid, status.st_gid)
        to.fchmod(target, _mode(status, owned))
        if inherits:
            for name in (_ACL, _DEFAULT_ACL):
                if name in _xattrs(to, target):
                    to.removexattr(target, name)
        for name in _xattrs(self.source_os, source):
            value = self.source_os.getxattr(source, name)
            self.keep(rel, name, to.setxattr, target, name, value)
        times = status.st_atime_ns, status.st_mtime_ns
        self.keep(rel, "times", partial(to.utime, ns=times), target)

    def attributes_by_name(self, at: _At, rel: str, status: host.stat_result) -> None:
        """The same for what cannot be opened."""
        to = self.target_os
        where: dict[str, Any] = {"dir_fd": at.target, "follow_symlinks": False}
        chown = partial(to.chown, **where)
        owned = self.keep(rel, "owner", chown, at.target_name, status.st_uid, status.st_gid)
        if not stat.S_ISLNK(status.st_mode):
            to.chmod(at.target_name, _mode(status, owned), dir_fd=at.target)
        source, target = self.paths(rel)
        for name in _xattrs(self.source_os, source, follow_symlinks=False):
            value = self.source_os.getxattr(source, name, follow_symlinks=False)
            self.keep(
                rel,
                name,
                lambda n, v: to.setxattr(target, n, v, follow_symlinks=False),
                name,
                value,
            )
        times = status.st_atime_ns, status.st_mtime_ns
        self.keep(rel, "times", partial(to.utime, ns=times, **where), at.target_name)

    def keep(self, rel: str, what: str, call: Callable[..., Any], *args: Any) -> bool:
        """Try; what is refused is noted."""
        try:
            call(*args)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self.copied.lost.append(Lost(self.paths(rel)[1], what, error))
            return False
        return True


class _At(NamedTuple):
    """Where an entry is on both sides: a directory and a name in it."""

    source: int | None
    target: int | None
    source_name: str
    target_name: str


def _mode(status: host.stat_result, owned: bool) -> int:
    """The mode to set: nobody becomes the user of a program that was somebody else's."""
    mode = stat.S_IMODE(status.st_mode)
    return mode if owned else mode & ~(stat.S_ISUID | stat.S_ISGID)


def _xattrs(os: Any, where: int | str, **options: Any) -> list[str]:
    """Names of extended attributes; none on file systems that have none."""
    try:
        names: list[str] = os.listxattr(where, **options)
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise
        return []
    return names


def _readinto(fd: int, buffer: memoryview) -> int:
    return host.readv(fd, [buffer])
