# SPDX-License-Identifier: GPL-2.0-only
"""What the host knows of: inodes, each with a name that leads to it.

Descriptors for all would be as many as the host's cache has inodes. A name is enough, as all
changes of names come through here; what loses its name while the host may have it open gets a
descriptor before.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from rumpel.images.fuse.protocol import ROOT_ID

__all__ = ["Node", "Nodes"]


class Node:
    """An inode.

    Attributes:
        id: what the host calls it.
        key: its device and number in the kernel.
        parent: the directory that its name is in; None for the root.
        name: there.
        lookups: how often the host was told of it, and has not forgotten it.
        below: how many other nodes have their names in it.
        fd: its descriptor, once it has no name; -1 before.
    """

    __slots__ = ("below", "fd", "id", "key", "lookups", "name", "parent")

    def __init__(self, id: int, key: tuple[int, int], parent: Node | None, name: bytes) -> None:
        self.id = id
        self.key = key
        self.parent = parent
        self.name = name
        self.lookups = 0
        self.below = 0
        self.fd = -1

    @property
    def path(self) -> bytes:
        """Its name from the root.

        Raises:
            OSError: ESTALE, if it has none any more.
        """
        node, names = self, []
        while node.parent:
            if node.fd >= 0:
                raise OSError(errno.ESTALE, "has no name any more")
            names.append(node.name)
            node = node.parent
        names.reverse()
        return b"/" + b"/".join(names)


class Nodes:
    """All of them.

    Args:
        root: key of the root directory.
        release: called with nodes that are gone.
    """

    def __init__(self, root: tuple[int, int], release: Callable[[Node], None]) -> None:
        self._release = release
        top = Node(ROOT_ID, root, None, b"")
        top.lookups = 1
        self._last = ROOT_ID
        self._by_id = {ROOT_ID: top}
        self._by_key = {root: top}

    def __getitem__(self, id: int) -> Node:
        try:
            return self._by_id[id]
        except KeyError:
            raise OSError(errno.ESTALE, "no such node") from None

    def __iter__(self) -> Iterator[Node]:
        return iter(self._by_id.values())

    def find(self, key: tuple[int, int]) -> Node | None:
        """The node of an inode, if the host knows it."""
        return self._by_key.get(key)

    def tell(self, key: tuple[int, int], parent: Node, name: bytes) -> Node:
        """The node of an inode of which the host is told now, by this name."""
        node = self._by_key.get(key)
        if node is None:
            self._last += 1
            node = self._by_id[self._last] = self._by_key[key] = Node(self._last, key, parent, name)
            parent.below += 1
        elif node.fd >= 0 and node.parent:
            # It had lost a name, and has another one.
            self.move(node, parent, name)
            self._release(node)
        node.lookups += 1
        return node

    def move(self, node: Node, parent: Node, name: bytes) -> None:
        """Another name leads to it."""
        before = node.parent
        if before is None:
            return
        node.parent, node.name = parent, name
        parent.below += 1
        before.below -= 1
        self._drop(before)

    def forget(self, id: int, count: int) -> None:
        """The host does not know it any more, as often as it says."""
        node = self._by_id.get(id)
        if node is None or id == ROOT_ID:
            return
        node.lookups -= count
        self._drop(node)

    def _drop(self, node: Node) -> None:
        """Forget it, and those above it, unless somebody needs them."""
        while node.lookups <= 0 and not node.below and node.parent:
            del self._by_id[node.id]
            if self._by_key.get(node.key) is node:
                del self._by_key[node.key]
            self._release(node)
            node = node.parent
            node.below -= 1
