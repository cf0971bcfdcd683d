# SPDX-License-Identifier: GPL-2.0-only
"""File systems of disk images at directories that programs see."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

from rumpel.errors import BootError
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rumpel.run.instance import Joined

__all__ = ["Image", "arguments", "mount", "rules"]

_MOUNTING = Path(__file__).with_name("mounting.py")
_RULES = ("call mkdir", "call mount", "path /proc/filesystems")
"""Of :mod:`rumpel.run.mounting`: whatever their paths are."""


class Image(Record):
    """A file system of an image, and where programs have it.

    Attributes:
        path: of the image, a raw one.
        target: a directory, which need not be there.
        partition: its number; 0 is the whole disk.
        fstype: None tries all that the kernel knows.
    """

    path: str
    target: str
    partition: int = 0
    fstype: str | None = None

    def __post_init__(self) -> None:
        target = PurePosixPath(self.target)
        if not target.is_absolute() or ".." in target.parts or not target.name:
            raise ValueError(f"an image must be at an absolute path: {self.target!r}")


def arguments(images: Sequence[Image]) -> list[str]:
    """The disks, as the keeper takes them: each image is one.

    Raises:
        OSError: if an image is not there, or may not be written to.
    """
    disks = _disks(images)
    for path in disks:
        if "," in path:
            raise ValueError(f"the name of an image must have no comma: {path}")
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    if len(disks) > 26:
        raise ValueError(f"{len(disks)} images are too many: at most 26")
    return [f"disk={path}" for path in disks]


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

    disks = _disks(images)
    for image in images:
        number = disks.index(os.path.realpath(image.path))
        device = f"/dev/vd{chr(ord('a') + number)}{image.partition or ''}"
        program = [sys.executable, "-I", "-S", os.fspath(_MOUNTING), device, image.target]
        status, said = output(kernel, [*program, *filter(None, [image.fstype])], _RULES)
        if status:
            partition = f":{image.partition}" if image.partition else ""
            raise BootError(
                f"{image.path}{partition} cannot be mounted at {image.target}: "
                f"{said.strip() or 'its kernel has ended'}"
            )


def _disks(images: Sequence[Image]) -> list[str]:
    return list(dict.fromkeys(os.path.realpath(image.path) for image in images))
