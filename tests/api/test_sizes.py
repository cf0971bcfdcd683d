# SPDX-License-Identifier: GPL-2.0-only
"""Sizes as people write them."""

from __future__ import annotations

import pytest

from rumpel.sizes import to_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5k", 1536),
        ("2G", 2 << 30),
        (" 1T ", 1 << 40),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert to_bytes(text) == size


@pytest.mark.parametrize("text", ["", "M", "x", "1X", "-1", "nan", "inf", "1e30", "64M64", "0x10"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        to_bytes(text)


def test_a_negative_size() -> None:
    with pytest.raises(ValueError, match="cannot be negative: -1"):
        to_bytes(-1)
