# SPDX-License-Identifier: GPL-2.0-only
"""Random work on a file system, beside a model of it: dictionaries."""

from __future__ import annotations

import errno
import os
import random
import stat
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

__all__ = ["Load", "Node", "facts_of"]

_NAMES = [*"abcdef", "name with spaces", "n" * 100, "é", "x.txt"]
_SIZES = (0, 1, 60, 4095, 4096, 5000, 70_000, 300_000)
_MOST = 1 << 21
_SPACE = 12 << 20
"""What files may have together: less than any of the images."""
_REMOUNTS = 5
"""So many in a load: one that is of little else would take a minute."""


@dataclass(eq=False)
class Node:
    """What a path leads to; hard links lead to the same."""

    kind: str
    data: bytearray = field(default_factory=bytearray)
    target: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: int | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)


def content(seed: int, size: int) -> bytes:
    """So many bytes, those of a seed, which do not compress to nothing."""
    return random.Random(seed).randbytes(min(size, 997)) * (size // 997 + 1) if size else b""


class Load(RuleBasedStateMachine):
    """A random load: each rule does the same to the image's kernel and to the model.

    Attributes:
        os: the kernel's.
        nodes: the model, by path; the root is "".
        posix: has the file system owners, modes, links and attributes?
    """

    os: Any
    posix = True

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, Node] = {"": Node("d")}
        self._remounts = 0

    def reopen(self) -> None:
        """Unmount and mount."""
        raise NotImplementedError

    # The model

    def _pick(self, number: int, *kinds: str) -> str:
        found = [path for path, node in self.nodes.items() if node.kind in kinds and path]
        if not found:
            return ""
        return found[number % len(found)]

    def _directory(self, number: int) -> str:
        found = [path for path, node in self.nodes.items() if node.kind == "d"]
        return found[number % len(found)]

    def _below(self, path: str) -> list[str]:
        return [each for each in self.nodes if each.startswith(f"{path}/")]

    def _used(self) -> int:
        return sum(len(node.data) for node in set(self.nodes.values()))

    def _new(self, number: int, name: str) -> str | None:
        """A path that may be made; None if it is there, and making it fails with EEXIST."""
        path = f"{self._directory(number)}/{name}"
        return None if path in self.nodes else path

    def _add(self, path: str, node: Node) -> None:
        """inode(7): below a directory with the set-group-ID bit all is of its group."""
        parent = self.nodes[path.rpartition("/")[0]]
        if parent.mode & stat.S_ISGID:
            node.owner = (node.owner[0], parent.owner[1])
            node.mode |= stat.S_ISGID if node.kind == "d" else 0
        self.nodes[path] = node

    def _write(self, path: str, offset: int, data: bytes) -> None:
        fd = self.os.open(path, os.O_WRONLY)
        try:
            done = 0
            while done < len(data):
                done += self.os.pwrite(fd, data[done:], offset + done)
        finally:
            self.os.close(fd)
        node = self.nodes[path]
        if data:
            node.data.extend(bytes(max(0, offset + len(data) - len(node.data))))
            node.data[offset : offset + len(data)] = data
        node.mtime = None

    number = st.integers(0, 50)
    name = st.sampled_from(_NAMES)
    size = st.sampled_from(_SIZES)
    offset = st.one_of(st.sampled_from((0, 1, 4096, 65536)), st.integers(0, 1 << 20))

    # What every file system has

    @rule(where=number, name=name)
    def mkdir(self, where: int, name: str) -> None:
        path = f"{self._directory(where)}/{name}"
        if path in self.nodes:
            self._fails(errno.EEXIST, self.os.mkdir, path)
            return
        self.os.mkdir(path, 0o755)
        self._add(path, Node("d", mode=0o755))

    @rule(where=number, name=name, seed=number, size=size)
    def create(self, where: int, name: str, seed: int, size: int) -> None:
        path = self._new(where, name)
        if path is None or self._used() + size > _SPACE:
            return
        fd = self.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.os.close(fd)
        self._add(path, Node("f"))
        self._write(path, 0, content(seed, size)[:size])

    @rule(which=number, offset=offset, seed=number, size=size)
    def write(self, which: int, offset: int, seed: int, size: int) -> None:
        path = self._pick(which, "f")
        if path and self._used() + offset + size <= _SPACE:
            self._write(path, offset, content(seed, size)[:size])

    @rule(which=number, seed=number, size=size)
    def append(self, which: int, seed: int, size: int) -> None:
        path = self._pick(which, "f")
        if path and len(self.nodes[path].data) + size <= _MOST and self._used() + size <= _SPACE:
            self._write(path, len(self.nodes[path].data), content(seed, size)[:size])

    @rule(which=number, size=offset)
    def truncate(self, which: int, size: int) -> None:
        path = self._pick(which, "f")
        if not path or self._used() + size > _SPACE:
            return
        self.os.truncate(path, size)
        node = self.nodes[path]
        node.data = node.data[:size] + bytes(max(0, size - len(node.data)))
        node.mtime = None

    @rule(which=number)
    def unlink(self, which: int) -> None:
        path = self._pick(which, "f", "l", "p")
        if path:
            self.os.unlink(path)
            del self.nodes[path]

    @rule(which=number)
    def rmdir(self, which: int) -> None:
        path = self._pick(which, "d")
        if not path:
            return
        if self._below(path):
            self._fails(errno.ENOTEMPTY, self.os.rmdir, path)
            return
        self.os.rmdir(path)
        del self.nodes[path]

    @rule(which=number, where=number, name=name)
    def rename(self, which: int, where: int, name: str) -> None:
        source = self._pick(which, "f", "d", "l", "p")
        target = f"{self._directory(where)}/{name}"
        if not source or target == source:
            return
        error = self._why_not(source, target)
        if error:
            self._fails(error, self.os.rename, source, target)
            return
        self.os.rename(source, target)
        if self.nodes.get(target) is self.nodes[source]:
            return  # rename(2): two names of one file stay
        for path in [source, *self._below(source)]:
            self.nodes[target + path[len(source) :]] = self.nodes.pop(path)

    def _why_not(self, source: str, target: str) -> int:
        is_directory = self.nodes[source].kind == "d"
        there = self.nodes.get(target)
        if is_directory and target.startswith(f"{source}/"):
            return errno.EINVAL
        if source.startswith(f"{target}/"):
            return errno.ENOTEMPTY if is_directory else errno.EISDIR
        if there is None:
            return 0
        if is_directory and there.kind != "d":
            return errno.ENOTDIR
        if there.kind == "d" and not is_directory:
            return errno.EISDIR
        return errno.ENOTEMPTY if self._below(target) else 0

    def _fails(self, error: int, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except OSError as raised:
            # Where more than one thing is wrong, one is told.
            assert raised.errno == error or {raised.errno, error} <= {
                errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ENOTDIR,
            }  # fmt: skip
        else:
            raise AssertionError(f"{call.__name__}{args} should have failed: {os.strerror(error)}")

    @rule(which=number)
    def fsync(self, which: int) -> None:
        path = self._pick(which, "f")
        fd = self.os.open(path or "/", os.O_RDONLY)
        self.os.fsync(fd)
        self.os.close(fd)

    @precondition(lambda self: self._remounts < _REMOUNTS)
    @rule()
    def remount(self) -> None:
        self._remounts += 1
        self.reopen()

    # What those of Unix have

    @precondition(lambda self: self.posix)
    @rule(which=number, where=number, name=name)
    def link(self, which: int, where: int, name: str) -> None:
        source, target = self._pick(which, "f"), self._new(where, name)
        if source and target:
            self.os.link(source, target)
            self.nodes[target] = self.nodes[source]

    @precondition(lambda self: self.posix)
    @rule(where=number, name=name, to=st.sampled_from(("a", "../b/c", "/", "x" * 300)))
    def symlink(self, where: int, name: str, to: str) -> None:
        path = self._new(where, name)
        if path:
            self.os.symlink(to, path)
            self._add(path, Node("l", target=to, mode=0o777))

    @precondition(lambda self: self.posix)
    @rule(where=number, name=name)
    def pipe(self, where: int, name: str) -> None:
        path = self._new(where, name)
        if path:
            self.os.mkfifo(path, 0o600)
            self._add(path, Node("p", mode=0o600))

    @precondition(lambda self: self.posix)
    @rule(which=number, mode=st.sampled_from((0o600, 0o4755, 0o2711, 0o1777, 0)))
    def chmod(self, which: int, mode: int) -> None:
        path = self._pick(which, "f", "d", "p")
        if path:
            self.os.chmod(path, mode)
            self.nodes[path].mode = mode

    @precondition(lambda self: self.posix)
    @rule(which=number, owner=st.tuples(st.sampled_from((0, 7, 100_000)), st.integers(0, 9)))
    def chown(self, which: int, owner: tuple[int, int]) -> None:
        path = self._pick(which, "d", "p", "l")
        if path:
            self.os.chown(path, *owner, follow_symlinks=False)
            node = self.nodes[path]
            node.owner = owner
            if node.kind == "p":  # chown(2): the set-ID bits go of what might be a program
                node.mode &= ~stat.S_ISUID
                if node.mode & stat.S_IXGRP:
                    node.mode &= ~stat.S_ISGID

    @precondition(lambda self: self.posix)
    @rule(which=number, mtime=st.integers(0, 2**32 * 10**9))
    def utime(self, which: int, mtime: int) -> None:
        path = self._pick(which, "f", "p")
        if path:
            self.os.utime(path, ns=(mtime, mtime))
            self.nodes[path].mtime = mtime

    @precondition(lambda self: self.posix)
    @rule(which=number, name=st.sampled_from(("user.a", "trusted.b")), size=st.integers(0, 1500))
    def setxattr(self, which: int, name: str, size: int) -> None:
        path = self._pick(which, "f", "d")
        if not path:
            return
        value = content(size, size)[:size]
        try:
            self.os.setxattr(path, name, value)
        except OSError as error:
            # Some have a block for all of a file; what was there stays.
            assert error.errno == errno.ENOSPC
            return
        self.nodes[path].xattrs[name] = value

    @precondition(lambda self: self.posix)
    @rule(which=number)
    def removexattr(self, which: int) -> None:
        path = self._pick(which, "f", "d")
        if path and self.nodes[path].xattrs:
            name, _ = self.nodes[path].xattrs.popitem()
            self.os.removexattr(path, name)

    # The comparison

    def expected(self) -> dict[str, Any]:
        """What :func:`facts_of` has to find."""
        names: dict[Node, list[str]] = {}
        for path, node in sorted(self.nodes.items()):
            names.setdefault(node, []).append(path)
        found: dict[str, Any] = {}
        for path, node in self.nodes.items():
            row: dict[str, Any] = {"kind": node.kind}
            if node.kind == "f":
                row["data"] = bytes(node.data)
            if self.posix and path:
                row |= {"mode": node.mode, "owner": node.owner, "xattrs": node.xattrs}
                row["first"] = path if node.kind == "d" else names[node][0]
                if node.kind == "l":
                    row["target"] = node.target
                if node.mtime is not None:
                    row["mtime"] = node.mtime
            found[path] = row
        return found

    def compare(self, module: Any, top: str = "", exact_times: bool = True) -> None:
        """Fail unless what is there is what the model says."""
        expected = self.expected()
        found = facts_of(module, top, self.posix)
        assert sorted(found) == sorted(expected)
        for path, row in expected.items():
            there = {key: found[path].get(key) for key in row}
            if not exact_times:
                there.pop("mtime", None)
                row.pop("mtime", None)
            assert there == row, path


_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p"}


def facts_of(module: Any, top: str, posix: bool) -> dict[str, Any]:
    """What is in a tree.

    Args:
        module: ``os``, of the kernel or of the host.
        top: the tree's path, "" for the root.
        posix: has it owners, modes and the like?
    """
    found: dict[str, Any] = {}
    first: dict[int, str] = {}
    ahead = [""]
    while ahead:
        path = ahead.pop()
        full = f"{top}{path}" or "/"
        status = module.lstat(full)
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        row = found[path] = {"kind": kind}
        if kind == "f":
            row["data"] = _read(module, full)
        if kind == "d":
            names = module.listdir(full)
            ahead += [f"{path}/{name}" for name in names if path or name != "lost+found"]
        if posix and path:
            row |= {"mode": stat.S_IMODE(status.st_mode), "owner": (status.st_uid, status.st_gid)}
            row |= {"mtime": status.st_mtime_ns, "xattrs": _xattrs(module, full, kind)}
            row["ino"] = status.st_ino
            if kind == "l":
                row["target"] = module.readlink(full)
    for path, row in sorted(found.items()):
        if "ino" in row:
            row["first"] = first.setdefault(row["ino"], path)
    return found


def _read(module: Any, path: str) -> bytes:
    fd = module.open(path, os.O_RDONLY)
    try:
        pieces = []
        while piece := module.read(fd, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        module.close(fd)


def _xattrs(module: Any, path: str, kind: str) -> dict[str, bytes]:
    if kind not in "fd":
        return {}
    names = [name for name in module.listxattr(path) if name.startswith(("user.", "trusted."))]
    return {name: module.getxattr(path, name) for name in names}
