# SPDX-License-Identifier: GPL-2.0-only
"""The features of a file system, as its own tools call them.

Source: Linux, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs.h,
fs/f2fs/f2fs.h; the names are those of dumpe2fs, xfs_info, sysfs of btrfs, and mkfs.f2fs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

__all__ = ["features"]

_EXT = (
    (0x5C, """dir_prealloc imagic_inodes has_journal ext_attr resize_inode dir_index lazy_bg -
        exclude_bitmap sparse_super2 fast_commit stable_inodes orphan_file"""),
    (0x60, """compression filetype needs_recovery journal_dev meta_bg - extent 64bit mmp flex_bg
        ea_inode - dirdata metadata_csum_seed large_dir inline_data encrypt casefold"""),
    (0x64, """sparse_super large_file btree_dir huge_file uninit_bg dir_nlink extra_isize
        has_snapshot quota bigalloc metadata_csum replica read-only project shared_blocks verity
        orphan_present"""),
)  # fmt: skip
_XFS = (
    (212, "finobt rmapbt reflink inobtcount"),
    (216, "ftype sparse meta_uuid bigtime needsrepair nrext64 exchange parent metadir"),
)
_BTRFS = (
    (0xB4, "free_space_tree free_space_tree_valid verity block_group_tree"),
    (0xBC, """mixed_backref default_subvol mixed_groups compress_lzo compress_zstd big_metadata
        extended_iref raid56 skinny_metadata no_holes metadata_uuid raid1c34 zoned extent_tree_v2
        raid_stripe_tree - simple_quota"""),
)  # fmt: skip
_F2FS = """encrypt blkzoned atomic_write extra_attr project_quota inode_checksum
    flexible_inline_xattr quota_ino inode_crtime lost_found verity sb_checksum casefold compression
    ro device_alias"""  # fmt: skip


def features(kind: str, data: bytes) -> list[str]:
    """What a file system's superblock says; what has no name yet is its bit.

    Args:
        kind: as :func:`rumpel.images.probe.probe` finds it.
        data: the first bytes of the device.

    Example:
        >>> features("squashfs", bytes(4096))
        []
    """
    look = _LOOKS.get(kind)
    return list(look(data)) if look else []


def _flags(
    data: bytes, at: int, size: int, names: str, order: Literal["little", "big"] = "little"
) -> Iterator[str]:
    bits = int.from_bytes(data[at : at + size], order)
    known = names.split()
    for bit in range(8 * size):
        if bits >> bit & 1:
            named = bit < len(known) and known[bit] != "-"
            yield known[bit] if named else f"{bits & 1 << bit:#x}"


def _ext(data: bytes) -> Iterator[str]:
    for at, names in _EXT:
        yield from _flags(data, 1024 + at, 4, names)


def _xfs(data: bytes) -> Iterator[str]:
    if int.from_bytes(data[100:102], "big") & 15 < 5:
        return
    yield "crc"
    for at, names in _XFS:
        yield from _flags(data, at, 4, names, "big")


def _btrfs(data: bytes) -> Iterator[str]:
    for at, names in _BTRFS:
        yield from _flags(data, 0x10000 + at, 8, names)


def _f2fs(data: bytes) -> Iterator[str]:
    yield from _flags(data, 1024 + 0x884, 4, _F2FS)


_LOOKS: dict[str, Callable[[bytes], Iterator[str]]] = {
    "ext2": _ext,
    "ext3": _ext,
    "ext4": _ext,
    "xfs": _xfs,
    "btrfs": _btrfs,
    "f2fs": _f2fs,
}
