# SPDX-License-Identifier: GPL-2.0-only
"""Messages of rtnetlink."""

from __future__ import annotations

import socket

import pytest

from rumpel.netlink import attribute, attributes, message, parse_address


def test_an_attribute_is_padded() -> None:
    assert attribute(3, b"lo\0") == b"\x07\0\x03\0lo\0\0"


def test_attributes_are_found_again() -> None:
    data = attribute(3, b"eth0\0") + attribute(4, b"\1\2\3\4")
    assert attributes(data) == {3: b"eth0\0", 4: b"\1\2\3\4"}


def test_attributes_cut_off_or_damaged() -> None:
    assert attributes(b"\x01") == {}
    assert attributes(b"\0\0\0\0\0\0\0\0") == {}


def test_a_message_counts_its_header() -> None:
    data = message(18, 0x300, 7, b"1234")
    assert len(data) == 20
    assert data[:4] == (20).to_bytes(4, "little")
    assert data[8:12] == (7).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.2.15/24", (socket.AF_INET, bytes([10, 0, 2, 15]), 24)),
        ("10.0.2.15", (socket.AF_INET, bytes([10, 0, 2, 15]), 32)),
        ("fd00::2/64", (socket.AF_INET6, b"\xfd" + bytes(14) + b"\2", 64)),
        ("::/0", (socket.AF_INET6, bytes(16), 0)),
    ],
)
def test_addresses(text: str, expected: tuple[int, bytes, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "x", "10.0.2.15/33", "10.0.2/24", "::/129", "1.2.3.4/x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="write 10"):
        parse_address(text)
