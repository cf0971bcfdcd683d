# SPDX-License-Identifier: GPL-2.0-only
"""Times, probabilities and rates are read as tc(8) reads them, and what is none is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rumpel.nf.units import to_bits, to_fraction, to_seconds

RIGHT = [
    (to_seconds, "2", 2),
    (to_seconds, "1.5s", 1.5),
    (to_seconds, "10 ms", 0.01),
    (to_seconds, "7us", 7e-6),
    (to_seconds, "3NS", 3e-9),
    (to_fraction, "1", 1),
    (to_fraction, "0.1%", 0.001),
    (to_bits, "8e6", 8e6),
    (to_bits, "5kbit", 5e3),
    (to_bits, "1Gbit", 1e9),
    (to_bits, "1mbps", 8e6),
]
WRONG = [
    (to_seconds, ["", "ms", "-1ms", "1m", "nan", "infs", "1e400", "1 2"]),
    (to_fraction, ["2", "101%", "-1%", "%", "1ms"]),
    (to_bits, ["", "fast", "8mb", "-1bit", "inf"]),
]


@pytest.mark.parametrize(("parse", "text", "value"), RIGHT)
def test_right(parse: Callable[[str], float], text: str, value: float) -> None:
    """With and without units."""
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(("parse", "texts"), WRONG)
def test_wrong(parse: Callable[[str], float], texts: list[str]) -> None:
    """The message says how it is written."""
    for text in texts:
        with pytest.raises(ValueError, match="or such as"):
            parse(text)
