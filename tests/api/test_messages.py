# SPDX-License-Identifier: GPL-2.0-only
"""Control messages and message headers."""

from __future__ import annotations

import array
import socket

from rumpel.socket.messages import Header, pack_control, unpack_control


def test_control_messages_there_and_back() -> None:
    messages = [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [3, 4, 5]).tobytes()),
        (socket.IPPROTO_IP, socket.IP_TTL, b"\x40\0\0\0"),
        (1, 2, b""),
    ]
    packed = pack_control(messages)
    assert len(packed) == sum(socket.CMSG_SPACE(len(data)) for _, _, data in messages)
    assert unpack_control(packed) == messages


def test_control_messages_that_are_cut_off() -> None:
    packed = pack_control([(1, 1, b"12345678")])
    assert unpack_control(packed[:20]) == [(1, 1, b"1234")]
    assert unpack_control(packed[:15]) == []
    assert unpack_control(bytes(64)) == []


def test_a_header_without_name_and_control() -> None:
    header = Header([b"a", b"b"], b"", b"")
    assert len(header.data) == 56
    assert (header.name_size, header.control_size, header.flags) == (0, 0, 0)
    assert header.data[:8] == bytes(8)
    assert header.data[24] == 2


def test_a_header_with_all() -> None:
    header = Header([bytearray(5)], bytearray(128), bytearray(64), writable=True)
    assert (header.name_size, header.control_size) == (128, 64)
