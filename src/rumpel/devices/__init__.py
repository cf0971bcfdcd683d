# SPDX-License-Identifier: GPL-2.0-only
"""Virtual devices: make them, and hand them to :func:`rumpel.boot`.

A device belongs to the one kernel that is booted with it. One module for each kind, imported
when it is first used: whoever wants a disk needs no event loops.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.devices.console import Console
    from rumpel.devices.device import Device
    from rumpel.devices.directory import HostDirectory
    from rumpel.devices.disk import Disk, MemoryDisk
    from rumpel.devices.entropy import Entropy
    from rumpel.devices.faulty import FaultyDisk
    from rumpel.devices.fd import FdNic
    from rumpel.devices.link import Link
    from rumpel.devices.nbd import NbdDisk
    from rumpel.devices.nic import Nic, to_mac
    from rumpel.devices.overlay import Overlay
    from rumpel.devices.packet import PacketNic
    from rumpel.devices.pipe import PipeEvent, PipeNic
    from rumpel.devices.python import PythonNic
    from rumpel.devices.served import DiskBackend, PythonDisk
    from rumpel.devices.shapes import DeviceStats, HasFileno
    from rumpel.devices.tap import Tap
    from rumpel.devices.unix import UnixNic
    from rumpel.devices.usernet import Forward, UserNet
    from rumpel.devices.vde import Vde
    from rumpel.devices.vsock import Vsock
    from rumpel.devices.xdp import XdpNic

__all__ = [
    "Console",
    "Device",
    "DeviceStats",
    "Disk",
    "DiskBackend",
    "Entropy",
    "FaultyDisk",
    "FdNic",
    "Forward",
    "HasFileno",
    "HostDirectory",
    "Link",
    "MemoryDisk",
    "NbdDisk",
    "Nic",
    "Overlay",
    "PacketNic",
    "PipeEvent",
    "PipeNic",
    "PythonDisk",
    "PythonNic",
    "Tap",
    "UnixNic",
    "UserNet",
    "Vde",
    "Vsock",
    "XdpNic",
    "to_mac",
]

_MODULES = {
    "Console": "console",
    "Device": "device",
    "DeviceStats": "shapes",
    "Disk": "disk",
    "DiskBackend": "served",
    "Entropy": "entropy",
    "FaultyDisk": "faulty",
    "FdNic": "fd",
    "Forward": "usernet",
    "HasFileno": "shapes",
    "HostDirectory": "directory",
    "Link": "link",
    "MemoryDisk": "disk",
    "NbdDisk": "nbd",
    "Nic": "nic",
    "Overlay": "overlay",
    "PacketNic": "packet",
    "PipeEvent": "pipe",
    "PipeNic": "pipe",
    "PythonDisk": "served",
    "PythonNic": "python",
    "Tap": "tap",
    "UnixNic": "unix",
    "UserNet": "usernet",
    "Vde": "vde",
    "Vsock": "vsock",
    "XdpNic": "xdp",
    "to_mac": "nic",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a kind of device when it is used."""
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"rumpel.devices.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})
