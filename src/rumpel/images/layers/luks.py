# SPDX-License-Identifier: GPL-2.0-only
"""Open LUKS volumes: the kernel's dm-crypt does the sectors, of key slots as well.

Source: LUKS On-Disk Format Specification 1.2.3, section 4.2;
Documentation/admin-guide/device-mapper/dm-crypt.rst.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from rumpel.devicemapper import SECTOR, Target
from rumpel.images.layers.key import derive, merge
from rumpel.images.layers.luks_header import Digest, Header, HeaderError, Slot

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["table", "volume_key"]

_SLOT = "luks-slot"


def volume_key(kernel: Kernel, device: str, header: Header, password: bytes) -> bytes | None:
    """The key of a volume, if one of its slots knows the password.

    Args:
        kernel: has the device.
        device: its path.
        header: what is on it.
        password: to try.

    Raises:
        HeaderError: if no slot could be tried.
        OSError: if they cannot be read.
    """
    tried, failure = False, HeaderError("it has no key slots")
    for slot in header.slots:
        try:
            key = _from_slot(kernel, device, slot, password)
            tried = True
            if _is_right(key, header.digest):
                return key
        except HeaderError as error:
            failure = error
    if not tried:
        raise failure
    return None


def _from_slot(kernel: Kernel, device: str, slot: Slot, password: bytes) -> bytes:
    """What is in a slot, if that is the password; noise, if not."""
    key = derive(slot.kdf, password, slot.key_size)
    size = slot.volume_key_size * slot.stripes
    room = -(-size // SECTOR) * SECTOR
    args = f"{slot.cipher} {key.hex()} 0 {device} {slot.start // SECTOR}"
    try:
        path = kernel.dm.create(_SLOT, [Target(0, room, "crypt", args)], read_only=True)
    except OSError as error:
        raise HeaderError(f"its cipher {slot.cipher} cannot be used: {error.strerror}") from error
    try:
        split = _read(kernel, path, size)
    finally:
        kernel.dm.remove(_SLOT)
    return merge(split, slot.volume_key_size, slot.hash)


def _read(kernel: Kernel, path: str, size: int) -> bytes:
    fd = kernel.os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while size and (piece := kernel.os.read(fd, size)):
            pieces.append(piece)
            size -= len(piece)
    finally:
        kernel.os.close(fd)
    if size:
        raise HeaderError("its key slots are cut off")
    return b"".join(pieces)


def _is_right(key: bytes, digest: Digest) -> bool:
    found = derive(digest.kdf, key, len(digest.value))
    return hmac.compare_digest(found, digest.value)


def table(device: str, room: int, header: Header, key: bytes) -> list[Target]:
    """What the device mapper has to make: the device of what is inside.

    Args:
        device: the path of the encrypted one.
        room: its size, in bytes.
        header: what is on it.
        key: of the volume.

    Raises:
        HeaderError: if it is not all there.
    """
    size = room - header.start if header.size is None else header.size
    size -= size % header.sector
    if size <= 0 or header.start + size > room:
        raise HeaderError("what is encrypted is cut off")
    options = []
    if header.sector != SECTOR:
        options.append(f"sector_size:{header.sector}")
    if header.discards:
        options.append("allow_discards")
    args = [header.cipher, key.hex(), header.tweak, device, header.start // SECTOR]
    if options:
        args += [len(options), *options]
    return [Target(0, size, "crypt", " ".join(map(str, args)))]
