# SPDX-License-Identifier: GPL-2.0-only
"""Make the volumes of an image's disk, in a kernel that programs share: LVM, LUKS, RAID.

    python -I -m rumpel.run.volumes <what is told

It runs there, and so can do by its own calls what :mod:`rumpel.images` does by those of a kernel
that it has. It prints the paths of their devices. When the kernel halts, all is undone.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from rumpel.devicemapper import DeviceMapper
from rumpel.errors import RumpelError
from rumpel.images import jobs
from rumpel.images.choose import choose
from rumpel.images.device import Device
from rumpel.images.errors import LockedError
from rumpel.images.layers.key import Key
from rumpel.images.layers.stack import Stack

if TYPE_CHECKING:
    from rumpel.kernel import Kernel


class _Here:
    """As much of a kernel as is asked of it, by this process's calls."""

    os = os
    log: tuple[()] = ()
    room: Any = None

    def __init__(self) -> None:
        self.kernel = cast("Kernel", self)
        self.dm = DeviceMapper(self.kernel)
        self.disks: list[Any] = []

    @staticmethod
    def syscall(name: str, fd: int, request: int, argument: Any) -> int:
        """Those that are made are ioctl."""
        assert name == "ioctl"
        status: int = fcntl.ioctl(fd, request, argument)
        return status


def make(name: str, disk: str, volumes: Sequence[str], key: Key) -> list[str]:
    """Make all that is in a disk, and find some volumes.

    Args:
        name: of the image, for messages.
        disk: its name in the kernel.
        volumes: their names.
        key: has those of encrypted ones.

    Returns:
        The paths of their devices.

    Raises:
        RumpelError: if one is not there.
    """
    here = _Here()
    stack = Stack(here.kernel, name, False, key, None)
    while True:
        found = devices(here, disk)
        if stack.grow(found):
            continue
        try:
            return [choose(name, stack.named(found), volume).path for volume in volumes]
        except LockedError as error:
            if not stack.unlock(error.devices):
                raise


def devices(here: _Here, disk: str) -> list[Device]:
    """A disk, its partitions, and what is made of them: other disks' volumes are others'."""
    found: list[Device] = []
    for each, _ in jobs.devices(here):
        device = Device(**each)
        names = {known.name for known in found}
        whole = device.name.rstrip("0123456789") if device.number else device.name
        made = bool(device.below) and names.issuperset(device.below)
        if whole == disk or whole.removesuffix("p") in names or made:
            found.append(device)
    return found


def main() -> None:
    """Do what standard input says, or say in one line why not."""
    name, disk, volumes, found = pickle.load(sys.stdin.buffer)
    key = Key(ask=lambda _: "")
    key.found.update(found)
    try:
        print(*make(name, disk, volumes, key))
    except (RumpelError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
