# SPDX-License-Identifier: GPL-2.0-only
"""The Linux kernel as a library.

    import rumpel

    with rumpel.boot() as k:
        print(k.os.uname().release)

The layers, each of which knows only those below it::

    cli, demo                               what is made with it
    aio                                     asyncio on a kernel
    os, io, path, modules, copying, ...     what Python people expect of files, on a kernel
    socket, select, net, clone, ...         and of the rest
    booting, kernel, log, clock, devices    the core
    syscalls, sizes                         tables and parsers
    _native                                 the binding of include/rumpel/rumpel.h

``build`` makes kernel images and stands beside them. What is below ``kernel`` is
imported when it is first used.
"""

from __future__ import annotations

from rumpel import forks
from rumpel.errors import (
    BootError,
    BuildError,
    CloneError,
    ConfigError,
    Deadlock,
    DeviceError,
    KernelClosed,
    KernelPanic,
    RumpelError,
    SandboxError,
    TaskExited,
)

forks.watch()

TYPE_CHECKING = False  # as typing has it, which takes as long to import as a kernel to boot
if TYPE_CHECKING:
    from rumpel import aio as aio
    from rumpel import crash as crash
    from rumpel import net as net
    from rumpel import sandbox as sandbox
    from rumpel.booting import boot
    from rumpel.clock import HostClock, VirtualClock
    from rumpel.devices import (
        Console,
        Device,
        DeviceStats,
        Disk,
        DiskBackend,
        Entropy,
        FaultyDisk,
        FdNic,
        HostDirectory,
        Link,
        MemoryDisk,
        NbdDisk,
        Nic,
        Overlay,
        PacketNic,
        PipeNic,
        PythonDisk,
        PythonNic,
        Tap,
        UnixNic,
        UserNet,
        Vde,
        Vsock,
        XdpNic,
    )
    from rumpel.kernel import Kernel
    from rumpel.log import Log
    from rumpel.records import LogRecord

__version__ = "0.1.0"

__all__ = [
    "BootError",
    "BuildError",
    "CloneError",
    "ConfigError",
    "Console",
    "Deadlock",
    "Device",
    "DeviceError",
    "DeviceStats",
    "Disk",
    "DiskBackend",
    "Entropy",
    "FaultyDisk",
    "FdNic",
    "HostClock",
    "HostDirectory",
    "Kernel",
    "KernelClosed",
    "KernelPanic",
    "Link",
    "Log",
    "LogRecord",
    "MemoryDisk",
    "NbdDisk",
    "Nic",
    "Overlay",
    "PacketNic",
    "PipeNic",
    "PythonDisk",
    "PythonNic",
    "RumpelError",
    "SandboxError",
    "Tap",
    "TaskExited",
    "UnixNic",
    "UserNet",
    "Vde",
    "VirtualClock",
    "Vsock",
    "XdpNic",
    "boot",
]

_WHERE = {
    "clock": ("HostClock", "VirtualClock"),
    "devices": (
        "Console",
        "Device",
        "DeviceStats",
        "Disk",
        "DiskBackend",
        "Entropy",
        "FaultyDisk",
        "FdNic",
        "HostDirectory",
        "Link",
        "MemoryDisk",
        "NbdDisk",
        "Nic",
        "PacketNic",
        "PipeNic",
        "PythonNic",
        "Tap",
        "UnixNic",
        "Overlay",
        "PythonDisk",
        "UserNet",
        "Vde",
        "Vsock",
        "XdpNic",
    ),
    "booting": ("boot",),
    "kernel": ("Kernel",),
    "log": ("Log",),
    "records": ("LogRecord",),
}
_PACKAGES = {"aio", "crash", "net", "sandbox"}
"""What `import rumpel` is enough for."""
_USAGES = {"build", "images", "md", "nf", "packets", "run"}
"""What is imported by its own name."""
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the rest when it is used: building kernels needs none of it."""
        if name in _PACKAGES:
            from importlib import import_module

            return import_module(f"rumpel.{name}")
        module = _MODULES.get(name)
        if module is None:
            own = f"; import rumpel.{name} first" if name in _USAGES else ""
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{own}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"rumpel.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__, *_PACKAGES})
