# SPDX-License-Identifier: GPL-2.0-only
"""Virtual clocks without kernels."""

from __future__ import annotations

import pytest

from rumpel import VirtualClock


def test_it_begins_where_it_is_told() -> None:
    assert VirtualClock().now == 0.0
    assert VirtualClock(start=12.5).now_ns == 12_500_000_000


def test_it_advances() -> None:
    clock = VirtualClock()
    clock.advance(0.001)
    clock.advance(0)
    assert clock.now_ns == 1_000_000
    assert repr(clock) == "<VirtualClock at 0.001000000 s>"


def test_it_goes_forward_only() -> None:
    clock = VirtualClock(5)
    with pytest.raises(ValueError, match="does not go backwards"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="does not go backwards"):
        clock._native.advance_to_ns(1)
    with pytest.raises(ValueError, match="below zero"):
        VirtualClock(-1)


def test_no_time_becomes_none() -> None:
    """Who waits until there is none left would wait for ever."""
    clock = VirtualClock()
    clock.advance(1e-12)
    assert clock.now_ns == 1
