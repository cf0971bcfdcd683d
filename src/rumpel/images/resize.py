# SPDX-License-Identifier: GPL-2.0-only
"""Make images, their last partition and its file system longer or shorter.

Growing goes from the outside in, and each step leaves an image that can be mounted: the file,
the partition table, then the file system, by its driver and under its journal. Shrinking goes
the other way, with programs that may not be interrupted: so it is done to a copy, which takes
the image's name when all is well.

Source: include/uapi/linux/btrfs.h; sfdisk(8), resize2fs(8).
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.formats import QEMU
from rumpel.images.locks import held
from rumpel.images.resizing import (
    BTRFS_IOC_RESIZE,
    GROW,
    SHRINK,
    btrfs_size,
    check_kind,
    devices_of,
    grow,
    last_of,
    replaced,
    room_of,
    table_steps,
    wanted_size,
)
from rumpel.images.session import Options
from rumpel.images.sources import check, check_raw, header_of, is_url
from rumpel.images.tools import check_status, copy_range, run
from rumpel.images.volume import open_volume

__all__ = ["resize"]


def resize(
    image: str, partition: str | None, size: int, options: Options, *, relative: bool = False
) -> tuple[int, int]:
    """Change the size of an image, and with it of its last partition and file system.

    Args:
        image: its path.
        partition: None is the last one, or the whole of an image without any.
        size: the new one, of the disk, in bytes.
        options: how it is opened.
        relative: ``size`` is by how much it gets larger, or smaller.

    Returns:
        The new sizes of the disk and of the file system, which keeps some for its partition
        table.

    Raises:
        ImageError: if that cannot be done; the image is as it was.
        OSError: if the image cannot be opened, or somebody else has it open (EBUSY).
    """
    if not is_url(image):
        check(image)
        header = header_of(image, options.format)
        if header.format in QEMU:
            from rumpel.images.resize_qemu import resize_with_qemu

            return resize_with_qemu(image, header, partition, size, options, relative)
    check_raw(image, options.format)
    status = os.stat(image)  # noqa: PTH116
    before = status.st_size
    if not before:
        raise ImageError(image, "is a block device, whose size is not up to anybody here")
    size = wanted_size(image, before, size, relative)
    devices = devices_of(image, options)
    last = last_of(image, devices, partition)
    if size < before:
        check_kind(image, last, SHRINK, "smaller")
        with _held(image, status):
            _shrink(image, last, devices[0].table, size, options)
        return size, room_of(devices[0].table, last, size)
    check_kind(image, last, GROW, "larger")
    with _held(image, status):
        _lengthen(image, devices[0].table, last, before, size)
    with open_volume([image], str(last.number), options) as volume:
        grow(volume)
        inside = volume.device.size
    return os.stat(image).st_size, inside  # noqa: PTH116


@contextmanager
def _held(image: str, status: os.stat_result) -> Iterator[None]:
    """Nobody else has it open meanwhile, or has changed it since its devices were read."""
    with held(image, read_only=False):
        now = os.stat(image)  # noqa: PTH116
        for each in ("st_dev", "st_ino", "st_size", "st_mtime_ns"):
            if getattr(now, each) != getattr(status, each):
                raise ImageError(image, "somebody else has just changed it; try again")
        yield


def _lengthen(image: str, table: str, device: Device, before: int, size: int) -> None:
    """Lengthen the file, write GPT's copy to its end, and the partition's size into the table.

    The file may be that long already, whoever has made it so; the partition is looked at itself.
    """
    if size > before:
        os.truncate(image, size)
    room = room_of(table, device, size)
    if not device.number:
        return
    steps = table_steps(image, table, device, room, size > before)
    for command, words in steps:
        try:
            run(image, command, "fdisk", input=words)
        except ImageError:
            if (command, words) == steps[0]:
                os.truncate(image, before)
            raise


def _shrink(image: str, device: Device, table: str, size: int, options: Options) -> None:
    room = room_of(table, device, size)
    if room <= 0:
        raise ImageError(image, "nothing would be left of its last partition")
    source = Path(image)
    raw = options._replace(format="raw")  # whatever a partition begins with
    with (
        replaced(image, size) as made,
        tempfile.NamedTemporaryFile(dir=made.parent, prefix=f"{made.name}-") as file,
    ):
        # These programs know no partitions.
        part = Path(file.name)
        os.truncate(part, device.size)
        copy_range(source, device.start, part, 0, device.size)
        try:
            (_shrink_btrfs if device.kind == "btrfs" else _shrink_ext)(image, part, room, raw)
        except ImageError as error:
            raise ImageError(image, error.reason) from None
        copy_range(source, 0, made, 0, device.start)
        copy_range(part, 0, made, device.start, room)
        if device.number:
            run(
                image,
                ["sfdisk", "-q", "-w", "never", str(made)],
                "fdisk",
                input=_table(image, device, room),
            )


def _shrink_btrfs(image: str, part: Path, room: int, options: Options) -> None:
    with open_volume([str(part)], None, options) as volume:
        top = volume.kernel.os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            volume.kernel.syscall("ioctl", top, BTRFS_IOC_RESIZE, btrfs_size(str(room)))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ImageError(image, "btrfs: no room for what is in it") from None
            if error.errno == errno.EINVAL:
                raise ImageError(image, "btrfs: cannot have less than 256 MiB") from None
            raise
        finally:
            volume.kernel.os.close(top)


def _shrink_ext(image: str, part: Path, room: int, options: Options) -> None:
    # The journal is replayed, and resize2fs wants a file system that was checked just now.
    open_volume([str(part)], None, options).close()
    checked = check_status(image, ["e2fsck", "-fp", str(part)], "e2fsprogs")
    if checked.returncode > 1:
        raise ImageError(image, "is damaged: rumpel image check --repair")
    run(image, ["resize2fs", str(part), f"{room // 512}s"], "e2fsprogs")


def _table(image: str, device: Device, room: int) -> str:
    """The partition table as sfdisk(8) reads it, the last one of this size."""
    lines = run(image, ["sfdisk", "--dump", image], "fdisk").splitlines()
    text = [line for line in lines if not line.startswith("last-lba:")]
    size = re.compile(rf"(: start= *{device.start // 512}, size= *)\d+")
    return "\n".join(size.sub(rf"\g<1>{room // 512}", line) for line in text) + "\n"
