# SPDX-License-Identifier: GPL-2.0-only
"""Which of an image's partitions and volumes is meant."""

from __future__ import annotations

from rumpel.images.device import Device
from rumpel.images.errors import ImageError, LockedError, SeveralError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["choose", "is_above"]


def choose(name: str, devices: Sequence[Device], partition: str | int | None) -> Device:
    """Find a partition or a volume; of one that others are made of, the only one inside.

    Args:
        name: of the image, for messages.
        devices: all there are.
        partition: its number (0 is the whole disk); LABEL=, UUID=, PARTLABEL= or PARTUUID= and
            a value; the name of a volume (``vg/lv``); None is the only file system there is.

    Raises:
        LockedError: if it is inside of what is encrypted, and not open.
        SeveralError: if none was named, and there are several file systems.
        ImageError: if there is none such, or more than one.
    """
    if partition is None:
        return _only(name, devices)
    return _inside(name, devices, _named(name, devices, str(partition)))


def _named(name: str, devices: Sequence[Device], text: str) -> Device:
    key, equals, value = text.partition("=")
    if equals and key in ("LABEL", "UUID", "PARTLABEL", "PARTUUID"):
        field = {"PARTLABEL": "part_label", "PARTUUID": "part_uuid"}.get(key, key.lower())
        same = str.__eq__ if "LABEL" in key else lambda a, b: a.lower() == b.lower()
        found = [each for each in devices if same(getattr(each, field), value)]
        if not found and (locked := _locked(devices)):
            raise LockedError(name, f"has no partition {text} that is not encrypted", locked)
        found = _distinct(_uppermost(found, devices))
        if len(found) > 1:
            raise ImageError(name, f"has more than one {text}: {_listed(found)}")
    elif text.isdecimal():
        found = [each for each in devices if each.number == int(text) and not each.volume][:1]
    else:
        found = [each for each in devices if each.volume == text]
        if not found and (locked := _locked(devices)):
            raise LockedError(name, f"has no volume {text} that is not encrypted", locked)
        if len(found) > 1:
            raise ImageError(name, f"has more than one {text}; UUID= tells them apart")
        if not found and "/" not in text:
            raise ImageError(name, f"{text!r} names no partition: a number, LABEL=, VG/LV, ...")
    if found:
        return found[0]
    raise ImageError(name, f"has no partition {text}; there is {_listed(devices)}")


def _only(name: str, devices: Sequence[Device]) -> Device:
    parts = [each for each in devices if each.number or each.volume]
    mountable = _distinct(_uppermost([each for each in parts if each.mountable], devices))
    whole = devices[0]
    # Of a hybrid of CD and disk, or a file system that happens to look like a partition table.
    if whole.mountable and any(each.number and not each.start for each in parts):
        return whole
    if not mountable:
        if whole.mountable:
            return whole
        if locked := _locked(devices):
            raise LockedError(name, "is encrypted (LUKS): its password is needed", locked)
        if not parts:
            return _inside(name, devices, whole)
    if len(mountable) == 1:
        return mountable[0]
    if mountable:
        several = f"has several file systems, name one: {_listed(mountable)}"
        raise SeveralError(name, several, mountable)
    raise ImageError(name, f"has no file system in its partitions: {_listed(parts)}")


def _inside(name: str, devices: Sequence[Device], device: Device) -> Device:
    """The device itself, or the only file system in the volumes that are made of it."""
    if device.problem:
        raise ImageError(f"{name}{device.suffix}", device.problem)
    above = [each for each in devices if device.name in _below(each, devices)]
    mountable = _distinct(_uppermost([each for each in above if each.mountable], devices))
    if len(mountable) == 1:
        return mountable[0]
    if mountable:
        inside = f"has several file systems inside, name one: {_listed(mountable)}"
        raise SeveralError(f"{name}{device.suffix}", inside, mountable)
    if locked := _locked([device, *above]):
        why = "is encrypted (LUKS): its password is needed"
        raise LockedError(f"{name}{device.suffix}", why, locked)
    if device.kind and not device.mountable:
        raise ImageError(f"{name}{device.suffix}", f"holds no file system, but {device.kind}")
    return device  # whatever it is, the kernel may know it


def is_above(device: Device, volume: str, devices: Sequence[Device]) -> bool:
    """Is a device that volume, or made of it?"""
    names = {device.name, *_below(device, devices)}
    return any(each.volume == volume and each.name in names for each in devices)


def _below(device: Device, devices: Sequence[Device]) -> set[str]:
    """All devices that a device is made of, and those that these are made of."""
    by_name = {each.name: each for each in devices}
    found: set[str] = set()
    ahead = list(device.below)
    while ahead:
        name = ahead.pop()
        if name in by_name and name not in found:
            found.add(name)
            ahead += by_name[name].below
    return found


def _uppermost(found: Sequence[Device], devices: Sequence[Device]) -> list[Device]:
    """Those that nothing else is made of."""
    used = {name for each in devices for name in each.below}
    return [each for each in found if each.name not in used] or list(found)


def _distinct(found: Sequence[Device]) -> list[Device]:
    """Of a file system that has several devices, the first."""
    first: dict[tuple[str, str], Device] = {}
    for each in found:
        several = each.kind == "btrfs" and each.uuid
        first.setdefault((each.uuid, "") if several else ("", each.name), each)
    return list(first.values())


def _locked(devices: Sequence[Device]) -> list[Device]:
    used = {name for each in devices for name in each.below}
    return [
        each
        for each in devices
        if each.kind == "crypto_LUKS" and each.name not in used and not each.problem
    ]


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(f"{each.title} ({_what(each)})" for each in devices)


def _what(device: Device) -> str:
    return device.problem or " ".join(filter(None, (device.kind or "unknown", device.label)))
