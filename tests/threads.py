# SPDX-License-Identifier: GPL-2.0-only
"""How many threads of Python's there are, also of those that threading does not know."""

from __future__ import annotations

import _thread
import time

__all__ = ["are_left", "count"]


def count() -> int:
    """All but the main one."""
    return _thread._count()


def are_left(wanted: int, seconds: float = 30.0) -> bool:
    """Are there no more, once those that have been joined are gone, which takes a moment?

    Fewer there may be: those of earlier tests end, too.
    """
    deadline = time.monotonic() + seconds
    while count() > wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return count() <= wanted
