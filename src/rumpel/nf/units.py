# SPDX-License-Identifier: GPL-2.0-only
"""Times, probabilities and rates as people write them, and as tc(8) does.

Source: tc(8), PARAMETERS; but a number alone is in seconds, and of one.
"""

from __future__ import annotations

__all__ = ["to_bits", "to_fraction", "to_seconds"]

_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_FRACTIONS = {"%": 1e-2}
_RATES = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12}
_RATES |= {unit.replace("bit", "bps"): 8 * bits for unit, bits in _RATES.items()}


def to_seconds(text: str) -> float:
    """A time in seconds, or with a unit: s, ms, us, ns.

    Raises:
        ValueError: if it is none.

    Example:
        >>> to_seconds("0.01"), to_seconds("10ms")
        (0.01, 0.01)
    """
    return _number(text, _TIMES, "a time in seconds, or such as 10ms")


def to_fraction(text: str) -> float:
    """A part of one, or of a hundred with %.

    Raises:
        ValueError: if it is none.

    Example:
        >>> to_fraction("0.5"), to_fraction("50%")
        (0.5, 0.5)
    """
    what = "a fraction from 0 to 1, or such as 1%"
    fraction = _number(text, _FRACTIONS, what)
    if fraction > 1:
        raise ValueError(f"{text!r} is not {what}")
    return fraction


def to_bits(text: str) -> float:
    """Bits a second, or with a unit (powers of 1000): bit, kbit, mbit, gbit, tbit; bps are bytes.

    Raises:
        ValueError: if they are none.

    Example:
        >>> to_bits("8e6"), to_bits("8mbit"), to_bits("1MBps")
        (8000000.0, 8000000.0, 8000000.0)
    """
    return _number(text, _RATES, "bits a second, or such as 8mbit")


def _number(text: str, units: dict[str, float], what: str) -> float:
    lower = text.strip().lower()
    unit = max((unit for unit in units if lower.endswith(unit)), key=len, default="")
    try:
        number = float(lower.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not {what}")
    return number
