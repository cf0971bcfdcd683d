# SPDX-License-Identifier: GPL-2.0-only
"""Headers of LUKS, in both formats, as data: whoever wrote them may be a stranger.

Source: "LUKS On-Disk Format Specification" 1.2.3, "LUKS2 On-Disk Format Specification" 1.1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Digest", "Header", "HeaderError", "Kdf", "Slot", "parse"]

MAGIC, SECOND = b"LUKS\xba\xbe", b"SKUL\xba\xbe"
SIZES = tuple(0x4000 << shift for shift in range(9))
"""Of a LUKS2 header, and where its second copy may be."""
_SECTOR = 512
_MOST_KEY = 512
_MOST_STRIPES = 1 << 16
_MOST_SLOTS, _MOST_BYTES = 32, 512
_NAME = re.compile(r"[A-Za-z0-9_():,./-]{1,64}")

_LUKS1 = struct.Struct(">6xH32s32s32sII20s32sI40s")
_LUKS1_SLOT = struct.Struct(">II32sII")
_LUKS1_ENABLED = 0x00AC71F3
_LUKS2 = struct.Struct(">6sHQQ48s32s64s40s48sQ")
_LUKS2_CHECKSUM = 448


class HeaderError(Exception):
    """What is wrong with a header, in a few words."""


class Kdf(NamedTuple):
    """How a key is made of a password.

    Attributes:
        kind: ``pbkdf2``, ``argon2i`` or ``argon2id``.
        salt: for it.
        hash: of PBKDF2.
        cost: iterations.
        memory: of Argon2, in KiB.
        lanes: of Argon2.
    """

    kind: str
    salt: bytes
    hash: str
    cost: int
    memory: int = 0
    lanes: int = 0


class Slot(NamedTuple):
    """A copy of the volume's key, encrypted with that of a password.

    Attributes:
        kdf: makes the key of the password.
        cipher: of the copy, as dm-crypt names it.
        key_size: of the key that is made, in bytes.
        start: of the copy on the device, in bytes.
        stripes: into how many pieces the volume's key is split.
        hash: used in splitting.
        volume_key_size: in bytes.
        priority: higher ones are tried first.
    """

    kdf: Kdf
    cipher: str
    key_size: int
    start: int
    stripes: int
    hash: str
    volume_key_size: int
    priority: int = 1


class Digest(NamedTuple):
    """Tells a right key of the volume from a wrong one."""

    kdf: Kdf
    value: bytes


class Header(NamedTuple):
    """All that is needed to open it.

    Attributes:
        version: 1 or 2.
        uuid: as text.
        slots: in the order in which they are tried.
        digest: of the volume's key.
        cipher: of the contents, as dm-crypt names it.
        start: of the contents, in bytes.
        size: of the contents; None is all there is.
        sector: the size of the units of encryption.
        tweak: added to the number of the first sector.
        discards: may unused room be told to the disk?
    """

    version: int
    uuid: str
    slots: list[Slot]
    digest: Digest
    cipher: str
    start: int
    size: int | None
    sector: int = 512
    tweak: int = 0
    discards: bool = False


def parse(read: Callable[[int, int], bytes]) -> Header:
    """Read a header.

    Args:
        read: gives so many bytes of the device from there, or fewer at its end.

    Raises:
        HeaderError: if there is none that can be used.
    """
    try:
        first = read(0, 4096)
        if first[:6] == MAGIC and first[6:8] == b"\0\1":
            return _parse1(first)
        return _parse2(_luks2_json(read, first))
    except HeaderError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise HeaderError("its LUKS header is damaged") from error
    except struct.error as error:
        raise HeaderError("its LUKS header is cut off") from error


def _parse1(data: bytes) -> Header:
    version, name, mode, hashed, payload, size, digest, salt, cost, uuid = _LUKS1.unpack_from(data)
    hash_, cipher = _text(hashed).lower(), f"{_text(name)}-{_text(mode)}"
    key_size = _number(size, 1, _MOST_KEY)
    slots = []
    for number in range(8):
        at = _LUKS1.size + number * _LUKS1_SLOT.size
        active, slot_cost, slot_salt, start, stripes = _LUKS1_SLOT.unpack_from(data, at)
        if active == _LUKS1_ENABLED:
            kdf = Kdf("pbkdf2", slot_salt, hash_, _number(slot_cost, 1))
            stripes = _number(stripes, 1, _MOST_STRIPES)
            slots.append(Slot(kdf, cipher, key_size, start * _SECTOR, stripes, hash_, key_size))
    check = Digest(Kdf("pbkdf2", salt, hash_, _number(cost, 1)), digest)
    return Header(version, _text(uuid), slots, check, cipher, payload * _SECTOR, None)


def _luks2_json(read: Callable[[int, int], bytes], first: bytes) -> dict[str, Any]:
    """The metadata of a LUKS2 header whose checksum is right: the newer copy, if both are."""
    found = []
    sizes = [struct.unpack_from(">Q", first, 8)[0]] if len(first) >= 16 else []
    for at, magic in ((0, MAGIC), *((size, SECOND) for size in {*sizes, *SIZES} & {*SIZES})):
        head = first if not at else read(at, 4096)
        if len(head) < 4096 or head[:8] != magic + b"\0\2":
            continue
        _, _, size, sequence, _, checksum, _, uuid, _, _ = _LUKS2.unpack_from(head)
        if size not in SIZES or _text(checksum) != "sha256":
            continue
        data = bytearray(read(at, size))
        known = bytes(data[_LUKS2_CHECKSUM : _LUKS2_CHECKSUM + 32])
        data[_LUKS2_CHECKSUM : _LUKS2_CHECKSUM + 64] = bytes(64)
        if hashlib.sha256(data).digest() == known:
            found.append((sequence, -at, _text(uuid), bytes(data[4096:])))
    if not found:
        raise HeaderError("its LUKS header is damaged: no copy has the right checksum")
    _, _, uuid, text = max(found)
    told = json.loads(text.partition(b"\0")[0])
    told["uuid"] = uuid
    return dict(told)


def _parse2(told: dict[str, Any]) -> Header:
    config = told["config"]
    needs = config.get("requirements", {}).get("mandatory", [])
    if needs:
        raise HeaderError(f"its LUKS header needs what is not known here: {_words(needs)}")
    if len(told["segments"]) != 1:
        raise HeaderError("it has not one encrypted segment: is it being re-encrypted?")
    ((segment_id, segment),) = told["segments"].items()
    if segment["type"] != "crypt" or "integrity" in segment:
        raise HeaderError("it is LUKS with integrity or hardware encryption, which is not read")
    digest, slot_ids = _digest(told, segment_id)
    slots = []
    for number, slot in told["keyslots"].items():
        if number in slot_ids and slot["type"] == "luks2" and slot.get("priority", 1):
            slots.append(_slot2(slot))
    del slots[_MOST_SLOTS:]
    slots.sort(key=lambda each: -each.priority)
    size = segment["size"]
    return Header(
        2,
        told["uuid"],
        slots,
        digest,
        _name(segment["encryption"]),
        _aligned(segment["offset"]),
        None if size == "dynamic" else _aligned(size),
        _number(segment["sector_size"], 512, 4096),
        _number(segment["iv_tweak"], 0),
        "allow-discards" in config.get("flags", []),
    )


def _digest(told: dict[str, Any], segment: str) -> tuple[Digest, list[str]]:
    for digest in told["digests"].values():
        if segment in digest["segments"] and digest["type"] == "pbkdf2":
            return Digest(_kdf(digest), _bytes(digest["digest"])), list(digest["keyslots"])
    raise HeaderError("its LUKS header is damaged: the segment has no digest")


def _slot2(slot: dict[str, Any]) -> Slot:
    area, split = slot["area"], slot["af"]
    if area["type"] != "raw" or split["type"] != "luks1":
        raise HeaderError("its LUKS header has key slots of an unknown kind")
    return Slot(
        _kdf(slot["kdf"]),
        _name(area["encryption"]),
        _number(area["key_size"], 1, _MOST_KEY),
        _aligned(area["offset"]),
        _number(split["stripes"], 1, _MOST_STRIPES),
        _name(split["hash"]).lower(),
        _number(slot["key_size"], 1, _MOST_KEY),
        _number(slot.get("priority", 1), 0, 9),
    )


def _kdf(told: dict[str, Any]) -> Kdf:
    kind, salt = told["type"], _bytes(told["salt"])
    if kind == "pbkdf2":
        return Kdf(kind, salt, _name(told["hash"]).lower(), _number(told["iterations"], 1))
    if kind not in ("argon2i", "argon2id"):
        raise HeaderError("its LUKS header has key slots of an unknown kind")
    time, memory, lanes = (_number(told[name], 1) for name in ("time", "memory", "cpus"))
    return Kdf(kind, salt, "", time, memory, lanes)


def _number(value: Any, least: int, most: int = (1 << 63) - 1) -> int:
    number = int(value) if isinstance(value, str) and len(value) < 20 else value
    if type(number) is not int or not least <= number <= most:
        raise ValueError("a number that cannot be")
    return number


def _aligned(value: Any) -> int:
    number = _number(value, 0)
    if number % _SECTOR:
        raise ValueError("not a multiple of a sector")
    return number


def _name(value: Any) -> str:
    """What becomes a part of a device mapper's table."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a name that cannot be")
    return value


def _text(raw: bytes) -> str:
    text = raw.partition(b"\0")[0].decode("ascii")
    return _name(text) if text else ""


def _bytes(value: str) -> bytes:
    data = base64.b64decode(value, validate=True)
    if not 0 < len(data) <= _MOST_BYTES:
        raise ValueError("bytes that cannot be")
    return data


def _words(value: Any) -> str:
    return ", ".join(str(each)[:40] for each in list(value)[:5])
