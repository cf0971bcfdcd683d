# SPDX-License-Identifier: GPL-2.0-only
"""Boot a kernel in a sandbox."""

from __future__ import annotations

import os

from rumpel.arguments import listed
from rumpel.build.lookup import image_path
from rumpel.kernel import Kernel
from rumpel.sandbox.disks import DiskSpec
from rumpel.sandbox.native import RemoteKernel
from rumpel.sandbox.process import take
from rumpel.sandbox.spawn import Setup
from rumpel.sizes import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


__all__ = ["SandboxedKernel", "boot"]


_START = 60.0


class SandboxedKernel(Kernel):
    """A kernel in a process of its own.

    Files, paths, mounts and copies are as of any kernel. It has no networks, no event loops
    and no clones, and devices stay as they were.
    """

    def __init__(self, native: RemoteKernel) -> None:
        binding: Any = native  # it has what that has
        super().__init__(binding, None, (), None)
        self.remote = native


def boot(
    disks: Sequence[DiskSpec | str | os.PathLike[str]] = (),
    *,
    name: str = "",
    fds: Sequence[int] = (),
    memory: int | str = "64M",
    version: str = "6.12",
    profile: str = "default",
    image: str | os.PathLike[str] | None = None,
    cmdline: str = "",
    modules: Sequence[str] = (),
    housekeeper: bool = False,
    confined: bool = True,
    timeout: float | None = None,
) -> SandboxedKernel:
    """Boot a kernel in a sandbox.

    Args:
        disks: /dev/vda, /dev/vdb, ...: paths, or what tells more of them.
        name: for error messages; the first disk's path by default.
        fds: descriptors that the child gets, as :data:`rumpel.sandbox.spawn.FIRST` and so on,
            for functions of ``modules``.
        memory: of the kernel, in bytes or such as ``"64M"``.
        version: of the kernel.
        profile: what it is configured for.
        image: a kernel image to boot instead of version and profile.
        cmdline: more parameters for the kernel's command line.
        modules: what the child shall import, for :meth:`RemoteKernel.stream` and the like
            to run functions of.
        housekeeper: keep a thread that lets the kernel write what is to be written while no
            call is inside; see :func:`rumpel.boot`.
        confined: False leaves the child its privileges, for debugging.
        timeout: how long the child may take for an answer, in seconds; then it is killed, as
            by pulling the plug. A system call is an answer, and so is each part of a copy.

    Raises:
        OSError: if a disk cannot be opened, as :class:`rumpel.Disk`.
        TypeError: if a disk is neither a path nor a DiskSpec: the child opens it.
        BootError: if there is no kernel image, or it does not boot.
        SandboxError: if the child cannot be confined here.

    Example:
        >>> with rumpel.sandbox.boot(["stick.img"]) as k:  # doctest: +SKIP
        ...     k.mount("/dev/vda1", "/mnt", "vfat")
        ...     k.os.listdir("/mnt")
    """
    setup = Setup(
        os.path.abspath(image_path(version, profile) if image is None else image),  # noqa: PTH100
        to_bytes(memory),
        tuple(modules),
        cmdline,
        housekeeper,
        confined,
    )
    given = listed("disks", disks, 'disks=["disk.img"]')
    specs = [d if isinstance(d, DiskSpec) else DiskSpec(os.fspath(d)) for d in given]
    process = take(name or (specs[0].path if specs else "sandbox"), setup, fds)
    # On a busy machine an interpreter may take its time to start.
    process.set_timeout(None if timeout is None else max(timeout, _START))
    native = RemoteKernel(process)
    try:
        native.start(os.getcwd(), specs)  # noqa: PTH109
        process.set_timeout(timeout)
    except BaseException:
        native.close()
        raise
    return SandboxedKernel(native)
