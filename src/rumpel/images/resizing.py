# SPDX-License-Identifier: GPL-2.0-only
"""What makes images longer or shorter, whatever their format: see :mod:`rumpel.images.resize`.

Source: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h, include/uapi/linux/btrfs.h; sfdisk(8).
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rumpel.images.choose import choose
from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.session import Options, Session

if TYPE_CHECKING:
    from rumpel.images.volume import Volume

__all__ = [
    "BTRFS_IOC_RESIZE",
    "GROW",
    "SHRINK",
    "btrfs_size",
    "check_kind",
    "devices_of",
    "grow",
    "last_of",
    "replaced",
    "room_of",
    "table_steps",
    "wanted_size",
]

_MIB = 1 << 20
_EXT4_IOC_RESIZE_FS = 0x40086610
_XFS_IOC_FSGEOMETRY_V1, _XFS_IOC_FSGROWFSDATA = 0x80705864, 0x4010586E
BTRFS_IOC_RESIZE = 0x50009403
_EXT = ("ext2", "ext3", "ext4")
GROW = (*_EXT, "xfs", "btrfs")
SHRINK = (*_EXT, "btrfs")
_WHY_NOT = {
    "xfs": "copy its content into a new image",
    "f2fs": "F2FS is resized by resize.f2fs only, and not in a partition",
    "swap": "make it anew with mkswap",
}


def wanted_size(image: str, before: int, size: int, relative: bool) -> int:
    """The size that an image shall have.

    Args:
        image: its name.
        before: the size that it has.
        size: the new one, or by how much it differs.
        relative: it is that.

    Raises:
        ImageError: if nothing would be left.
    """
    wanted = before + size if relative else size
    if wanted != before:
        wanted -= wanted % 4096
    if wanted <= 0:
        raise ImageError(image, "nothing would be left")
    return wanted


def devices_of(image: str, options: Options) -> list[Device]:
    """What is in an image."""
    session = Session([image], options._replace(read_only=True))
    try:
        return session.devices()
    finally:
        session.close()


def last_of(image: str, devices: Sequence[Device], partition: str | None) -> Device:
    """What is to be resized: it ends last.

    Raises:
        ImageError: if another one was named, or it can be no other size.
    """
    parts = [each for each in devices if each.number and not each.volume]
    last = max(parts, key=lambda each: each.start + each.size) if parts else devices[0]
    if partition is not None:
        named = choose(image, devices, partition)
        if named != last:
            raise ImageError(image, f"only its last partition can be resized, {last.number}")
    if last.number > 4 and devices[0].table == "dos":
        raise ImageError(image, "logical partitions are not resized")
    return last


def check_kind(image: str, device: Device, kinds: Sequence[str], how: str) -> None:
    """Refuse what is not of these kinds.

    Raises:
        ImageError: with what to do instead.
    """
    if device.kind not in kinds:
        kind = device.kind or "what is there"
        why = _WHY_NOT.get(device.kind, f"only {', '.join(kinds)} can")
        raise ImageError(image, f"{kind} cannot be made {how}: {why}")


def room_of(table: str, device: Device, size: int) -> int:
    """The size of the last partition in an image of a size; whole MiB before GPT's copy."""
    if not device.number:
        return size
    return (size - device.start - (_MIB if table == "gpt" else 0)) // _MIB * _MIB


def table_steps(
    file: str, table: str, device: Device, room: int, moves: bool
) -> list[tuple[list[str], str]]:
    """What sfdisk has to do in a file that is longer now: its arguments, and what it reads.

    Args:
        file: with the partition table.
        table: its kind.
        device: the partition.
        room: its new size, in bytes.
        moves: is the second table of GPT not at the file's end?
    """
    sfdisk = ["sfdisk", "-q", "--no-reread", "--no-tell-kernel"]
    entry = [*sfdisk, "-N", str(device.number), file], f"{device.start // 512}, {room // 512}\n"
    # There may be no room for another MiB.
    steps = [entry] if device.size < room else []
    if table == "gpt" and (steps or moves):
        steps.insert(0, ([*sfdisk, "--relocate", "gpt-bak-std", file], ""))
    return steps


def grow(volume: Volume) -> None:
    """Let a mounted file system fill its device.

    Raises:
        ImageError: if it does not.
    """
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
            kernel.syscall("ioctl", top, BTRFS_IOC_RESIZE, btrfs_size("max"))
        else:
            blocks = device.size // kernel.os.fstatvfs(top).f_bsize
            kernel.syscall(
                "ioctl", top, _EXT4_IOC_RESIZE_FS, bytearray(blocks.to_bytes(8, "little"))
            )
    except OSError as error:
        raise ImageError(volume.name, f"{device.kind} does not grow: {error.strerror}") from None
    finally:
        kernel.os.close(top)


def btrfs_size(size: str) -> bytes:
    """What it takes: a struct btrfs_ioctl_vol_args."""
    return struct.pack("<q4088s", 0, size.encode())


@contextmanager
def replaced(image: str, size: int) -> Iterator[Path]:
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
