# SPDX-License-Identifier: GPL-2.0-only
"""Takes the host's requests, and answers them.

Nothing but this changes the file system, so the host may keep what it was told: names,
attributes, contents. It opens and closes files without asking, and lists a directory with all
about its files at once.

Source: Documentation/filesystems/fuse.rst, include/uapi/linux/fuse.h, and fs/fuse/dev.c for
what reading and writing the device may say.
"""

from __future__ import annotations

import errno
import os as host
import select
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.files import Files

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["serve"]

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
_SPIN = 60_000
"""Nanoseconds for which more requests are looked for before they are waited for."""
_OFTEN = 256
"""Requests after which it is seen whether this shall end."""
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
        super().__init__(kernel, read_only)
        self._device = device
        self._is_hearing = False
        self._operations: dict[int, Callable[[int, memoryview], bytes | memoryview]] = {
            fuse.INIT: self.init,
            fuse.LOOKUP: self.lookup,
            fuse.GETATTR: self.getattr,
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
            fuse.READ: self.read,
            fuse.WRITE: self.write,
            fuse.STATFS: self.statfs,
            fuse.FSYNC: self.fsync,
            fuse.FSYNCDIR: self.fsyncdir,
            fuse.SETXATTR: self.setxattr,
            fuse.GETXATTR: self.getxattr,
            fuse.LISTXATTR: self.listxattr,
            fuse.REMOVEXATTR: self.removexattr,
            fuse.READDIR: self.readdir,
            fuse.READDIRPLUS: self.readdirplus,
            fuse.IOCTL: self.ioctl,
            fuse.FALLOCATE: self.fallocate,
            fuse.LSEEK: self.lseek,
            fuse.COPY_FILE_RANGE: self.copy_file_range,
            fuse.DESTROY: self.destroy,
        }

    def run(self, stop: int) -> int:
        """Answer requests until there are no more; how many."""
        buffer = bytearray(fuse.BUFFER)
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(stop, 0)
        # Whoever asks waits for the answer, and asks again: to sleep meanwhile, and be woken on
        # another CPU, takes longer than to answer.
        patience = _SPIN if len(host.sched_getaffinity(0)) > 1 else 0
        count, until = 0, 0
        try:
            while True:
                if self._take(buffer):
                    count, until = count + 1, 0
                    if count % _OFTEN:
                        continue
                elif not until:
                    until = time.monotonic_ns() + patience
                    continue
                elif time.monotonic_ns() < until:
                    continue
                timeout = None if until else 0
                if any(fd == stop for fd, _ in poll.poll(timeout)):
                    break
                until = 0
        except _Unmounted:
            pass
        return count

    def _take(self, buffer: bytearray) -> bool:
        """Read a request into a buffer and serve it, if there is one."""
        try:
            host.readv(self._device, [buffer])
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOENT):  # ENOENT: somebody was interrupted
                return False
            if error.errno in _GONE:
                raise _Unmounted from None
            raise
        length, code, unique, node, *caller, _ = fuse.IN_HEADER.unpack_from(buffer)
        self.caller = caller[0], caller[1]
        self._serve(code, unique, node, memoryview(buffer)[fuse.IN_HEADER.size : length])
        return True

    def _serve(self, code: int, unique: int, node: int, body: memoryview) -> None:
        operation = self._operations.get(code)
        if operation is None:
            if code == fuse.FORGET:
                self.nodes.forget(node, *fuse.FORGET_IN.unpack_from(body))
            elif code == fuse.BATCH_FORGET:
                self._forget_many(body)
            elif code != fuse.INTERRUPT:
                # Not to be asked again: opening, closing, access(2), locks, ...
                self._answer(unique, errno.ENOSYS)
            return
        try:
            if code == fuse.STATFS:
                self._hear_what_is_gone()
            try:
                said = operation(node, body)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.nameless:
                    raise
                self._hear_what_is_gone()
                said = operation(node, body)
            self._answer(unique, 0, said)
        except OSError as error:
            self._answer(unique, error.errno or errno.EIO)

    def _hear_what_is_gone(self) -> None:
        """Serve what else there is, if files without a name take room.

        That the host has forgotten them may be behind requests that came later.
        """
        if not self.nameless or self._is_hearing:
            return
        self._is_hearing, caller = True, self.caller
        try:
            buffer = bytearray(fuse.BUFFER)
            while self.nameless and self._take(buffer):
                pass
        finally:
            self._is_hearing, self.caller = False, caller

    def _forget_many(self, body: memoryview) -> None:
        (count,) = fuse.BATCH_FORGET_IN.unpack_from(body)
        each = fuse.FORGET_ONE
        start = fuse.BATCH_FORGET_IN.size
        for node, lookups in each.iter_unpack(body[start : start + count * each.size]):
            self.nodes.forget(node, lookups)

    def _answer(self, unique: int, error: int, data: bytes | memoryview = b"") -> None:
        head = fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + len(data), -error, unique)
        try:
            host.writev(self._device, [head, data])
        except OSError as failed:
            # ENOENT: who has asked is gone, as by a signal. The next read says so if all is.
            if failed.errno not in (errno.ENOENT, *_GONE):
                raise

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
