# SPDX-License-Identifier: GPL-2.0-only
"""What rules of nftables log: lines of the kernel's log, which are told as they come."""

from __future__ import annotations

import asyncio
import re
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["tell"]

_PACKET = re.compile(r"\bIN=\S* OUT=")
_PAUSE = 0.1
"""Seconds between two looks."""
_told: weakref.WeakSet[Kernel] = weakref.WeakSet()
"""Kernels of which it is told already: stages may share one."""


async def tell(k: Kernel) -> None:
    """Write what is logged about packets to standard error, until it is cancelled."""
    if k in _told:
        return
    _told.add(k)
    seen = 0
    try:
        while True:
            seen = _write(k, seen)
            await asyncio.sleep(_PAUSE)
    finally:
        _write(k, seen)


def _write(k: Kernel, seen: int) -> int:
    records = k.log[seen:]
    lines = [record.text for record in records if _PACKET.search(record.text)]
    if lines:
        print("\n".join(lines), file=sys.stderr, flush=True)
    return seen + len(records)
