# SPDX-License-Identifier: GPL-2.0-only
"""Sizes as people write them."""

from __future__ import annotations

__all__ = ["to_bytes"]

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def to_bytes(size: int | str) -> int:
    """Parse a size in bytes, or with a unit (powers of 1024): K, M, G, T.

    Raises:
        ValueError: if it is not a size.
        TypeError: if it is neither an integer nor text.

    Example:
        >>> to_bytes("64M"), to_bytes("1.5 KiB"), to_bytes(4096)
        (67108864, 1536, 4096)
    """
    if isinstance(size, int):
        if size < 0:
            raise ValueError(f"a size cannot be negative: {size}")
        return size
    if not isinstance(size, str):
        raise TypeError(f"a size is an integer or such as '64M', not {size!r}")
    text = size.strip().upper().removesuffix("B").removesuffix("I")
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS and text[-1:] else (text, "")
    try:
        value = float(number) * (1 << _UNITS[unit])
    except ValueError:
        value = -1.0
    if not 0 <= value < 1 << 63:
        raise ValueError(f"not a size: {size!r} (write 67108864 or '64M')")
    return int(value)
