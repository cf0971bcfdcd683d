# SPDX-License-Identifier: GPL-2.0-only
"""Labels of file systems that have them elsewhere than in their superblocks.

Each is looked for in one place, and what makes no sense there is no label: the numbers may be a
stranger's.

Source: Microsoft, "exFAT file system specification" and "FAT: General Overview of On-Disk
Format"; fs/ntfs3/ntfs.h; ECMA-167 and OSTA, "Universal Disk Format"; fs/hfsplus/hfsplus_raw.h.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]
    """So many bytes of a device from there on; fewer at its end."""

__all__ = ["gpt_name", "label_and_uuid"]

_MOST = 64 << 10
"""Of a directory or a file: its beginning is enough."""
_HEXADECIMAL = frozenset("0123456789abcdef")


def label_and_uuid(kind: str, data: bytes, read: Read) -> tuple[str, str]:
    """The label and the UUID of a file system; "" for what is not known from here.

    Args:
        kind: of the file system.
        data: its beginning, with its superblock.
        read: reads it.
    """
    look = _LOOKS.get(kind)
    return look(data, read) if look else ("", "")


def gpt_name(read: Read, number: int) -> str:
    """The name of a partition of GPT, of which Linux only knows the ASCII characters.

    Args:
        read: reads the disk.
        number: of the partition.
    """
    header = read(512, 512)
    length = _number(header, 84, 4)
    if header[:8] != b"EFI PART" or not 128 <= length <= 4096:
        return ""
    return _utf16(read(_number(header, 72, 8) * 512 + (number - 1) * length, length)[56:128])


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _utf16(data: bytes) -> str:
    return data.decode("utf-16-le", "replace").partition("\0")[0]


def _swapped(data: bytes) -> bytes:
    """Big-endian numbers of 16 bits as little-endian ones."""
    swapped = bytearray(data[: len(data) // 2 * 2])
    swapped[::2], swapped[1::2] = swapped[1::2], swapped[::2]
    return bytes(swapped)


def _exfat(data: bytes, read: Read) -> tuple[str, str]:
    sector, per_cluster = data[108], data[109]
    if not (9 <= sector <= 12 and sector + per_cluster <= 25):
        return "", ""
    cluster = 1 << (sector + per_cluster)
    at = (_number(data, 88, 4) << sector) + (_number(data, 96, 4) - 2) * cluster
    if at <= 0:
        return "", ""
    root = read(at, min(cluster, _MOST))
    for entry in (root[at : at + 32] for at in range(0, len(root), 32)):
        if not entry[0]:
            break
        if entry[0] == 0x83:
            return _utf16(entry[2 : 2 + 2 * min(entry[1], 11)]), ""
    return "", ""


def _fat(data: bytes, read: Read) -> tuple[str, str]:
    sector, reserved, copies = _number(data, 11, 2), _number(data, 14, 2), data[16]
    length = (_number(data, 22, 2) or _number(data, 36, 4)) * sector
    at, size = reserved * sector + copies * length, _number(data, 17, 2) * 32
    if not size:  # FAT32, whose root is as other directories
        size = data[13] * sector
        at += max(_number(data, 44, 4) - 2, 0) * size
    root = read(at, min(size, _MOST))
    for entry in (root[at : at + 32] for at in range(0, len(root) - 31, 32)):
        if not entry[0]:
            break
        # A part of a long name has this bit as well, and others.
        if entry[0] != 0xE5 and entry[11] & 0x3F == 0x08:
            return entry[:11].decode("latin-1").rstrip(), ""
    return "", ""


def _ntfs(data: bytes, read: Read) -> tuple[str, str]:
    sector, per_cluster, per_record = _number(data, 11, 2), data[13], data[64]
    if per_cluster > 0x80:
        per_cluster = 1 << min(256 - per_cluster, 16)
    cluster = sector * per_cluster
    size = 1 << min(256 - per_record, 16) if per_record > 0x7F else per_record * cluster
    if not 512 <= size <= _MOST:
        return "", ""
    stored = read(_number(data, 48, 8) * cluster + 3 * size, size)
    if len(stored) < size or stored[:4] != b"FILE":
        return "", ""
    # The last two bytes of each sector are kept elsewhere.
    fixups, mended = _number(stored, 4, 2), bytearray(stored)
    for number in range(1, _number(stored, 6, 2)):
        end, kept = number * 512, stored[fixups + 2 * number : fixups + 2 * number + 2]
        if end <= size and len(kept) == 2:
            mended[end - 2 : end] = kept
    record = bytes(mended)
    at = _number(record, 20, 2)
    while at + 24 <= size:
        attribute, length = _number(record, at, 4), _number(record, at + 4, 4)
        if attribute == 0x60:  # $VOLUME_NAME, which is always in the record
            begin = at + _number(record, at + 20, 2)
            return _utf16(record[begin : begin + _number(record, at + 16, 4)]), ""
        if not length or attribute == 0xFFFFFFFF:
            break
        at += length
    return "", ""


def _udf(data: bytes, read: Read) -> tuple[str, str]:
    for block in (512, 1024, 2048, 4096):
        anchor = read(256 * block, 512)
        if _number(anchor, 0, 2) == 2 and _number(anchor, 12, 4) == 256:
            break
    else:
        return "", ""
    length, start = _number(anchor, 16, 4), _number(anchor, 20, 4)
    label = uuid = ""
    for at in range(0, min(length, _MOST), block):
        descriptor = read(start * block + at, 512)
        tag = _number(descriptor, 0, 2)
        if tag == 1:
            first = _dstring(descriptor[72:200])[:16].lower()
            uuid = first if len(first) == 16 and set(first) <= _HEXADECIMAL else ""
        elif tag == 6:
            label = _dstring(descriptor[84:212])
        elif tag in (0, 8):  # the end
            break
    return label, uuid


def _dstring(field: bytes) -> str:
    """A string of OSTA's: how it is compressed, then it, and its length in the last byte."""
    text = field[1 : max(field[-1:][0] if field else 0, 1)]
    if field[:1] == b"\x10":
        return _utf16(_swapped(text))
    return text.decode("latin-1") if field[:1] == b"\x08" else ""


def _hfsplus(data: bytes, read: Read) -> tuple[str, str]:
    header = data[1024 : 1024 + 512]
    catalog = _big(header, 288, 4) * _big(header, 40, 4)
    tree = read(catalog, 64)
    size = _big(tree, 32, 2)
    leaf = read(catalog + _big(tree, 24, 4) * size, min(size, 1024))
    # The first record is the root's: its key has the name.
    if leaf[8:9] != b"\xff" or _big(leaf, 16, 4) != 1:
        return "", ""
    length = _big(leaf, 20, 2)
    return _utf16(_swapped(leaf[22 : 22 + 2 * min(length, 255)])), ""


_LOOKS: dict[str, Callable[[bytes, Read], tuple[str, str]]] = {
    "exfat": _exfat,
    "hfsplus": _hfsplus,
    "ntfs": _ntfs,
    "udf": _udf,
    "vfat": _fat,
}
