# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: what works on descriptors."""

from __future__ import annotations

import _struct as struct
import errno
import os
from _operator import index

from rumpel._native import Vector
from rumpel.os.base import NUMBERS, READ, READINTO, VOID, WRITE, Base, at, c_int, fileno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from rumpel import _native
    from rumpel.os.base import AnyPath, Descriptor

_FD_CLOEXEC = 1
_F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 1, 2, 3, 4, 1030
_F_GETLK, _F_SETLK, _F_SETLKW = 5, 6, 7
_F_RDLCK, _F_WRLCK, _F_UNLCK = 0, 1, 2
_FLOCK = struct.Struct("hhxxxxqqixxxx")
"""struct flock: kind, whence, start, length, owner."""


class Descriptors(Base):
    """Functions of :mod:`os` that take or make descriptors.

    Those that are attributes are bound system calls; see the module :mod:`os` for them.
    """

    getpid: Callable[[], int]
    close: Callable[[int], None]
    read: Callable[[int, int], bytes]
    write: Callable[[int, Buffer], int]
    pread: Callable[[int, int, int], bytes]
    pwrite: Callable[[int, Buffer, int], int]
    lseek: Callable[[int, int, int], int]
    ftruncate: Callable[[int, int], None]
    fchmod: Callable[[int, int], None]
    fchown: Callable[[int, int, int], None]
    sync: Callable[[], None]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        bind = self._bind
        self.close = bind("close", flags=VOID | NUMBERS)
        self.read = bind("read", shape=READ, flags=NUMBERS)
        self.write = bind("write", shape=WRITE, flags=NUMBERS)
        self._readinto: Callable[[int, Buffer], int] = bind("read", shape=READINTO, flags=NUMBERS)
        self.pread = bind("pread64", shape=READ, flags=NUMBERS)
        self.pwrite = bind("pwrite64", shape=WRITE, flags=NUMBERS)
        self.lseek = bind("lseek", flags=NUMBERS)
        self._fsync = bind("fsync", flags=VOID | NUMBERS)
        self._fdatasync = bind("fdatasync", flags=VOID | NUMBERS)
        self.ftruncate = bind("ftruncate", flags=VOID | NUMBERS)
        self.fchmod = bind("fchmod", flags=VOID | NUMBERS)
        self.fchown = bind("fchown", flags=VOID | NUMBERS)
        self.sync = bind("sync", flags=VOID | NUMBERS)
        self._openat = bind("openat", paths=2, flags=NUMBERS)
        self._dup3 = bind("dup3", flags=NUMBERS)
        self._fcntl = bind("fcntl")
        self._pipe2 = bind("pipe2")
        self._preadv = bind("preadv2")
        self._pwritev = bind("pwritev2")
        self._sendfile = bind("sendfile")
        self._copy = bind("copy_file_range")
        self._memfd = bind("memfd_create")
        self._fallocate = bind("fallocate", flags=VOID | NUMBERS)
        self._fadvise = bind("fadvise64", flags=VOID | NUMBERS)

    def open(
        self, path: AnyPath, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        """Open a file; the descriptor is not inherited by programs."""
        return self._openat(at(dir_fd), path, flags | os.O_CLOEXEC, mode)  # type: ignore[no-any-return]

    def fsync(self, fd: Descriptor) -> None:
        """Write all of a file to its disk."""
        self._fsync(fileno(fd))

    def fdatasync(self, fd: Descriptor) -> None:
        """Write a file's content to its disk."""
        self._fdatasync(fileno(fd))

    def closerange(self, fd_low: int, fd_high: int, /) -> None:
        """Close a range of descriptors, whatever they are."""
        if fd_high > fd_low:
            self._call("close_range")(max(fd_low, 0), fd_high - 1, 0)

    def dup(self, fd: int, /) -> int:
        """Duplicate a descriptor."""
        return self._fcntl(fd, _F_DUPFD_CLOEXEC, 0)  # type: ignore[no-any-return]

    def dup2(self, fd: int, fd2: int, inheritable: bool = True) -> int:
        """Duplicate a descriptor to another number."""
        if fd == fd2:
            self._fcntl(fd, _F_GETFD, 0)
            return fd2
        return self._dup3(fd, fd2, 0 if inheritable else os.O_CLOEXEC)  # type: ignore[no-any-return]

    def pipe(self) -> tuple[int, int]:
        """Make a pipe: the descriptor to read from, and that to write to."""
        return self.pipe2(os.O_CLOEXEC)

    def pipe2(self, flags: int, /) -> tuple[int, int]:
        """Make a pipe with flags."""
        pair = bytearray(8)
        self._pipe2(pair, c_int(flags))
        r, w = struct.unpack("ii", pair)
        return r, w

    def readv(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Read into several buffers."""
        return self.preadv(fd, buffers, -1)

    def writev(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Write from several buffers."""
        return self.pwritev(fd, buffers, -1)

    def preadv(self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0, /) -> int:
        """Read into several buffers, at an offset."""
        vector = Vector(buffers, writable=True)
        return self._preadv(fd, vector, len(vector), offset, 0, flags)  # type: ignore[no-any-return]

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0, /) -> int:
        """Write from several buffers, at an offset."""
        vector = Vector(buffers)
        return self._pwritev(fd, vector, len(vector), offset, 0, flags)  # type: ignore[no-any-return]

    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        """Move bytes from a file to a descriptor, both of this kernel."""
        return self._sendfile(out_fd, in_fd, _offset(offset), index(count))  # type: ignore[no-any-return]

    def copy_file_range(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """Copy bytes between files of this kernel."""
        if count < 0:
            raise ValueError("negative value for 'count' not allowed")
        return self._copy(src, _offset(offset_src), dst, _offset(offset_dst), count, 0)  # type: ignore[no-any-return]

    def splice(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
        flags: int = 0,
    ) -> int:
        """Move bytes between descriptors, one of which is a pipe."""
        if count < 0:
            raise ValueError("negative value for 'count' not allowed")
        call = self._call("splice")
        return call(src, _offset(offset_src), dst, _offset(offset_dst), count, flags)  # type: ignore[no-any-return]

    def lockf(self, fd: int, command: int, len: int, /) -> None:
        """Lock, test or unlock a part of a file, from its position on."""
        operations = {
            os.F_LOCK: (_F_SETLKW, _F_WRLCK),
            os.F_TLOCK: (_F_SETLK, _F_WRLCK),
            os.F_ULOCK: (_F_SETLK, _F_UNLCK),
            os.F_TEST: (_F_GETLK, _F_RDLCK),
        }
        if command not in operations:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        operation, kind = operations[command]
        lock = bytearray(_FLOCK.pack(kind, os.SEEK_CUR, 0, len, 0))
        self._fcntl(fd, operation, lock)
        found, _, _, _, owner = _FLOCK.unpack(lock)
        if command == os.F_TEST and found != _F_UNLCK and owner != self.getpid():
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def posix_fallocate(self, fd: int, offset: int, len: int, /) -> None:
        """Make sure that a range of a file has room on the disk."""
        self._fallocate(fd, 0, offset, len)

    def posix_fadvise(self, fd: int, offset: int, len: int, advice: int, /) -> None:
        """Say how a file will be read."""
        self._fadvise(fd, offset, len, advice)

    def memfd_create(self, name: AnyPath, flags: int = os.MFD_CLOEXEC) -> int:
        """Make a file without a name."""
        return self._memfd(os.fsencode(name), flags)  # type: ignore[no-any-return]

    def get_blocking(self, fd: int, /) -> bool:
        """Do calls wait?"""
        return not self._fcntl(fd, _F_GETFL, 0) & os.O_NONBLOCK

    def set_blocking(self, fd: int, blocking: bool, /) -> None:
        """Say whether calls shall wait."""
        flags = self._fcntl(fd, _F_GETFL, 0) & ~os.O_NONBLOCK
        self._fcntl(fd, _F_SETFL, flags | (0 if blocking else os.O_NONBLOCK))

    def get_inheritable(self, fd: int, /) -> bool:
        """Is a descriptor inherited by programs?"""
        return not self._fcntl(fd, _F_GETFD, 0) & _FD_CLOEXEC

    def set_inheritable(self, fd: int, inheritable: bool, /) -> None:
        """Say whether a descriptor is inherited by programs."""
        self._fcntl(fd, _F_SETFD, 0 if inheritable else _FD_CLOEXEC)


def _offset(value: int | None) -> bytearray | None:
    return None if value is None else bytearray(struct.pack("q", value))
