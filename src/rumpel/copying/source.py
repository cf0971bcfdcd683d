# SPDX-License-Identifier: GPL-2.0-only
"""A tree as a series of items.

An item is a list, whose first member says what it is, and bytes:

==================================  ========================================================
``["d", path, attributes]``         a directory, whose entries come next
``["f", path, attributes, whole,    a regular file; if ``whole`` the bytes are its content
size]``
``["c", offset]``                   else these follow, with a piece of the content each,
``["e", size]``                     and at the end this
``["i", offset, where, length]``    instead of pieces: :mod:`rumpel.copying.placed`
``["l", path, attributes, to]``     a symbolic link
``["h", path, first]``              one more name of a file that came before
``["s", path, attributes, device]`` a device, named pipe or socket
``["x", path, reason]``             something that could not be read, in the middle of a file too
``["b", path, names]``              files of a directory: see :mod:`rumpel.copying.packed`
==================================  ========================================================

Paths are relative to the top, which is "". Attributes are ``[mode, uid, gid, atime in ns, mtime
in ns, number of names, xattrs]``, where xattrs is a list of names and values, the latter as
text of a character for each byte.
"""

from __future__ import annotations

import errno
import os as host
import stat

from rumpel import _native
from rumpel.copying.ahead import Ahead
from rumpel.copying.packed import can_pack, place_of
from rumpel.copying.patterns import matches
from rumpel.copying.pieces import read
from rumpel.copying.placed import LONG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from rumpel.copying.pieces import Room

    Item = tuple[list[Any], Any]
    Places = Callable[[int, int], list[tuple[int, int, int]] | None]

__all__ = [
    "NO_XATTRS",
    "Item",
    "Places",
    "attributes_of",
    "read_tree",
    "xattr_names",
    "xattr_values",
]

_BUFFER = 512 << 10
_SMALL, _TOGETHER = 64 << 10, 64
"""How long a file may be that is read with others, and how many those are."""
_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY | host.O_NOFOLLOW
_READ = host.O_RDONLY | host.O_NOFOLLOW | host.O_NONBLOCK
NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM)
_OF_XFS = "trusted.SGI_"


def read_tree(
    os: Any,
    top: str,
    *,
    one_file_system: bool = False,
    exclude: Sequence[str] = (),
    follow: bool = False,
    jobs: int = 1,
    room: Room | None = None,
    packed: bool = False,
    places: Places | None = None,
) -> Iterator[Item]:
    """Read a file or a tree.

    Args:
        os: the module of the side on which it is.
        top: its path.
        one_file_system: leave directories empty on which something is mounted.
        exclude: patterns, as of :mod:`fnmatch`; what they fit, by its name or its path, is
            left out with all that is below.
        follow: if the top is a symbolic link, read what it leads to.
        jobs: if more than one, look ahead at so many files at once.
        room: where content may be read to, for as long as its item is the last.
        packed: make one item of small files of a directory, where that is possible.
        places: says of an open file of that length where its content may be taken from; None if
            it has to be read.

    Raises:
        OSError: if there is nothing at ``top``.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as top:
        ...     os.mkdir(f"{top}/a")
        ...     [(item[0], item[1]) for item, data in read_tree(os, top)]
        [('d', ''), ('d', 'a')]
    """
    status = os.stat(top, follow_symlinks=follow)
    device = status.st_dev if one_file_system else None
    reader = _Reader(os, top, exclude, device, jobs, room)
    reader.packs = packed and jobs == 1 and can_pack(os)
    reader.places = places
    return reader.run(status, 0 if follow else host.O_NOFOLLOW)


class _Level:
    """A directory that is being read.

    Attributes:
        fd, path: of it.
        names: what is left of it, from the index ``at`` on.
    """

    __slots__ = ("at", "fd", "names", "path")

    def __init__(self, fd: int, path: str, names: list[str]) -> None:
        self.fd = fd
        self.path = path
        self.names = names
        self.at = 0


class _Reader:
    packs = False
    buffer: memoryview | None = None
    places: Places | None = None

    def __init__(
        self,
        os: Any,
        top: str,
        exclude: Sequence[str],
        device: int | None,
        jobs: int,
        room: Room | None,
    ) -> None:
        self.os = os
        self.room = room
        self.top = top
        self.excluded = _matcher(exclude)
        self.device = device
        self.first_names: dict[tuple[int, int], str] = {}
        self.stack: list[_Level] = []
        self.jobs = jobs
        self.ahead: Ahead | None = None

    def run(self, status: host.stat_result, nofollow: int) -> Iterator[Item]:
        try:
            if self.jobs > 1:
                self.ahead = Ahead(self.os, self.jobs)
            yield from self.entry(None, self.top, "", status, nofollow)
            while self.stack:
                level = self.stack[-1]
                if level.at == len(level.names):
                    self.stack.pop()
                    self.os.close(level.fd)
                    continue
                if self.packs and (files := self.files(level)):
                    yield files
                    continue
                name = level.names[level.at]
                level.at += 1
                if self.ahead:
                    self.ahead.passed()
                below = f"{level.path}/{name}" if level.path else name
                yield from self.entry(level.fd, name, below, None, host.O_NOFOLLOW)
        finally:
            if self.ahead:
                self.ahead.close()
            for level in self.stack:
                self.os.close(level.fd)

    def files(self, level: _Level) -> Item | None:
        """The next files of a directory as one item, if they are small."""
        names = level.names[level.at : level.at + _TOGETHER]
        view = self.room(_BUFFER) if self.room else None
        is_ours = view is None
        if view is None:
            view = self.buffer = self.buffer or memoryview(bytearray(_BUFFER))
        count, used = _native.read_files(place_of(self.os), level.fd, names, view, _SMALL)
        if not count:
            return None
        level.at += count
        return ["b", level.path, names[:count]], bytes(view[:used]) if is_ours else view[:used]

    def entry(
        self, at: int | None, name: str, rel: str, status: host.stat_result | None, nofollow: int
    ) -> Iterator[Item]:
        try:
            found = status or self.os.stat(name, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            yield ["x", rel, str(error)], b""
            return
        try:
            if stat.S_ISREG(found.st_mode):
                yield from self.file(at, name, rel, found, nofollow)
            elif stat.S_ISDIR(found.st_mode):
                yield self.directory(at, name, rel, found, nofollow)
            elif not self.is_known(rel, found):
                yield self.other(at, name, rel, found), b""
            else:
                yield self.again(rel, found), b""
        except OSError as error:
            if self.first_names.get((found.st_dev, found.st_ino)) == rel:
                del self.first_names[found.st_dev, found.st_ino]
            yield ["x", rel, str(error)], b""

    def path(self, rel: str) -> str:
        return f"{self.top.rstrip('/')}/{rel}" if rel else self.top

    def is_known(self, rel: str, status: host.stat_result) -> bool:
        """Was this seen before under another name?"""
        if status.st_nlink < 2:
            return False
        return self.first_names.setdefault((status.st_dev, status.st_ino), rel) != rel

    def again(self, rel: str, status: host.stat_result) -> list[Any]:
        return ["h", rel, self.first_names[status.st_dev, status.st_ino]]

    def directory(
        self, at: int | None, name: str, rel: str, status: host.stat_result, nofollow: int
    ) -> Item:
        fd = self.os.open(name, _DIRECTORY & ~host.O_NOFOLLOW | nofollow, dir_fd=at)
        try:
            names: list[str] = []
            if self.device in (None, status.st_dev):
                names = sorted(self.names(fd))
            if self.excluded is not None:
                prefix = f"{rel}/" if rel else ""
                names = [name for name in names if not self.excluded(name, prefix + name)]
            item = ["d", rel, attributes_of(status, self.xattrs(fd))]
        except BaseException:
            self.os.close(fd)
            raise
        if self.ahead:
            self.ahead.enter(self.path(rel), names)
        self.stack.append(_Level(fd, rel, names))
        return item, b""

    def names(self, fd: int) -> list[str]:
        """What is in a directory that was just opened."""
        if self.os is host or not can_pack(self.os):
            names: list[str] = self.os.listdir(fd)
            return names
        return _native.list_names(place_of(self.os), fd)

    def other(self, at: int | None, name: str, rel: str, status: host.stat_result) -> list[Any]:
        attributes = attributes_of(status, self.xattrs(self.path(rel), follow_symlinks=False))
        if stat.S_ISLNK(status.st_mode):
            return ["l", rel, attributes, self.os.readlink(name, dir_fd=at)]
        return ["s", rel, attributes, status.st_rdev]

    def file(
        self, at: int | None, name: str, rel: str, status: host.stat_result, nofollow: int
    ) -> Iterator[Item]:
        if self.is_known(rel, status):
            yield self.again(rel, status), b""
            return
        fd = self.os.open(name, _READ & ~host.O_NOFOLLOW | nofollow, dir_fd=at)
        try:
            attributes = attributes_of(status, self.xattrs(fd))
            size = status.st_size
            if size >= LONG and self.places and (found := self.places(fd, size)) is not None:
                yield ["f", rel, attributes, False, size], b""
                for each in found:
                    yield ["i", *each], b""
                yield ["e", size], b""
                return
            if status.st_blocks * 512 >= size:
                # Files of /proc have no size, and may be read in small parts.
                data = read(self.os, fd, min(size or _BUFFER, _BUFFER), self.room)
                if len(data) == size:
                    yield ["f", rel, attributes, True, size], data
                    return
                yield ["f", rel, attributes, False, size], b""
                at_byte = 0
                while data:
                    yield ["c", at_byte], data
                    at_byte += len(data)
                    data = read(self.os, fd, _BUFFER, self.room)
                yield ["e", at_byte], b""
            else:
                yield ["f", rel, attributes, False, size], b""
                yield from self.sparse(fd, size)
                yield ["e", size], b""
        finally:
            self.os.close(fd)

    def sparse(self, fd: int, size: int) -> Iterator[Item]:
        for start, end in _extents(self.os.lseek, fd, size):
            self.os.lseek(fd, start, host.SEEK_SET)
            while start < end:
                data = read(self.os, fd, min(_BUFFER, end - start), self.room)
                if not data:
                    break
                yield ["c", start], data
                start += len(data)

    def xattrs(self, where: int | str, **options: Any) -> list[list[str]]:
        if not (names := xattr_names(self.os, where, **options)):
            return []
        found = xattr_values(self.os, where, names, **options)
        return [[name, value.decode("latin-1")] for name, value in found]


def attributes_of(status: host.stat_result, xattrs: list[list[str]]) -> list[Any]:
    """The attributes of an item."""
    return [
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_nlink,
        xattrs,
    ]


def _extents(
    lseek: Callable[[int, int, int], int], fd: int, size: int
) -> Iterator[tuple[int, int]]:
    """Where data is; see lseek(2)."""
    end = 0
    while end < size:
        try:
            start = lseek(fd, end, host.SEEK_DATA)
            end = min(lseek(fd, start, host.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = 0, size  # the file system cannot tell
        yield start, end


def _matcher(patterns: Sequence[str]) -> Callable[[str, str], bool] | None:
    if not patterns:
        return None
    wanted = [pattern.strip("/") for pattern in patterns]
    return lambda name, rel: any(matches(name, p) or matches(rel, p) for p in wanted)


def xattr_names(os: Any, where: int | str, **options: Any) -> list[str]:
    """Names of extended attributes; none on file systems that have none."""
    try:
        names: list[str] = os.listxattr(where, **options)
    except OSError as error:
        if error.errno not in NO_XATTRS:
            raise
        return []
    # XFS shows access control lists a second time, in the form that the disk has.
    return [name for name in names if not name.startswith(_OF_XFS)] if names else names


def xattr_values(
    os: Any, where: int | str, names: Sequence[str], **options: Any
) -> Iterator[tuple[str, bytes]]:
    """Extended attributes with these names, without those that are not there.

    They may have gone; and HFS+ lists one, of the Finder, by a name whose last letter is missing.
    """
    for name in names:
        try:
            yield name, os.getxattr(where, name, **options)
        except OSError as error:
            if error.errno not in (errno.ENODATA, *NO_XATTRS):
                raise
