# SPDX-License-Identifier: GPL-2.0-only
"""What is on a block device, by its superblock.

The kernel tries file systems one after the other and cannot say which it did not know. This
names them, with label and UUID, also those that Linux has no driver for.

Source: the structures' definitions in Linux (fs/*/), and of what it lacks in the formats' own
specifications; magic numbers are those that libblkid looks for.
"""

from __future__ import annotations

import codecs
from itertools import pairwise

from rumpel.images.layers import raid
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SIZE", "Found", "probe", "probe_end", "table"]

SIZE = 80 << 10
"""How much from the beginning has to be read."""


class Found(NamedTuple):
    """What is on a device.

    Attributes:
        kind: as blkid and mount call it, such as ``ext4`` or ``LVM2_member``.
        label: a name that somebody gave it, or "".
        uuid: as blkid writes it, or "".
        mountable: is it a file system at all?
    """

    kind: str
    label: str = ""
    uuid: str = ""
    mountable: bool = True


# In a sandbox there is nothing to load it from.
codecs.lookup("utf-16-le")


def probe(data: bytes) -> Found | None:
    """Look at the beginning of a device.

    Args:
        data: its first :data:`SIZE` bytes, or all there are.

    Example:
        >>> probe(b"hsqs" + bytes(92)).kind
        'squashfs'
        >>> probe(bytes(100)) is None
        True
    """
    padded = data.ljust(SIZE, b"\0")
    return next(filter(None, _attempts(padded)), None)


def probe_end(read: Callable[[int, int], bytes], size: int) -> Found | None:
    """Look at the end of a device, where RAIDs have what they are known by.

    Args:
        read: gives so many bytes of it from there.
        size: its size, in bytes.
    """
    for at, version in raid.offsets(size):
        if at > SIZE and (member := raid.parse(read(at, raid.ROOM), at, version)):
            return Found("linux_raid_member", member.name, member.uuid, mountable=False)
    return None


def table(data: bytes) -> str:
    """What kind of partition table a disk begins with: ``gpt``, ``dos`` or "" for none known.

    Args:
        data: the disk's first bytes.
    """
    if data[512:520] == b"EFI PART":
        return "gpt"
    return "dos" if data[510:512] == b"\x55\xaa" else ""


def _attempts(data: bytes) -> Iterator[Found | None]:
    for look in _LOOKS:
        yield look(data)
    for kind, offset, magic, mountable, *label in _MAGIC:
        if data.startswith(magic, offset):
            at, length = label or (0, 0)
            yield Found(kind, _text(data[at : at + length]), mountable=mountable)


def _text(raw: bytes, encoding: str = "utf-8") -> str:
    text = raw.decode(encoding, "replace").partition("\0")[0]
    return text.rstrip()


def _uuid(raw: bytes) -> str:
    if not any(raw):
        return ""
    digits = raw.hex()
    cuts = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[a:b] for a, b in pairwise(cuts))


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _ext(data: bytes) -> Found | None:
    if data[1080:1082] != b"\x53\xef":
        return None
    compatible, incompatible, read_only = (_u32(data, 1024 + at) for at in (0x5C, 0x60, 0x64))
    if incompatible & 0x8:
        return Found("jbd", uuid=_uuid(data[1128:1144]), mountable=False)
    kind = "ext3" if compatible & 0x4 else "ext2"
    # What ext3 had not: anything but filetype, recover, meta_bg; sparse_super, large_file.
    if incompatible & ~0x16 or read_only & ~0x7:
        kind = "ext4"
    return Found(kind, _text(data[1144:1160]), _uuid(data[1128:1144]))


def _xfs(data: bytes) -> Found | None:
    if data[:4] != b"XFSB":
        return None
    return Found("xfs", _text(data[108:120]), _uuid(data[32:48]))


def _btrfs(data: bytes) -> Found | None:
    if data[0x10040:0x10048] != b"_BHRfS_M":
        return None
    return Found("btrfs", _text(data[0x1012B:0x1022B]), _uuid(data[0x10020:0x10030]))


def _f2fs(data: bytes) -> Found | None:
    if _u32(data, 1024) != 0xF2F52010:
        return None
    label = _text(data[1024 + 0x7C : 1024 + 0x7C + 1024], "utf-16-le")
    return Found("f2fs", label, _uuid(data[1024 + 0x6C : 1024 + 0x7C]))


def _exfat(data: bytes) -> Found | None:
    if data[3:11] != b"EXFAT   ":
        return None
    return Found("exfat", uuid=_serial(data[100:104]))


def _ntfs(data: bytes) -> Found | None:
    if data[3:11] != b"NTFS    ":
        return None
    return Found("ntfs", uuid=data[72:80][::-1].hex().upper())


def _fat(data: bytes) -> Found | None:
    if data[510:512] != b"\x55\xaa" or data[0] not in (0xEB, 0xE9):
        return None
    sector = int.from_bytes(data[11:13], "little")
    if sector not in (512, 1024, 2048, 4096) or data[16] not in (1, 2, 3, 4):
        return None
    at = 64 if data[82:87] == b"FAT32" else 36
    if at == 36 and data[54:57] != b"FAT":
        return None
    label = _text(data[at + 7 : at + 18], "latin-1")
    label = "" if label == "NO NAME" else label
    return Found("vfat", label, _serial(data[at + 3 : at + 7]))


def _serial(raw: bytes) -> str:
    digits = raw[::-1].hex().upper()
    return f"{digits[:4]}-{digits[4:]}"


def _iso9660(data: bytes) -> Found | None:
    # Volume descriptors of UDF come in the same place; a disk may have both.
    for at in range(0x8000, 0x8000 + 24 * 2048, 2048):
        if data[at + 1 : at + 6] in (b"NSR02", b"NSR03"):
            return Found("udf")
    if data[0x8001:0x8006] != b"CD001":
        return None
    label = _text(data[0x8028:0x8048], "latin-1")
    made = data[0x832D:0x833D].decode("latin-1")
    cuts = (0, 4, 6, 8, 10, 12, 14, 16)
    uuid = "-".join(made[a:b] for a, b in pairwise(cuts))
    return Found("iso9660", label, uuid if made.isdigit() else "")


def _erofs(data: bytes) -> Found | None:
    if _u32(data, 1024) != 0xE0F5E1E2:
        return None
    return Found("erofs", _text(data[1024 + 64 : 1024 + 80]), _uuid(data[1024 + 48 : 1024 + 64]))


def _luks(data: bytes) -> Found | None:
    if data[:6] != b"LUKS\xba\xbe":
        return None
    label = _text(data[24:72]) if data[7] == 2 else ""
    return Found("crypto_LUKS", label, _text(data[168:208]), mountable=False)


def _lvm(data: bytes) -> Found | None:
    for at in range(0, 2048, 512):
        if data[at : at + 8] == b"LABELONE" and data[at + 24 : at + 32] == b"LVM2 001":
            raw = data[at + 32 : at + 64].decode("latin-1")
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            uuid = "-".join(raw[a:b] for a, b in pairwise(cuts))
            return Found("LVM2_member", uuid=uuid, mountable=False)
    return None


def _md(data: bytes) -> Found | None:
    for at, version in raid.offsets(0):
        if member := raid.parse(data[at : at + raid.ROOM], at, version):
            return Found("linux_raid_member", member.name, member.uuid, mountable=False)
    return None


def _verity(data: bytes) -> Found | None:
    if not data.startswith(b"verity\0\0"):
        return None
    return Found("DM_verity_hash", uuid=_uuid(data[16:32]), mountable=False)


def _swap(data: bytes) -> Found | None:
    if data[4086:4096] not in (b"SWAPSPACE2", b"SWAP-SPACE"):
        return None
    return Found("swap", _text(data[1052:1068]), _uuid(data[1036:1052]), mountable=False)


def _nilfs2(data: bytes) -> Found | None:
    if data[1030:1032] != b"\x34\x34":
        return None
    return Found("nilfs2", _text(data[1192:1272]), _uuid(data[1176:1192]))


def _ufs(data: bytes) -> Found | None:
    for at in (8192, 65536):
        magic = data[at + 1372 : at + 1376]
        if magic in (b"\x54\x19\x01\x00", b"\x19\x01\x54\x19"):
            made, by_chance = _u32(data, at + 144), _u32(data, at + 148)
            label = _text(data[at + 680 : at + 712]) if magic[0] == 0x19 else ""
            return Found("ufs", label, f"{made:08x}{by_chance:08x}" if made else "")
    return None


_LOOKS: tuple[Callable[[bytes], Found | None], ...] = (
    _luks,
    _lvm,
    _md,
    _verity,
    _ext,
    _xfs,
    _btrfs,
    _f2fs,
    _exfat,
    _ntfs,
    _erofs,
    _iso9660,
    _swap,
    _nilfs2,
    _ufs,
    _fat,
)

_MAGIC = (
    ("squashfs", 0, b"hsqs", True),
    ("cramfs", 0, b"\x45\x3d\xcd\x28", True, 48, 16),
    ("romfs", 0, b"-rom1fs-", True, 16, 256),
    ("minix", 1040, b"\x7f\x13", True),
    ("minix", 1040, b"\x8f\x13", True),
    ("minix", 1040, b"\x68\x24", True),
    ("minix", 1040, b"\x78\x24", True),
    ("minix", 1048, b"\x5a\x4d", True),
    ("hfsplus", 1024, b"H+\x00\x04", True),
    ("hfsplus", 1024, b"HX\x00\x05", True),
    ("hfs", 1024, b"BD", True),
    ("reiserfs", 65588, b"ReIsEr", True),
    ("jfs", 32768, b"JFS1", True),
    ("bcachefs", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", True),
    ("bcache", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", False),
    ("apfs", 32, b"NXSB", True),
    ("gfs2", 65536, b"\x01\x16\x19\x70", True),
    ("ocfs2", 8192, b"OCFSV2", True),
    ("befs", 544, b"1SFB", True, 512, 32),
    ("BitLocker", 3, b"-FVE-FS-", False),
)
