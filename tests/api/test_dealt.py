# SPDX-License-Identifier: GPL-2.0-only
"""Tests that several processes share: none is left out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import dealt


class Item:
    """As a test of pytest's."""

    def __init__(self, number: int, is_long: bool) -> None:
        self.nodeid = str(number)
        self._mark = pytest.mark.long("together").mark if is_long else None

    def get_closest_marker(self, name: str) -> Any:
        return self._mark if name == "long" else None


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("long", [0, 1, 5, 20])
@pytest.mark.parametrize("count", [1, 2, 7, 20, 50])
def test_each_once(count: int, long: int, workers: int) -> None:
    items: list[Any] = [Item(number, number < long) for number in range(count)]
    order = dealt(items, workers)
    assert sorted(order, key=id) == sorted(items, key=id)
