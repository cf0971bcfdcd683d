# SPDX-License-Identifier: GPL-2.0-only
"""What kind of file an image is, by its content, and which other files it names.

Nothing but headers is looked at, and no more is done than to compare, cut and count: what a
stranger has put there decides which program reads the rest, and which files that may open.

Source: QEMU's docs/interop/qcow2.rst; VMware, "Virtual Disk Format 5.0"; Microsoft, "Virtual
Hard Disk Image Format Specification" and [MS-VHDX]; RFC 1952, RFC 8878, xz-file-format.txt.
"""

from __future__ import annotations

import os

from rumpel.images.errors import ImageError
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]
    """Bytes of a file, from an offset on: fewer at its end."""

__all__ = ["COMPRESSED", "NAMES", "QEMU", "Header", "detect", "look"]

QEMU = ("qcow2", "qcow", "vmdk", "vpc", "vhdx", "vdi")
"""What qemu-nbd reads, by QEMU's names."""
COMPRESSED = ("gzip", "xz", "zstd", "bzip2")
"""What is decompressed."""
NAMES = {"vhd": "vpc", "gz": "gzip", "zst": "zstd", "bz2": "bzip2"}
"""Other names of them."""

_HEAD, _TAIL = 64 << 10, 512
_MAGIC = (
    ("qcow2", 0, b"QFI\xfb"),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vhdx", 0, b"vhdxfile"),
    ("vpc", 0, b"conectix"),
    ("vdi", 64, b"\x7f\x10\xda\xbe"),
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
)
_DESCRIPTOR = b"# Disk DescriptorFile"
_EXTENT = r'(?:RW|RDONLY|NOACCESS) \d+ [A-Z]+(?: "([^"]*)"(?: \d+)?)?'
_SETTING = r'([\w.]+) *= *(?:"([^"]*)"|([^"]*))'
_MOST_TEXT = 64 << 10
_MOST_NAME = 1023
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 4


class Header(NamedTuple):
    """What an image says of itself.

    Attributes:
        format: as QEMU names it, one of :data:`COMPRESSED`, or ``raw``.
        size: of the disk, in bytes; 0 if only who reads it all can tell.
        backing: the file that has what this one has not, or "".
        backing_format: its format, or "" if that is not said.
        extents: files that have the content.
    """

    format: str
    size: int = 0
    backing: str = ""
    backing_format: str = ""
    extents: tuple[str, ...] = ()


def detect(head: bytes, tail: bytes = b"") -> str:
    """The format of a file.

    Args:
        head: its first bytes, 512 at least.
        tail: its last 512.

    Example:
        >>> detect(b"QFI\\xfb" + bytes(508)), detect(bytes(512))
        ('qcow2', 'raw')
    """
    for name, offset, magic in _MAGIC:
        if head.startswith(magic, offset):
            return "qcow" if head.startswith(b"QFI\xfb\0\0\0\x01") else name
    if head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:  # a frame to be skipped, as of pzstd
        at = 8 + int.from_bytes(head[4:8], "little")
        return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd", at) else "raw"
    if head.startswith(_DESCRIPTOR):
        return "vmdk"
    if head[:3] == b"BZh" and head[4:10] == b"1AY&SY":
        return "bzip2"
    # Of a fixed size: all of it is behind the disk, and what is in the disk may be anything.
    if tail.startswith(b"conectix") and tail[60:64] == b"\0\0\0\x02":
        return "vpc"
    return "raw"


def look(name: str, read: Read, size: int, format: str | None = None) -> Header:
    """Read the header of an image.

    Args:
        name: of the image, for messages.
        read: reads the file.
        size: of the file.
        format: what it is; None looks for itself.

    Raises:
        ImageError: if it cannot be, or is of a kind that nothing here reads.
    """
    head = read(0, _HEAD)
    found = detect(head, read(size - _TAIL, _TAIL) if size > _TAIL else b"")
    format = NAMES.get(format, format) if format else found
    if format not in ("raw", found):
        if format not in (*QEMU, *COMPRESSED):
            raise ImageError(name, f"{format!r} is no format of images")
        raise ImageError(name, f"is no image of format {format}, but {found}")
    parse = {"qcow2": _qcow2, "vmdk": _vmdk, "vhdx": _plain, "vdi": _vdi, "vpc": _vpc}
    return parse.get(format, _plain)(name, format, head, read)


def _plain(name: str, format: str, head: bytes, read: Read) -> Header:
    return Header(format)


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _qcow2(name: str, format: str, head: bytes, read: Read) -> Header:
    version = _number(head, 4, 4)
    if _number(head, 32, 4):
        raise ImageError(name, "is encrypted by QEMU (decrypt it: qemu-img convert)")
    incompatible = _number(head, 72, 8) if version >= 3 else 0
    if incompatible & _DATA_FILE:
        raise ImageError(name, "keeps its data in another file (external data file)")
    at, length = _number(head, 8, 8), _number(head, 16, 4)
    backing = b""
    if at:
        if not 0 < length <= _MOST_NAME:
            raise ImageError(name, "damaged: the name of its backing file is too long")
        backing = read(at, length)
    end = min(at or len(head), len(head))
    kind = _backing_format(head, _number(head, 100, 4) if version >= 3 else 72, end)
    return Header(format, _number(head, 24, 8), os.fsdecode(backing), kind)


def _backing_format(head: bytes, at: int, end: int) -> str:
    """What the header extensions say of it."""
    while at + 8 <= end:
        kind, length = _number(head, at, 4), _number(head, at + 4, 4)
        at += 8
        if not kind or length > end - at:
            break
        if kind == _BACKING_FORMAT:
            return head[at : at + length].decode("latin-1")
        at += (length + 7) // 8 * 8
    return ""


def _vmdk(name: str, format: str, head: bytes, read: Read) -> Header:
    if head.startswith(b"COWD"):
        return Header(format)
    size = 0
    if head.startswith(b"KDMV"):
        size = int.from_bytes(head[12:20], "little") * 512
        sector = int.from_bytes(head[28:36], "little")
        sectors = int.from_bytes(head[36:44], "little")
        text = read(sector * 512, min(sectors * 512, _MOST_TEXT)) if sector else b""
    else:
        text = head[:_MOST_TEXT]
    files, settings = _described(name, os.fsdecode(text.partition(b"\0")[0]))
    backing = settings.get("parentFileNameHint", "")
    if settings.get("parentCID", "ffffffff").lower() == "ffffffff":
        backing = ""
    # Without a size of its own it is what its descriptor says, also behind another header.
    return Header(format, size, backing, "vmdk" if backing else "", () if size else files)


def _described(name: str, text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Files and settings of a VMDK's descriptor.

    QEMU reads it more generously than this: what it might take for a file must not be missed.
    """
    import re

    files: list[str] = []
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        line = line.strip()
        extent, setting = re.fullmatch(_EXTENT, line), re.fullmatch(_SETTING, line)
        if extent:
            files += [extent[1]] if extent[1] is not None else []
        elif setting:
            settings[setting[1]] = setting[2] if setting[2] is not None else setting[3].strip()
        elif line and not line.startswith("#"):
            raise ImageError(name, f"has a line in its descriptor that says nothing: {line!r}")
    return tuple(files), settings


def _vpc(name: str, format: str, head: bytes, read: Read) -> Header:
    if head.startswith(b"conectix") and _number(head, 60, 4) == 4:
        raise ImageError(name, "is a differencing VHD, whose parent nothing here can read")
    return Header(format)


def _vdi(name: str, format: str, head: bytes, read: Read) -> Header:
    return Header(format, int.from_bytes(head[0x170:0x178], "little"))
