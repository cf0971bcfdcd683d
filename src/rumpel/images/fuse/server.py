# SPDX-License-Identifier: GPL-2.0-only
"""Takes the host's requests, and answers them.

Nothing but this changes the file system, so the host may keep what it was told: names,
attributes, contents. It opens and closes files without asking, and lists a directory with all
about its files at once.

What is asked most is answered in C (:class:`rumpel._native.FuseServer`), all else here.

Source: Documentation/filesystems/fuse.rst, include/uapi/linux/fuse.h, and fs/fuse/dev.c for
what reading and writing the device may say.
"""

from __future__ import annotations

import contextlib
import errno
import os as host
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.files import Files

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["serve"]

_Operation = Callable[[int, memoryview], bytes]

_FLAGS = (
    fuse.ASYNC_READ
    | fuse.BIG_WRITES
    | fuse.DONT_MASK
    | fuse.DO_READDIRPLUS
    | fuse.NO_OPEN
    | fuse.PARALLEL_DIROPS
    | fuse.MAX_PAGES
    | fuse.CACHE_SYMLINKS
    | fuse.NO_OPENDIR
    | fuse.EXPLICIT_INVAL_DATA
    | fuse.HANDLE_KILLPRIV_V2
)
_BACKGROUND = 16
_OFTEN = 256
"""Requests after which it is seen whether this shall end."""
_LOOKS = (fuse.READLINK, fuse.STATFS, fuse.GETXATTR, fuse.LISTXATTR, fuse.LSEEK)
"""What changes nothing."""
_GONE = (errno.ENODEV, errno.ECONNABORTED)


class Where(Protocol):
    """Where it runs: in a sandbox, or here."""

    kernel: Kernel


def serve(where: Where, device: int, stop: int, read_only: bool) -> Iterator[tuple[Any, bytes]]:
    """Serve the kernel's root directory until it is unmounted.

    Args:
        where: the worker.
        device: an open /dev/fuse that is mounted, not blocking.
        stop: a pipe; when its other end is closed, that is the end.
        read_only: refuse writes.

    Returns:
        One message, at the end: how many requests there were.
    """
    server = _Server(where.kernel, read_only, device)
    try:
        yield server.run(stop), b""
    finally:
        server.close()


class _Unmounted(Exception):
    """There will be no more requests."""


class _Server(Files):
    def __init__(self, kernel: Kernel, read_only: bool, device: int) -> None:
        super().__init__(kernel, device, read_only)
        self._device = device
        self._is_hearing = False
        self._operations: dict[int, _Operation] = {
            fuse.INIT: self.init,
            fuse.SETATTR: self.setattr,
            fuse.READLINK: self.readlink,
            fuse.SYMLINK: self.symlink,
            fuse.MKNOD: self.mknod,
            fuse.MKDIR: self.mkdir,
            fuse.UNLINK: self.unlink,
            fuse.RMDIR: self.rmdir,
            fuse.RENAME: self.rename,
            fuse.RENAME2: self.rename2,
            fuse.LINK: self.link,
            fuse.WRITE: self.write,
            fuse.STATFS: self.statfs,
            fuse.FSYNC: self.fsync,
            fuse.FSYNCDIR: self.fsyncdir,
            fuse.SETXATTR: self.setxattr,
            fuse.GETXATTR: self.getxattr,
            fuse.LISTXATTR: self.listxattr,
            fuse.REMOVEXATTR: self.removexattr,
            fuse.IOCTL: self.ioctl,
            fuse.FALLOCATE: self.fallocate,
            fuse.LSEEK: self.lseek,
            fuse.COPY_FILE_RANGE: self.copy_file_range,
            fuse.DESTROY: self.destroy,
        }

    def run(self, stop: int) -> int:
        """Answer requests until there are no more; how many."""
        buffer = bytearray(fuse.BUFFER)
        patient = len(host.sched_getaffinity(0)) > 1
        with contextlib.suppress(_Unmounted):
            while self._take(buffer, stop, patient):
                pass
        return self.nodes.served

    def _take(self, buffer: bytearray, stop: int, patient: bool) -> bool:
        """Serve some requests; False if there are no more."""
        try:
            found = self.nodes.take(buffer, stop, patient, _OFTEN)
        except OSError as error:
            if error.errno in _GONE:
                raise _Unmounted from None
            raise
        if isinstance(found, bool):
            return found
        code, unique, node, *caller, length = found
        self.caller = caller[0], caller[1]
        self._serve(code, unique, node, memoryview(buffer)[fuse.IN_HEADER.size : length])
        return True

    def _serve(self, code: int, unique: int, node: int, body: memoryview) -> None:
        operation = self._operations.get(code)
        if operation is None:
            if code != fuse.INTERRUPT:
                # Not to be asked again: opening, closing, access(2), locks, ...
                self.nodes.answer(unique, errno.ENOSYS, b"")
            return
        number, said = self._tried(operation, code, node, body)
        if code not in _LOOKS:
            self.nodes.changed()
        self.nodes.answer(unique, number, said)

    def _tried(
        self, operation: _Operation, code: int, node: int, body: memoryview
    ) -> tuple[int, bytes]:
        """The errno of an operation, or 0 and what it has to say."""
        try:
            if code == fuse.STATFS:
                self._hear_what_is_gone()
            try:
                return 0, operation(node, body)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.nodes.nameless:
                    raise
                self._hear_what_is_gone()
                return 0, operation(node, body)
        except OSError as error:
            return error.errno or errno.EIO, b""

    def _hear_what_is_gone(self) -> None:
        """Serve what else there is, if files without a name take room.

        That the host has forgotten them may be behind requests that came later.
        """
        if not self.nodes.nameless or self._is_hearing:
            return
        self._is_hearing, caller = True, self.caller
        try:
            buffer = bytearray(fuse.BUFFER)
            while self.nodes.nameless and self._take(buffer, -1, False):
                pass
        finally:
            self._is_hearing, self.caller = False, caller

    def init(self, id: int, body: memoryview) -> bytes:
        """Agree on what each side can."""
        major, minor, readahead, flags = fuse.INIT_IN.unpack_from(body)
        if major != fuse.MAJOR or minor < fuse.MINOR or ~flags & (fuse.NO_OPEN | fuse.NO_OPENDIR):
            raise OSError(errno.EPROTO, f"FUSE {major}.{minor} is too old")
        pages = fuse.MAX_WRITE >> 12
        return fuse.INIT_OUT.pack(
            *(fuse.MAJOR, fuse.MINOR, readahead, flags & _FLAGS),
            *(_BACKGROUND, _BACKGROUND, fuse.MAX_WRITE, 1, pages, 0, 0),
        )

    def destroy(self, id: int, body: memoryview) -> bytes:
        """The host unmounts; nothing is left to do."""
        return b""
