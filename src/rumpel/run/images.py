# SPDX-License-Identifier: GPL-2.0-only
"""File systems of disk images at directories that programs see.

The kernel reads raw images itself; what QEMU has (qcow2, VMDK, ...) a qemu-nbd serves, which ends
with the kernel. What volumes there are in an image is found out in a sandbox, and made anew on
the kernel by a program there (:mod:`rumpel.run.volumes`).
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from pathlib import Path, PurePosixPath

from rumpel.errors import BootError
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rumpel.images.layers.key import Key
    from rumpel.run.instance import Joined

__all__ = ["Image", "arguments", "disks", "mount", "rules", "settle"]

_MOUNTING = Path(__file__).with_name("mounting.py")
_RULES = ("call mkdir", "call mount", "call syslog", "path /proc/filesystems")
"""Of :mod:`rumpel.run.mounting`: whatever their paths are."""
_PATIENCE = 2.0
"""Seconds: a kernel halts in a few hundredths, with much to write in more."""
_OF_VOLUMES = ("path /dev", "path /sys")


class Image(Record):
    """A file system of an image, and where programs have it.

    Attributes:
        path: of the image, which may be one of QEMU's.
        target: a directory, which need not be there.
        partition: its number; 0 is the whole disk.
        fstype: None tries all that the kernel knows.
        volume: the name of a logical volume, an array or an opened LUKS, if it is in one.
        key: that opens it, if it is encrypted.
    """

    path: str
    target: str
    partition: int = 0
    fstype: str | None = None
    volume: str = ""
    key: Key | None = None

    def __post_init__(self) -> None:
        target = PurePosixPath(self.target)
        if not target.is_absolute() or ".." in target.parts or not target.name:
            raise ValueError(f"an image must be at an absolute path: {self.target!r}")


def arguments(images: Sequence[Image], fds: list[int]) -> list[str]:
    """The disks, as the keeper takes them: each image is one.

    Args:
        images: in any order.
        fds: gets descriptors that the keeper has to be given.

    Raises:
        ImageError: if an image cannot be read, or nobody is there to read it.
        OSError: if it is not there, or may not be written to.
    """
    from rumpel.images.formats import QEMU
    from rumpel.images.sources import header_of

    made: list[str] = []
    for path in disks(images):
        if "," in path:
            raise ValueError(f"the name of an image must have no comma: {path}")
        settle(path)
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        if header_of(path).format not in QEMU:
            made.append(f"disk={path}")
            continue
        fd, size, flags = _serve(path)
        fds.append(fd)
        made.append(f"nbd={fd},size={size},flags={flags}")
    return made


def settle(path: str) -> None:
    """Wait for a kernel whose program has just ended: it writes what there is, and lets go.

    Whoever has it open for longer is met by those who open it after this.

    Args:
        path: of an image.
    """
    from rumpel.images.errors import ImageError
    from rumpel.images.locks import held

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            with held(path, read_only=False):
                return
        except ImageError:
            time.sleep(0.02)


def _serve(path: str) -> tuple[int, int, int]:
    """Have a disk served by a program that is not a child of the one that this process becomes.

    Returns:
        A connection to it, the disk's size, and the flags of NBD.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            child = os.fork()
            if not child:
                try:
                    _tell(theirs, path)
                finally:
                    os._exit(0)
        data, fds, _, _ = socket.recv_fds(ours, 65536, 1)
        os.waitpid(child, 0)
    answer = pickle.loads(data) if data else BootError(f"{path}: nobody serves it")
    if isinstance(answer, Exception):
        raise answer
    return fds[0], *answer


def _tell(where: socket.socket, path: str) -> None:
    from rumpel.images.sources import open_source

    try:
        served = open_source(path, None, read_only=False, backing=False)
        assert served is not None
        answer: object = (served.size, served.flags)
        socket.send_fds(where, [pickle.dumps(answer)], [served.connection.fileno()])
    except Exception as error:
        where.send(pickle.dumps(error))


def rules(images: Sequence[Image]) -> list[str]:
    """What makes their directories the kernel's."""
    return [f"path {PurePosixPath(image.target)}" for image in images]


def mount(images: Sequence[Image], kernel: Joined) -> None:
    """Mount them, in their order.

    Raises:
        BootError: if the kernel does not.
    """
    if not images:
        return
    from rumpel.run.popen import output

    volumes = _volumes(images, kernel)
    for image in images:
        path = os.path.realpath(image.path)
        device = f"/dev/{_disk(images, path)}{image.partition or ''}"
        if image.volume:
            device = volumes[path, image.volume]
        program = [sys.executable, "-I", "-S", os.fspath(_MOUNTING), device, image.target]
        status, said = output(kernel, [*program, *filter(None, [image.fstype])], _RULES)
        if status:
            part = image.volume or image.partition or ""
            raise BootError(
                f"{image.path}{part and f':{part}'} cannot be mounted at {image.target}: "
                f"{said.strip() or 'its kernel has ended'}"
            )


def _volumes(images: Sequence[Image], kernel: Joined) -> dict[tuple[str, str], str]:
    """Have volumes made: their devices, by the image's path and their names."""
    from rumpel.run.popen import output

    made: dict[tuple[str, str], str] = {}
    for path in disks(images):
        inside = [each for each in images if each.volume and os.path.realpath(each.path) == path]
        if not inside:
            continue
        found = {k: v for each in inside if each.key for k, v in each.key.found.items()}
        names = [each.volume for each in inside]
        told = pickle.dumps((inside[0].path, _disk(images, path), names, found))
        program = [sys.executable, "-I", "-m", "rumpel.run.volumes"]
        status, said = output(kernel, program, _OF_VOLUMES, told)
        if status:
            raise BootError(said.strip() or f"{path}: its kernel has ended")
        made.update(zip([(path, name) for name in names], said.split(), strict=True))
    return made


def _disk(images: Sequence[Image], path: str) -> str:
    """Its name in the kernel."""
    return f"vd{chr(ord('a') + disks(images).index(path))}"


def disks(images: Sequence[Image]) -> list[str]:
    """The files in which they are, each of which is a disk, in the order of these."""
    return list(dict.fromkeys(os.path.realpath(image.path) for image in images))
