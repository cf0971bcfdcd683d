# SPDX-License-Identifier: GPL-2.0-only
"""The same as :mod:`rumpel.images.resize` for images that QEMU's programs read and write.

A qcow2 grows where it is, also over a base: its own size, the partition table, the file system.
All else is done to a raw copy, of which an image of the same format is made that takes the name.

Source: qemu-img(1); QEMU's docs/interop/qcow2.rst; UEFI specification, 5.3 (GPT).
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.formats import Header
from rumpel.images.locks import in_use
from rumpel.images.qemu import convert_raw, run_qemu_img
from rumpel.images.resize import resize
from rumpel.images.resizing import (
    GROW,
    SHRINK,
    check_kind,
    devices_of,
    grow,
    last_of,
    replaced,
    room_of,
    table_steps,
    wanted_size,
)
from rumpel.images.session import Options, Session
from rumpel.images.tools import run
from rumpel.images.volume import open_volume

__all__ = ["resize_with_qemu"]

_SECTOR = 512
_HEAD = 1 << 20
"""Partitions begin there, if not before."""
_MOST_ENTRIES = 1 << 20
"""Bytes."""

Pieces = list[tuple[int, bytes]]
"""Of a disk: where they are, and what is there."""


def resize_with_qemu(
    image: str,
    header: Header,
    partition: str | None,
    size: int,
    options: Options,
    relative: bool,
) -> tuple[int, int]:
    """Change the size of an image; see :func:`rumpel.images.resize.resize`.

    Args:
        image: its path.
        header: what it says that it is.
        partition: None is the last one, or the whole of an image without any.
        size: the new one, of the disk, in bytes.
        options: how it is opened.
        relative: ``size`` is by how much it gets larger, or smaller.
    """
    devices = devices_of(image, options)
    before = devices[0].size
    size = wanted_size(image, before, size, relative)
    last = last_of(image, devices, partition)
    is_larger = size >= before
    check_kind(image, last, GROW if is_larger else SHRINK, "larger" if is_larger else "smaller")
    # What there is of logical partitions may be anywhere on the disk.
    has_logical = devices[0].table == "dos" and any(each.number > 4 for each in devices)
    if header.format == "qcow2" and is_larger and not has_logical:
        return _grow(image, header, devices, last, size, options)
    return _through_raw(image, header, partition, before, size, options)


def _grow(
    image: str,
    header: Header,
    devices: Sequence[Device],
    last: Device,
    size: int,
    options: Options,
) -> tuple[int, int]:
    disk = devices[0]
    pieces: Pieces = []
    if last.number:
        first = min(each.start for each in devices if each.number and not each.volume)
        pieces = _new_table(image, disk, last, min(first, _HEAD), size, options)
    if size > disk.size:
        with _qemu_img(image, header, options) as qemu_img:
            qemu_img("resize", "--", None, str(size))
    if pieces:
        _write(image, pieces, options)
    with open_volume([image], str(last.number), options) as volume:
        grow(volume)
        return volume.devices[0].size, volume.device.size


@contextmanager
def _qemu_img(image: str, header: Header, options: Options) -> Iterator[Callable[..., None]]:
    try:
        with run_qemu_img(image, header, options.backing) as qemu_img:
            yield qemu_img
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise ImageError(image, in_use(image)) from None


def _new_table(
    image: str, disk: Device, last: Device, head: int, size: int, options: Options
) -> Pieces:
    """What has to be written for the last partition to reach to the end of a larger disk.

    sfdisk makes it in a file that has nothing but the table.
    """
    with tempfile.NamedTemporaryFile(prefix="rumpel-") as file:
        os.truncate(file.name, size)
        with _disk(image, options, read_only=True) as (session, fd):
            pread = session.kernel.os.pread
            begin = pread(fd, head, 0)
            os.pwrite(file.fileno(), begin, 0)
            second = _second_table(begin) if disk.table == "gpt" else (0, 0)
            at, length = second
            if at > 0 and at + length <= disk.size:
                os.pwrite(file.fileno(), pread(fd, length, at), at)
        moves = at + length != size
        room = room_of(disk.table, last, size)
        for command, words in table_steps(file.name, disk.table, last, room, moves):
            run(image, command, "fdisk", input=words)
        changed = os.pread(file.fileno(), head, 0)
        if changed == begin:
            return []
        end = (size - length, os.pread(file.fileno(), length, size - length))
        return [*([end] if length else []), (0, changed)]


def _second_table(begin: bytes) -> tuple[int, int]:
    """Where the second table of GPT is, and how long, by what the first header says."""
    header = begin[_SECTOR : 2 * _SECTOR]
    alternate = int.from_bytes(header[32:40], "little")
    count, each = (int.from_bytes(header[at : at + 4], "little") for at in (80, 84))
    length = (-(-min(count * each, _MOST_ENTRIES) // _SECTOR) + 1) * _SECTOR
    return (alternate + 1) * _SECTOR - length, length


@contextmanager
def _disk(image: str, options: Options, read_only: bool) -> Iterator[tuple[Session, int]]:
    """The whole disk, open where the kernel is."""
    session = Session([image], options._replace(read_only=read_only))
    try:
        path = session.devices()[0].path
        fd = session.kernel.os.open(path, os.O_RDONLY if read_only else os.O_RDWR)
        try:
            yield session, fd
        finally:
            session.kernel.os.close(fd)
    finally:
        session.close()


def _write(image: str, pieces: Pieces, options: Options) -> None:
    """Each is on the disk before the next one is written."""
    with _disk(image, options, read_only=False) as (session, fd):
        for at, data in pieces:
            session.kernel.os.pwrite(fd, data, at)
            session.kernel.os.fsync(fd)


def _through_raw(
    image: str,
    header: Header,
    partition: str | None,
    before: int,
    size: int,
    options: Options,
) -> tuple[int, int]:
    _check_alone(image, header)
    with (
        replaced(image, 0) as made,
        _qemu_img(image, header, options) as qemu_img,
        tempfile.NamedTemporaryFile(dir=made.parent, prefix=f"{made.name}-") as file,
    ):
        raw = file.name
        os.truncate(raw, before)
        qemu_img("convert", "-n", "-O", "raw", None, raw, writes=raw)
        try:
            resized = resize(raw, partition, size, options._replace(format="raw"))
        except ImageError as error:
            raise ImageError(image, error.reason) from None
        convert_raw(image, Path(raw), made, header.format)
    return resized


def _check_alone(image: str, header: Header) -> None:
    """Refuse what a new image would not have."""
    why = ""
    if header.backing:
        why = "lies over another file"
    elif header.extents:
        why = "is made of other files"
    elif header.format == "qcow2" and _snapshots(image):
        why = "has snapshots"
    if why:
        raise ImageError(image, f"{why}, which this would lose: qemu-img convert makes one without")


def _snapshots(image: str) -> int:
    with Path(image).open("rb") as file:
        return int.from_bytes(os.pread(file.fileno(), 4, 60), "big")
