# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on names."""

from __future__ import annotations

import contextlib
import os as host
import stat
from typing import TYPE_CHECKING

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.attributes import AT_FDCWD, Attributes
from rumpel.images.fuse.nodes import Node

if TYPE_CHECKING:
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
        read_only: is nothing to be written?

    Attributes:
        caller: the user and the group that ask.
        nameless: nodes whose files have no name any more, and take room all the same.
    """

    def __init__(self, kernel: Kernel, read_only: bool) -> None:
        self.nameless: set[Node] = set()
        super().__init__(kernel, read_only)
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

    def lookup(self, id: int, body: memoryview) -> bytes:
        """Find a name."""
        return self._entry(self.nodes[id], _name(body))

    def readlink(self, id: int, body: memoryview) -> bytes:
        """Where a symbolic link leads."""
        node = self.nodes[id]
        buffer = bytearray(_PATH_MAX)
        at = (node.fd, b"") if node.fd >= 0 else (AT_FDCWD, node.path)
        return bytes(buffer[: self._call("readlinkat", *at, buffer, _PATH_MAX)])

    def symlink(self, id: int, body: memoryview) -> bytes:
        """Make a symbolic link."""
        name, target, _ = bytes(body).split(b"\0", 2)
        parent = self.nodes[id]
        self._act()
        self._call("symlinkat", target, AT_FDCWD, self._within(parent, name))
        return self._entry(parent, name)

    def mknod(self, id: int, body: memoryview) -> bytes:
        """Make a file that is no directory."""
        mode, rdev, umask = fuse.MKNOD_IN.unpack_from(body)
        parent, name = self.nodes[id], _name(body[fuse.MKNOD_IN.size :])
        self._act(umask)
        self._call("mknodat", AT_FDCWD, self._within(parent, name), mode, rdev)
        return self._entry(parent, name)

    def mkdir(self, id: int, body: memoryview) -> bytes:
        """Make a directory."""
        mode, umask = fuse.MKDIR_IN.unpack_from(body)
        parent, name = self.nodes[id], _name(body[fuse.MKDIR_IN.size :])
        self._act(umask)
        self._call("mkdirat", AT_FDCWD, self._within(parent, name), mode)
        return self._entry(parent, name)

    def link(self, id: int, body: memoryview) -> bytes:
        """Make a hard link."""
        (old,) = fuse.LINK_IN.unpack_from(body)
        parent, name = self.nodes[id], _name(body[fuse.LINK_IN.size :])
        node, target = self.nodes[old], self._within(parent, name)
        if node.fd >= 0:
            self._call("linkat", node.fd, b"", AT_FDCWD, target, _EMPTY_PATH)
        else:
            self._call("linkat", AT_FDCWD, node.path, AT_FDCWD, target, 0)
        return self._entry(parent, name)

    def unlink(self, id: int, body: memoryview) -> bytes:
        """Remove a name."""
        self._remove(id, _name(body), 0)
        return b""

    def rmdir(self, id: int, body: memoryview) -> bytes:
        """Remove a directory."""
        self._remove(id, _name(body), _REMOVEDIR)
        return b""

    def _remove(self, id: int, name: bytes, flags: int) -> None:
        parent = self.nodes[id]
        node = self._keep(parent, name)
        try:
            self._call("unlinkat", AT_FDCWD, self._within(parent, name), flags)
        except BaseException:
            if node:
                self._release(node)
            raise

    def _keep(self, parent: Node, name: bytes) -> Node | None:
        """Have a descriptor of what is about to lose its name; None if nobody needs one."""
        path = self._within(parent, name)
        try:
            found = self._look_at(path)
        except FileNotFoundError:
            return None
        node = self.nodes.find(self._of(found))
        if node is None or node.fd >= 0 or node.parent is not parent or node.name != name:
            return None
        node.fd = self._descriptor(path, found[4])
        self.nameless.add(node)
        return node

    def _release(self, node: Node) -> None:
        self.nameless.discard(node)
        super()._release(node)

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
        old_parent, new_parent = self.nodes[id], self.nodes[to]
        old, new = self._within(old_parent, old_name), self._within(new_parent, new_name)
        exchange = flags & _EXCHANGE
        kept = None if exchange else self._keep(new_parent, new_name)
        try:
            self._call("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)
        except BaseException:
            if kept:
                self._release(kept)
            raise
        self._moved(new_parent, new_name, new)
        if exchange:
            self._moved(old_parent, old_name, old)
        elif kept and self._same(kept, new):
            # Two links to one file: rename(2) does nothing then.
            self._release(kept)

    def _moved(self, parent: Node, name: bytes, path: bytes) -> None:
        """Something has this name now."""
        node = self.nodes.find(self._key(path))
        if node and node.fd < 0:
            self.nodes.move(node, parent, name)

    def _same(self, node: Node, path: bytes) -> bool:
        return node.key == self._key(path)


def _name(body: memoryview) -> bytes:
    return bytes(body).partition(b"\0")[0]
