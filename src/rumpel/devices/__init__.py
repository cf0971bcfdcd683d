# SPDX-License-Identifier: GPL-2.0-only
"""Virtual devices: make them, and hand them to :func:`rumpel.boot`.

A device belongs to the one kernel that is booted with it. One module for each kind.
"""

from rumpel.devices.console import Console
from rumpel.devices.device import Device, DeviceStats, HasFileno
from rumpel.devices.directory import HostDirectory
from rumpel.devices.disk import Disk, MemoryDisk
from rumpel.devices.entropy import Entropy
from rumpel.devices.faulty import FaultyDisk
from rumpel.devices.fd import FdNic
from rumpel.devices.link import Link
from rumpel.devices.nic import Nic, to_mac
from rumpel.devices.overlay import Overlay
from rumpel.devices.packet import PacketNic
from rumpel.devices.pipe import PacketFormat, PipeEvent, PipeNic, packet_format
from rumpel.devices.python import PythonNic
from rumpel.devices.served import DiskBackend, PythonDisk
from rumpel.devices.tap import Tap
from rumpel.devices.unix import UnixNic
from rumpel.devices.usernet import Forward, UserNet
from rumpel.devices.vde import Vde
from rumpel.devices.vsock import Vsock

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
    "Nic",
    "Overlay",
    "PacketFormat",
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
    "packet_format",
    "to_mac",
]
