# SPDX-License-Identifier: GPL-2.0-only
"""Which of an image's partitions is meant."""

from __future__ import annotations

from collections.abc import Sequence

from rumpel.images.errors import ImageError
from rumpel.images.session import Device

__all__ = ["choose"]


def choose(name: str, devices: Sequence[Device], partition: str | int | None) -> Device:
    """Find a partition.

    Args:
        name: of the image, for messages.
        devices: all there are.
        partition: its number (0 is the whole disk), or LABEL=, UUID=, PARTLABEL= or PARTUUID=
            and a value; None is the only file system there is.

    Raises:
        ImageError: if there is none such, or more than one.
    """
    if partition is None:
        return _only(name, devices)
    text = str(partition)
    key, equals, value = text.partition("=")
    if equals and key in ("LABEL", "UUID", "PARTLABEL", "PARTUUID"):
        field = {"PARTLABEL": "part_label", "PARTUUID": "part_uuid"}.get(key, key.lower())
        same = str.__eq__ if "LABEL" in key else lambda a, b: a.lower() == b.lower()
        found = [each for each in devices if same(getattr(each, field), value)]
        if len(found) > 1:
            raise ImageError(name, f"has more than one {text}: {_listed(found)}")
    elif text.isdecimal():
        found = [each for each in devices if each.number == int(text)][:1]
    else:
        raise ImageError(name, f"{text!r} names no partition: a number, LABEL=, UUID=, ...")
    if found:
        return found[0]
    raise ImageError(name, f"has no partition {text}; there is {_listed(devices)}")


def _only(name: str, devices: Sequence[Device]) -> Device:
    partitions = [each for each in devices if each.number]
    whole = devices[0]
    if whole.mountable and not any(each.mountable for each in partitions):
        return whole
    if not partitions:
        if whole.kind:
            raise ImageError(name, f"holds no file system, but {whole.kind}")
        return whole  # whatever it is, the kernel may know it
    mountable = [each for each in partitions if each.mountable]
    if len(mountable) == 1:
        return mountable[0]
    what = "several file systems, name one" if mountable else "no file system in its partitions"
    raise ImageError(name, f"has {what}: {_listed(partitions)}")


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(
        f"{each.number} ({' '.join(filter(None, (each.kind or 'unknown', each.label)))})"
        for each in devices
    )
