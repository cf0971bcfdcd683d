# SPDX-License-Identifier: GPL-2.0-only
"""Make images, their last partition and its file system longer or shorter.

Growing goes from the outside in, and each step leaves an image that can be mounted: the file,
the partition table, then the file system, by its driver and under its journal. Shrinking goes
the other way, with programs that may not be interrupted: so it is done to a copy, which takes
the image's name when all is well.

Source: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h, include/uapi/linux/btrfs.h; sfdisk(8), resize2fs(8).
"""

from __future__ import annotations

import errno
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rumpel.images.choose import choose
from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.locks import held
from rumpel.images.session import Options, Session
from rumpel.images.sources import check_raw
from rumpel.images.tools import check_status, copy_range, run
from rumpel.images.volume import open_volume

if TYPE_CHECKING:
    from rumpel.images.volume import Volume

__all__ = ["resize"]

_MIB = 1 << 20
_EXT4_IOC_RESIZE_FS = 0x40086610
_XFS_IOC_FSGEOMETRY_V1, _XFS_IOC_FSGROWFSDATA = 0x80705864, 0x4010586E
_BTRFS_IOC_RESIZE = 0x50009403
_EXT = ("ext2", "ext3", "ext4")
_GROW = (*_EXT, "xfs", "btrfs")
_SHRINK = (*_EXT, "btrfs")
_WHY_NOT = {
    "xfs": "copy its content into a new image",
    "f2fs": "F2FS is resized by resize.f2fs only, and not in a partition",
    "swap": "make it anew with mkswap",
}


def resize(image: str, partition: str | None, size: int, options: Options) -> tuple[int, int]:
    """Change the size of an image, and with it of its last partition and file system.

    Args:
        image: its path.
        partition: None is the last one, or the whole of an image without any.
        size: the new one, of the file, in bytes.
        options: how it is opened.

    Returns:
        The new sizes of the image and of the file system, which keeps some for its partition
        table.

    Raises:
        ImageError: if that cannot be done; the image is as it was.
        OSError: if the image cannot be opened, or somebody else has it open (EBUSY).
    """
    check_raw(image, options.format)
    status = os.stat(image)  # noqa: PTH116
    before = status.st_size
    if not before:
        raise ImageError(image, "is a block device, whose size is not up to anybody here")
    if size != before:
        size -= size % 4096
    devices = _devices(image, options)
    last = _last(image, devices, partition)
    if size < before:
        _check_kind(image, last, _SHRINK, "smaller")
        with _held(image, status):
            _shrink(image, last, devices[0].table, size, options)
        return size, _room(devices[0].table, last, size)
    _check_kind(image, last, _GROW, "larger")
    with _held(image, status):
        _lengthen(image, devices[0].table, last, before, size)
    with open_volume([image], str(last.number), options) as volume:
        _grow(volume)
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


def _devices(image: str, options: Options) -> list[Device]:
    session = Session([image], options._replace(read_only=True))
    try:
        return session.devices()
    finally:
        session.close()


def _last(image: str, devices: Sequence[Device], partition: str | None) -> Device:
    """What is to be resized: it ends last."""
    parts = [each for each in devices if each.number and not each.volume]
    last = max(parts, key=lambda each: each.start + each.size) if parts else devices[0]
    if partition is not None:
        named = choose(image, devices, partition)
        if named != last:
            raise ImageError(image, f"only its last partition can be resized, {last.number}")
    if last.number > 4 and devices[0].table == "dos":
        raise ImageError(image, "logical partitions are not resized")
    return last


def _check_kind(image: str, device: Device, kinds: Sequence[str], how: str) -> None:
    if device.kind not in kinds:
        kind = device.kind or "what is there"
        why = _WHY_NOT.get(device.kind, f"only {', '.join(kinds)} can")
        raise ImageError(image, f"{kind} cannot be made {how}: {why}")


def _room(table: str, device: Device, size: int) -> int:
    """The size of the last partition in an image of a size; whole MiB before GPT's copy."""
    if not device.number:
        return size
    return (size - device.start - (_MIB if table == "gpt" else 0)) // _MIB * _MIB


def _lengthen(image: str, table: str, device: Device, before: int, size: int) -> None:
    """Lengthen the file, write GPT's copy to its end, and the partition's size into the table.

    The file may be that long already, whoever has made it so; the partition is looked at itself.
    """
    if size > before:
        os.truncate(image, size)
    room = _room(table, device, size)
    if not device.number:
        return
    sfdisk = ["sfdisk", "-q", "--no-reread", "--no-tell-kernel"]
    entry = [*sfdisk, "-N", str(device.number), image], f"{device.start // 512}, {room // 512}\n"
    # There may be no room for another MiB.
    steps = [entry] if device.size < room else []
    if table == "gpt" and (steps or size > before):
        steps.insert(0, ([*sfdisk, "--relocate", "gpt-bak-std", image], ""))
    for command, words in steps:
        try:
            run(image, command, "fdisk", input=words)
        except ImageError:
            if (command, words) == steps[0]:
                os.truncate(image, before)
            raise


def _grow(volume: Volume) -> None:
    """Let a mounted file system fill its device."""
    kernel, device = volume.kernel, volume.device
    top = kernel.os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        if device.kind == "xfs":
            geometry = bytearray(112)
            kernel.syscall("ioctl", top, _XFS_IOC_FSGEOMETRY_V1, geometry)
            (block,), (percent,) = struct.unpack_from("<I", geometry), geometry[28:29]
            wanted = bytearray(struct.pack("<QI4x", device.size // block, percent))
            kernel.syscall("ioctl", top, _XFS_IOC_FSGROWFSDATA, wanted)
        elif device.kind == "btrfs":
            kernel.syscall("ioctl", top, _BTRFS_IOC_RESIZE, _btrfs("max"))
        else:
            blocks = device.size // kernel.os.fstatvfs(top).f_bsize
            kernel.syscall(
                "ioctl", top, _EXT4_IOC_RESIZE_FS, bytearray(blocks.to_bytes(8, "little"))
            )
    except OSError as error:
        raise ImageError(volume.name, f"{device.kind} does not grow: {error.strerror}") from None
    finally:
        kernel.os.close(top)


def _btrfs(size: str) -> bytes:
    """What it takes: a struct btrfs_ioctl_vol_args."""
    return struct.pack("<q4088s", 0, size.encode())


@contextmanager
def _replaced(image: str, size: int) -> Iterator[Path]:
    """An empty file of a size beside an image, which takes its place."""
    final = Path(os.path.realpath(image))
    status = final.stat()
    fd, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}-")
    made = Path(name)
    try:
        os.truncate(fd, size)
        yield made
        os.fchmod(fd, status.st_mode & 0o7777)
        with suppress(PermissionError):
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fsync(fd)
        made.rename(final)
    except BaseException:
        made.unlink()
        raise
    finally:
        os.close(fd)


def _shrink(image: str, device: Device, table: str, size: int, options: Options) -> None:
    room = _room(table, device, size)
    if room <= 0:
        raise ImageError(image, "nothing would be left of its last partition")
    source = Path(image)
    raw = options._replace(format="raw")  # whatever a partition begins with
    with (
        _replaced(image, size) as made,
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
            volume.kernel.syscall("ioctl", top, _BTRFS_IOC_RESIZE, _btrfs(str(room)))
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
