# SPDX-License-Identifier: GPL-2.0-only
"""From arguments to a kernel that runs."""

from __future__ import annotations

import os

from rumpel import _native, syscalls
from rumpel.arguments import check_claims, check_kind, listed
from rumpel.build.lookup import image_path
from rumpel.build.snapshots import snapshot_file
from rumpel.clock import VirtualClock
from rumpel.kernel import Kernel
from rumpel.log import destination
from rumpel.sizes import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rumpel.devices import Device, Nic
    from rumpel.kernel import AnyPath
    from rumpel.log import LogTarget

__all__ = ["adopt", "boot"]

_SIGPIPE, _SIGXFSZ = 13, 25  # of this Linux


def boot(
    *,
    memory: int | str = "64M",
    version: str = "6.12",
    profile: str = "default",
    image: AnyPath | None = None,
    cmdline: str = "",
    disks: Iterable[AnyPath | Device] = (),
    nics: Iterable[Nic] = (),
    devices: Iterable[Device] = (),
    clock: VirtualClock | None = None,
    log: LogTarget | None = None,
    housekeeper: bool = True,
    snapshot: bool = True,
) -> Kernel:
    """Boot a Linux kernel inside this process.

    The calling thread becomes its pid 1. /proc, /sys, /dev and /tmp are mounted and the
    loopback interface is up, where the profile has them.

    Args:
        memory: of the kernel, in bytes or such as ``"64M"``.
        version: of the kernel; ``rumpel kernel list`` lists what there is.
        profile: what it is configured for: default, tiny or debug.
        image: a kernel image to boot instead of version and profile.
        cmdline: more parameters for the kernel's command line.
        disks: files and disks: /dev/vda, /dev/vdb, ...
        nics: network interfaces: eth0, eth1, ...
        devices: others.
        clock: a virtual clock; None is the host's.
        log: called with each :class:`rumpel.LogRecord` (from another thread) as it
            appears, or a :class:`logging.Logger`; or a descriptor, or an open file that has
            one, to which records are written as /dev/kmsg has them.
        housekeeper: keep a thread that lets an idle kernel's timers and devices go on;
            without it they do only while some call is inside. Never with a virtual clock.
        snapshot: start from what an earlier boot of this image, with as much memory, has left
            in the cache, or leave it there: a start then takes a tenth of a boot, and some
            10 MB of disk. Kernels that start from one have random numbers of their own, but the
            same seeds of those hashes that are seeded while Linux boots. Never with a command
            line or a virtual clock.

    Raises:
        BootError: if the image is missing or damaged, or the kernel does not come up.
        BuildError: if version or profile do not exist.
        ValueError: if a device already belongs to a kernel, or is one that a kernel has once.
        TypeError: if an argument is of another type, such as a single disk instead of a list.
        OSError: if ``log`` is a descriptor that is not open.

    Example:
        >>> with rumpel.boot(memory="32M") as k:  # doctest: +SKIP
        ...     k.os.uname().sysname
        'Linux'
    """
    if clock is not None and not isinstance(clock, VirtualClock):
        raise TypeError(f"clock must be a VirtualClock or None, not {type(clock).__name__}")
    log_fd, handler = destination(log)
    every: list[Device] = []
    for disk in listed("disks", disks, 'disks=["disk.img"]'):
        if isinstance(disk, str | os.PathLike):
            from rumpel.devices import Disk

            every.append(Disk(disk))
        else:
            check_kind("disks are paths and disks", disk, "disk")
            every.append(disk)
    for nic in listed("nics", nics, "nics=[rumpel.UserNet()]"):
        check_kind('nics are interfaces, such as rumpel.Tap("tap0")', nic, "nic")
        every.append(nic)
    for device in listed("devices", devices, "devices=[rumpel.Entropy()]"):
        check_kind("devices are such as rumpel.Entropy()", device)
        every.append(device)
    check_claims(every)
    path = os.fsdecode(image_path(version, profile) if image is None else image)
    size = to_bytes(memory)
    native = _native.boot(
        path,
        memory=size,
        cmdline=cmdline,
        clock=clock._native if clock else None,
        flags=0 if housekeeper and clock is None else _native.NO_HOUSEKEEPER,
        log_fd=log_fd,
        devices=[d._native for d in every],
        snapshot=(
            snapshot_file(path, size, _native.__file__)
            if snapshot and not cmdline and not clock
            else None
        ),
    )
    kernel = Kernel(native, clock, every, handler)
    _ignore_signals(native)
    return kernel


def adopt(native: _native.Kernel) -> Kernel:
    """Make a kernel of one that was booted without devices, log and clock of its own.

    For those who boot before they have imported anything.
    """
    kernel = Kernel(native, None, [], None)
    _ignore_signals(native)
    return kernel


def _ignore_signals(native: _native.Kernel) -> None:
    """Ignore what Python ignores in its own process, so that writes fail with EPIPE or EFBIG."""
    sig_ign = (1).to_bytes(32, "little")
    call = syscalls.bind(native, "rt_sigaction")
    for number in (_SIGPIPE, _SIGXFSZ):
        call(number, sig_ign, None, 8)
