# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on names."""

from __future__ import annotations

import contextlib
import os as host
import stat
from typing import TYPE_CHECKING

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.attributes import AT_FDCWD, Attributes

if TYPE_CHECKING:
    from rumpel._native import FuseNode
    from rumpel.kernel import Kernel

__all__ = ["Names"]

_EXCHANGE = 2
_REMOVEDIR, _EMPTY_PATH = 0x200, 0x1000
_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 4
_PATH_MAX = 4096


class Names(Attributes):
    """Finding, making and removing files.

    What is made belongs to who has asked for it, which is told to the kernel as the number of
    its file system user. The capabilities stay: whether somebody may do something the host
    decides, which knows its users.

    Args:
        kernel: whose root directory is served.
        device: an open /dev/fuse that is mounted, not blocking.
        read_only: is nothing to be written?

    Attributes:
        caller: the user and the group that ask.
    """

    def __init__(self, kernel: Kernel, device: int, read_only: bool) -> None:
        super().__init__(kernel, device, read_only)
        self.caller = (0, 0)
        self._acting = (0, 0)
        self._umask = -1
        self._call("prctl", _PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)

    def _act(self, umask: int = 0) -> None:
        """Make what follows as the caller."""
        if self.caller != self._acting:
            uid, gid = self._acting = self.caller
            self._call("setfsgid", gid)
            self._call("setfsuid", uid)
        if umask != self._umask:
            self._call("umask", umask)
            self._umask = umask

    def readlink(self, id: int, body: memoryview) -> bytes:
        """Where a symbolic link leads."""
        node = self.nodes.node(id)
        buffer = bytearray(_PATH_MAX)
        at = (node.fd, b"") if node.fd >= 0 else (AT_FDCWD, self.nodes.path(node))
        return bytes(buffer[: self._call("readlinkat", *at, buffer, _PATH_MAX)])

    def symlink(self, id: int, body: memoryview) -> bytes:
        """Make a symbolic link."""
        name, target, _ = bytes(body).split(b"\0", 2)
        parent = self.nodes.node(id)
        self._act()
        self._call("symlinkat", target, AT_FDCWD, self.nodes.path(parent, name))
        return self.nodes.entry(parent, name)

    def mknod(self, id: int, body: memoryview) -> bytes:
        """Make a file that is no directory."""
        mode, rdev, umask = fuse.MKNOD_IN.unpack_from(body)
        parent, name = self.nodes.node(id), _name(body[fuse.MKNOD_IN.size :])
        self._act(umask)
        self._call("mknodat", AT_FDCWD, self.nodes.path(parent, name), mode, rdev)
        return self.nodes.entry(parent, name)

    def mkdir(self, id: int, body: memoryview) -> bytes:
        """Make a directory."""
        mode, umask = fuse.MKDIR_IN.unpack_from(body)
        parent, name = self.nodes.node(id), _name(body[fuse.MKDIR_IN.size :])
        self._act(umask)
        self._call("mkdirat", AT_FDCWD, self.nodes.path(parent, name), mode)
        return self.nodes.entry(parent, name)

    def link(self, id: int, body: memoryview) -> bytes:
        """Make a hard link."""
        (old,) = fuse.LINK_IN.unpack_from(body)
        parent, name = self.nodes.node(id), _name(body[fuse.LINK_IN.size :])
        node, target = self.nodes.node(old), self.nodes.path(parent, name)
        if node.fd >= 0:
            self._call("linkat", node.fd, b"", AT_FDCWD, target, _EMPTY_PATH)
        else:
            self._call("linkat", AT_FDCWD, self.nodes.path(node), AT_FDCWD, target, 0)
        return self.nodes.entry(parent, name)

    def unlink(self, id: int, body: memoryview) -> bytes:
        """Remove a name."""
        self._remove(id, _name(body), 0)
        return b""

    def rmdir(self, id: int, body: memoryview) -> bytes:
        """Remove a directory."""
        self._remove(id, _name(body), _REMOVEDIR)
        return b""

    def _remove(self, id: int, name: bytes, flags: int) -> None:
        parent = self.nodes.node(id)
        node = self._keep(parent, name)
        try:
            self._call("unlinkat", AT_FDCWD, self.nodes.path(parent, name), flags)
        except BaseException:
            if node:
                self.nodes.release(node)
            raise

    def _keep(self, parent: FuseNode, name: bytes) -> FuseNode | None:
        """Have a descriptor of what is about to lose its name; None if nobody needs one."""
        try:
            node, mode = self.nodes.look(parent, name)
        except FileNotFoundError:
            return None
        if node is None or node.fd >= 0 or node.parent is not parent or node.name != name:
            return None
        self.nodes.hold(node, self._descriptor(self.nodes.path(parent, name), mode))
        return node

    def _descriptor(self, path: bytes, mode: int) -> int:
        """One that can do all that somebody may do who has the file open."""
        flags = host.O_NOFOLLOW | host.O_CLOEXEC
        if stat.S_ISDIR(mode):
            return self._os.open(path, flags | host.O_RDONLY | host.O_DIRECTORY)
        if stat.S_ISREG(mode):
            for way in (host.O_RDWR, host.O_RDONLY):
                with contextlib.suppress(OSError):
                    return self._os.open(path, flags | way)
        return self._os.open(path, flags | host.O_PATH)

    def rename(self, id: int, body: memoryview) -> bytes:
        """Give a file another name."""
        (to,) = fuse.RENAME_IN.unpack_from(body)
        self._rename(id, to, 0, body[fuse.RENAME_IN.size :])
        return b""

    def rename2(self, id: int, body: memoryview) -> bytes:
        """The same with flags of renameat2(2)."""
        to, flags = fuse.RENAME2_IN.unpack_from(body)
        self._rename(id, to, flags, body[fuse.RENAME2_IN.size :])
        return b""

    def _rename(self, id: int, to: int, flags: int, names: memoryview) -> None:
        old_name, new_name, _ = bytes(names).split(b"\0", 2)
        old_parent, new_parent = self.nodes.node(id), self.nodes.node(to)
        old, new = self.nodes.path(old_parent, old_name), self.nodes.path(new_parent, new_name)
        exchange = flags & _EXCHANGE
        kept = None if exchange else self._keep(new_parent, new_name)
        try:
            self._call("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)
        except BaseException:
            if kept:
                self.nodes.release(kept)
            raise
        self._moved(new_parent, new_name)
        if exchange:
            self._moved(old_parent, old_name)
        elif kept and self.nodes.look(new_parent, new_name)[0] is kept:
            # Two links to one file: rename(2) does nothing then.
            self.nodes.release(kept)

    def _moved(self, parent: FuseNode, name: bytes) -> None:
        """Something has this name now."""
        node, _ = self.nodes.look(parent, name)
        if node and node.fd < 0:
            self.nodes.move(node, parent, name)


def _name(body: memoryview) -> bytes:
    return bytes(body).partition(b"\0")[0]
