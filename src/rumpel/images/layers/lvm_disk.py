# SPDX-License-Identifier: GPL-2.0-only
"""What LVM writes on physical volumes: labels, and where the metadata's text is.

Source: lvm2, lib/format_text/layout.h and lib/label/label.h (structures only).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Label", "label", "texts"]

Read = Callable[[int, int], bytes]

_SECTOR = 512
_LABEL = struct.Struct("<8sQII8s")
_PV_HEADER = struct.Struct("<32sQ")
_AREA = struct.Struct("<QQ")
_MDA_HEADER = struct.Struct("<I16sIQQ")
_LOCATION = struct.Struct("<QQII")
_MDA_MAGIC = b" LVM2 x[5A%r0N*>"
_INITIAL_CRC = 0xF597A6CF
_IGNORED = 1
_MOST_TEXT = 16 << 20
_MOST_AREAS = 16


class Label(NamedTuple):
    """A physical volume.

    Attributes:
        uuid: 32 characters.
        areas: of metadata: where and how large.
    """

    uuid: str
    areas: list[tuple[int, int]]


def label(read: Read) -> Label | None:
    """The label of a device, if it has one that is whole.

    Args:
        read: gives so many bytes of it from there, or fewer at its end.
    """
    first = read(0, 4 * _SECTOR)
    for at in range(0, len(first) - _SECTOR + 1, _SECTOR):
        sector = first[at : at + _SECTOR]
        magic, number, crc, offset, kind = _LABEL.unpack_from(sector)
        if (magic, number, kind) != (b"LABELONE", at // _SECTOR, b"LVM2 001"):
            continue
        if _crc(sector[20:]) == crc and offset <= _SECTOR - _PV_HEADER.size:
            return _header(sector, offset)
    return None


def _header(sector: bytes, at: int) -> Label:
    raw, _ = _PV_HEADER.unpack_from(sector, at)
    at += _PV_HEADER.size
    lists: list[list[tuple[int, int]]] = []
    for _ in range(2):  # of data, and of metadata; each ends with zeroes
        areas = []
        while at + _AREA.size <= len(sector):
            area = _AREA.unpack_from(sector, at)
            at += _AREA.size
            if area == (0, 0):
                break
            areas.append(area)
        lists.append(areas)
    return Label(raw.decode("latin-1"), lists[1][:_MOST_AREAS])


def texts(read: Read, found: Label) -> list[str]:
    """The metadata that is valid in each of its areas.

    Args:
        read: as for :func:`label`.
        found: the device's label.
    """
    every = []
    for start, size in found.areas:
        header = read(start, _SECTOR)
        if len(header) < _SECTOR:
            continue
        crc, magic, version, _, _ = _MDA_HEADER.unpack_from(header)
        if magic != _MDA_MAGIC or version != 1 or _crc(header[4:]) != crc:
            continue
        offset, length, checksum, flags = _LOCATION.unpack_from(header, _MDA_HEADER.size)
        if not offset or not length or flags & _IGNORED:
            continue
        if not _SECTOR <= offset < size or length > min(size - _SECTOR, _MOST_TEXT):
            continue
        # The area is a ring behind its header.
        first = min(length, size - offset)
        data = read(start + offset, first) + read(start + _SECTOR, length - first)
        if len(data) == length and _crc(data) == checksum:
            every.append(data.rstrip(b"\0").decode("utf-8", "replace"))
    return every


def _crc(data: bytes) -> int:
    return zlib.crc32(data, _INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
