# SPDX-License-Identifier: GPL-2.0-only
"""Trees of hashes that dm-verity checks what is read by.

Source: Documentation/admin-guide/device-mapper/verity.rst; cryptsetup's wiki, DMVerity.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Tree", "is_root", "parse", "target_args"]

MAGIC = b"verity\0\0"
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s")
_SECTOR = 512
_ALGORITHM = re.compile(rb"[a-z0-9-]{1,31}")


class Tree(NamedTuple):
    """A tree of hashes.

    Attributes:
        kind: 0 is that of Chrome OS, 1 all others.
        algorithm: of the hashes.
        data_block, hash_block: sizes of blocks, in bytes.
        blocks: of data.
        salt: goes into each hash.
        start: where the tree begins on its device, in bytes.
    """

    kind: int
    algorithm: str
    data_block: int
    hash_block: int
    blocks: int
    salt: bytes
    start: int

    @property
    def size(self) -> int:
        """Of the data, in bytes."""
        return self.blocks * self.data_block


def parse(data: bytes, at: int = 0) -> Tree | None:
    """A superblock, if that is one.

    Args:
        data: the 512 bytes of it.
        at: where on the device they are, in bytes.
    """
    if len(data) < _SUPERBLOCK.size or data[:8] != MAGIC:
        return None
    fields = _SUPERBLOCK.unpack_from(data)
    _, version, kind, _, raw, data_block, hash_block, blocks, salt_size, salt = fields
    name = raw.partition(b"\0")[0]
    sizes_fit = all(
        size & (size - 1) == 0 and 512 <= size <= 1 << 19 for size in (data_block, hash_block)
    )
    if version != 1 or kind > 1 or salt_size > 256 or not blocks or not sizes_fit:
        return None
    if not _ALGORITHM.fullmatch(name) or blocks >= 1 << 54:
        return None
    start = -(-(at + _SECTOR) // hash_block) * hash_block
    return Tree(kind, name.decode(), data_block, hash_block, blocks, salt[:salt_size], start)


def is_root(tree: Tree, root: bytes, read: Callable[[int, int], bytes]) -> bool:
    """Is that the hash of the tree's uppermost block?

    Where it cannot be told (one block of data has no tree, Python lacks the algorithm) it is
    assumed: the kernel will check it when something is read.

    Args:
        tree: the tree.
        root: the hash.
        read: gives so many bytes of the tree's device from there.
    """
    try:
        digest = hashlib.new(tree.algorithm)
        if digest.digest_size != len(root):
            return False
    except (ValueError, TypeError):
        return True
    if tree.blocks == 1:
        return True
    block = read(tree.start, tree.hash_block)
    pieces = (tree.salt, block) if tree.kind == 1 else (block, tree.salt)
    for piece in pieces:
        digest.update(piece)
    return digest.digest() == root


def target_args(tree: Tree, root: bytes, data: str, hashes: str) -> str:
    """What the target ``verity`` is told, with the paths of both devices."""
    return " ".join(
        map(
            str,
            (
                tree.kind, data, hashes, tree.data_block, tree.hash_block, tree.blocks,
                tree.start // tree.hash_block, tree.algorithm, root.hex(), tree.salt.hex() or "-",
            ),
        )
    )  # fmt: skip
