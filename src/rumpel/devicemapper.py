# SPDX-License-Identifier: GPL-2.0-only
"""The device mapper: block devices that are made of others.

Source: include/uapi/linux/dm-ioctl.h, Documentation/admin-guide/device-mapper/.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["DeviceMapper", "Target"]

SECTOR = 512

_HEAD = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
"""struct dm_ioctl: version, data_size, data_start, target_count, open_count, flags, event_nr,
padding, dev, name, uuid."""
_SPEC = struct.Struct("=Q Q i I 16s")
"""struct dm_target_spec: sector_start, length, status, next, target_type."""
_VERSION = (4, 0, 0)

_LIST, _CREATE, _REMOVE, _SUSPEND, _LOAD, _STATUS, _MESSAGE = 2, 3, 4, 6, 9, 12, 14
_READONLY, _SUSPENDED, _TABLE, _FULL, _SECURE = 1 << 0, 1 << 1, 1 << 4, 1 << 8, 1 << 15
_REQUEST = 0xC0000000 | _HEAD.size << 16 | 0xFD << 8
_ROOM = 16 << 10
_MOST = 16 << 20


class Target(NamedTuple):
    """A part of a device, and what it is made of.

    Attributes:
        start: where it begins, in bytes.
        size: in bytes.
        kind: such as ``linear``, ``crypt`` or ``verity``.
        args: as the kernel's documentation has them: devices are ``/dev/vda`` or ``254:0``,
            numbers mostly sectors of 512 bytes.
    """

    start: int
    size: int
    kind: str
    args: str


class DeviceMapper:
    """The mapped devices of a kernel: ``kernel.dm``.

    Iterating over it gives their names.

    Example:
        >>> k.dm.create("tail", [(0, 1 << 20, "linear", "/dev/vda 2048")])  # doctest: +SKIP
        '/dev/dm-0'
        >>> list(k.dm)  # doctest: +SKIP
        ['tail']
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def create(
        self,
        name: str,
        table: Sequence[Target | tuple[int, int, str, str]],
        *,
        uuid: str = "",
        read_only: bool = False,
    ) -> str:
        """Make a device.

        Args:
            name: of up to 127 bytes.
            table: its parts, one behind the other.
            uuid: another name for it, which others than the device mapper choose.
            read_only: refuse writes.

        Returns:
            Its path.

        Raises:
            OSError: EBUSY if there is one of that name; whatever the kernel says to the table,
                with its own words.
        """
        seen = len(self._kernel.log)
        device = self._ask(_CREATE, name, uuid=uuid).device
        try:
            self._load(name, table, _READONLY if read_only else 0)
            self._ask(_SUSPEND, name)
        except OSError as error:
            self.remove(name)
            raise self._explained(error, name, seen) from None
        return f"/dev/dm-{os.minor(device)}"

    def reload(
        self,
        name: str,
        table: Sequence[Target | tuple[int, int, str, str]],
        *,
        read_only: bool = False,
    ) -> None:
        """Give a device another table; requests that are under way end before.

        Raises:
            OSError: ENXIO if there is no such device; as :meth:`create`.
        """
        seen = len(self._kernel.log)
        try:
            self._load(name, table, _READONLY if read_only else 0)
            self._ask(_SUSPEND, name, _SUSPENDED)
            self._ask(_SUSPEND, name)
        except OSError as error:
            raise self._explained(error, name, seen) from None

    def remove(self, name: str) -> None:
        """Remove a device.

        Raises:
            OSError: EBUSY while somebody has it open, ENXIO if there is none.
        """
        self._ask(_REMOVE, name)

    def status(self, name: str) -> list[Target]:
        """What the parts of a device say of themselves, instead of ``args``.

        Raises:
            OSError: ENXIO if there is no such device.
        """
        return self._targets(name, 0)

    def table(self, name: str) -> list[Target]:
        """The parts of a device.

        Raises:
            OSError: ENXIO if there is no such device.
        """
        return self._targets(name, _TABLE)

    def message(self, name: str, text: str, at: int = 0) -> None:
        """Tell something to the part of a device that is there.

        Args:
            name: of the device.
            text: what that kind of part understands.
            at: in bytes.

        Raises:
            OSError: EINVAL if it does not understand.
        """
        data = struct.pack("=Q", at // SECTOR) + text.encode() + b"\0"
        self._ask(_MESSAGE, name, data=data)

    def __iter__(self) -> Iterator[str]:
        data = self._ask(_LIST, "", room=_ROOM).data
        at, following = 0, struct.unpack_from("=Q", data)[0]  # without devices: zero
        while following:
            following = struct.unpack_from("=I", data, at + 8)[0]
            yield os.fsdecode(data[at + 12 :].partition(b"\0")[0])
            at += following

    def __contains__(self, name: object) -> bool:
        return any(each == name for each in self)

    def _load(
        self, name: str, table: Sequence[Target | tuple[int, int, str, str]], flags: int
    ) -> None:
        data = b"".join(_spec(Target(*each)) for each in table)
        # A table may hold a key: the kernel wipes its copies.
        self._ask(_LOAD, name, flags | _SECURE, data=data, count=len(table))

    def _targets(self, name: str, flags: int) -> list[Target]:
        answer = self._ask(_STATUS, name, flags, room=_ROOM)
        found, at = [], 0
        for _ in range(answer.targets):
            start, size, _, following, kind = _SPEC.unpack_from(answer.data, at)
            args = answer.data[at + _SPEC.size :].partition(b"\0")[0]
            kind = kind.partition(b"\0")[0].decode()
            found.append(Target(start * SECTOR, size * SECTOR, kind, os.fsdecode(args)))
            at = following  # from the beginning of the answer
        return found

    def _ask(
        self,
        command: int,
        name: str,
        flags: int = 0,
        *,
        uuid: str = "",
        data: bytes = b"",
        room: int = 0,
        count: int = 0,
    ) -> _Answer:
        """Make the ioctl; for those with an answer, with more room until that fits."""
        encoded, also = os.fsencode(name), os.fsencode(uuid)
        if len(encoded) > 127 or len(also) > 128:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
        size = _HEAD.size + max(len(data), room)
        buffer = bytearray(size)
        head = (*_VERSION, size, _HEAD.size, count, 0, flags, 0, 0, 0, encoded, also)
        _HEAD.pack_into(buffer, 0, *head)
        buffer[_HEAD.size : _HEAD.size + len(data)] = data
        control = self._kernel.os.open("/dev/mapper/control", os.O_RDWR)
        try:
            self._kernel.syscall("ioctl", control, _REQUEST | command, buffer)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), name) from None
        finally:
            self._kernel.os.close(control)
        _, _, _, _, start, count, _, now, _, _, device, _, _ = _HEAD.unpack_from(buffer)
        if now & _FULL and room:
            if room >= _MOST:
                raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW), name)
            return self._ask(command, name, flags, room=room * 4)
        return _Answer(device, count, bytes(buffer[start:]))

    def _explained(self, error: OSError, name: str, seen: int) -> OSError:
        """The same error, with what the kernel logged meanwhile."""
        said = [record.text for record in self._kernel.log[seen:] if record.level <= 4]
        text = "; ".join([error.strerror or "", *said[-2:]])
        return OSError(error.errno, text, name)


class _Answer(NamedTuple):
    """What an ioctl says: of a device, or about many."""

    device: int
    targets: int
    data: bytes


def _spec(target: Target) -> bytes:
    args = os.fsencode(target.args) + b"\0"
    args += bytes(-(_SPEC.size + len(args)) % 8)
    start, size = target.start // SECTOR, target.size // SECTOR
    following = _SPEC.size + len(args)
    return _SPEC.pack(start, size, 0, following, target.kind.encode()) + args
