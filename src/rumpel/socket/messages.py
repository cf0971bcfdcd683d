# SPDX-License-Identifier: GPL-2.0-only
"""``sendmsg`` and ``recvmsg``: several buffers, an address and control messages at once.

Source: struct msghdr and struct cmsghdr of include/linux/socket.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rumpel._native import Vector

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Header", "pack_control", "unpack_control"]

_MSGHDR = struct.Struct("QI4xQQQQi4x")
_CMSGHDR = struct.Struct("Qii")
_ALIGN = 8


class Header:
    """A struct msghdr, and all that it points to.

    Args:
        buffers: data to send, or room to receive it.
        name: the address, or room for it.
        control: control messages, or room for them.
        writable: are the buffers to be written to?
    """

    def __init__(
        self,
        buffers: Sequence[Buffer],
        name: bytes | bytearray,
        control: bytes | bytearray,
        *,
        writable: bool = False,
    ) -> None:
        self._vector = Vector(buffers, writable=writable)
        # Addresses of what the header itself refers to; all stays in place with them.
        self._parts = Vector([name, self._vector, control])
        at_name, at_vector, at_control = self._parts.addresses
        self.data = bytearray(
            _MSGHDR.pack(
                *(at_name if name else 0, len(name), at_vector, len(self._vector)),
                *(at_control if control else 0, len(control), 0),
            )
        )

    @property
    def name_size(self) -> int:
        """How long the address is that the kernel filled in."""
        return int(_MSGHDR.unpack(self.data)[1])

    @property
    def control_size(self) -> int:
        """How long the control messages are that it filled in."""
        return int(_MSGHDR.unpack(self.data)[5])

    @property
    def flags(self) -> int:
        """MSG_TRUNC and so on."""
        return int(_MSGHDR.unpack(self.data)[6])


def pack_control(messages: Iterable[tuple[int, int, Buffer]]) -> bytes:
    """Make control messages: level, type and data of each."""
    packed = b""
    for message in messages:
        if not isinstance(message, tuple | list) or len(message) != 3:
            raise TypeError("sendmsg() takes ancillary data as tuples of level, type and data")
        level, kind, data = message
        raw = bytes(memoryview(data))
        try:
            packed += _CMSGHDR.pack(_CMSGHDR.size + len(raw), c_int(level), c_int(kind)) + raw
        except struct.error as error:
            raise TypeError(f"sendmsg(): level and type of ancillary data: {error}") from None
        packed += bytes(-len(raw) % _ALIGN)
    return packed


def unpack_control(data: bytes | bytearray) -> list[tuple[int, int, bytes]]:
    """Take control messages apart; one that was cut off keeps what is left of it."""
    messages: list[tuple[int, int, bytes]] = []
    at = 0
    while len(data) - at >= _CMSGHDR.size:
        length, level, kind = _CMSGHDR.unpack_from(data, at)
        if length < _CMSGHDR.size:
            break
        messages.append((level, kind, bytes(data[at + _CMSGHDR.size : at + length])))
        at += length + -length % _ALIGN
    return messages


def address_size(buffer: bytearray | bytes) -> bytearray:
    """A socklen_t with the room for an address."""
    return bytearray(struct.pack("=I", len(buffer)))


def from_size(size: bytearray) -> int:
    """The same after the kernel has set it."""
    value: Any = struct.unpack("=I", size)[0]
    return int(value)


def c_int(value: int) -> int:
    """A number that has to be an int of C.

    Raises:
        OverflowError: if it does not fit.
    """
    if not -(1 << 31) <= value < 1 << 31:
        raise OverflowError("Python int too large to convert to C int")
    return value
