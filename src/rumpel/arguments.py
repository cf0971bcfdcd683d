# SPDX-License-Identifier: GPL-2.0-only
"""Checks of arguments: the devices that a caller gives to a kernel.

They are found by their attributes: to import all devices takes as long as a boot.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    from rumpel.devices import Device

    T = TypeVar("T")

__all__ = ["check_claims", "check_kind", "listed"]


def listed(name: str, given: Iterable[T], example: str) -> Iterable[T]:
    """Take what was given as a list: a single one is a common mistake, and a path is iterable.

    Raises:
        TypeError: if it is none.
    """
    if isinstance(given, str | bytes | os.PathLike) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name} must be a list, such as {example}, not {given!r}")
    return given


def check_kind(what: str, device: object, kind: str | None = None) -> None:
    """Refuse what is no device, or none of this kind, or another process's.

    Raises:
        TypeError: which says ``what`` is taken.
        ValueError: if it is the parent's.
    """
    found = getattr(type(device), "_kind", None)
    if found is None or kind not in (None, found):
        raise TypeError(f"{what}, not {device!r}")
    owner: int = getattr(device, "_owner", 0)
    if owner and owner != os.getpid():
        raise ValueError(
            f"{device!r} was made before a fork and belongs to the parent, which may write to "
            "it as well: make a new one in the child"
        )


def check_claims(devices: Iterable[Device]) -> None:
    """Refuse devices of one kernel of which it would find only the first.

    Raises:
        ValueError: if there are any.
    """
    claims = [device._claim for device in devices if device._claim]
    for claim in claims:
        if claims.count(claim) > 1:
            raise ValueError(f"a kernel cannot have two {claim}")
