# SPDX-License-Identifier: GPL-2.0-only
"""The C API of ``rumpel.h`` for Python; what is meant for users stands above it.

Objects of this module are safe to use from any thread. Calls that sleep give up the
interpreter's lock; a signal's Python handler runs while they wait, and if it raises
(as for Ctrl-C) the call is interrupted, and has ended, before the exception goes on.

Failed system calls are :class:`OSError`. All calls of a kernel raise
:class:`rumpel.KernelClosed` once it was halted or closed, :class:`rumpel.KernelPanic`
once it panicked, and :class:`rumpel.Deadlock` if on a virtual clock nothing can ever end
the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, final

from typing_extensions import Buffer as _Buffer

_Argument = int | str | bytes | bytearray | memoryview | PathLike[str] | _Buffer | None

PLAIN: int
"""The arguments of a call go to the kernel as they are."""
READ: int
"""``call(fd, size, ...)`` returns what was read, as bytes."""
WRITE: int
"""``call(fd, buffer, ...)`` inserts the buffer's size."""
READINTO: int
"""The same for a buffer that is written to."""
LONG: int
"""Flag of a call that gives up the interpreter's lock before it begins."""
VOID: int
"""Flag of a call that returns None."""
NUMBERS: int
"""Flag of a call whose arguments are numbers, unless they are paths or buffers of a shape."""
NO_HOUSEKEEPER: int
"""Flag of :func:`boot`: no thread that serves timers and devices of an idle kernel."""
NO_DISCARD: int
"""Flag of :func:`block_served`: the disk does not take discards."""
DIRECTORY_READ_ONLY: int
"""Flag of :func:`host_directory`."""
BLOCK_READ: int
"""What is asked of a disk that Python serves: :attr:`BlockIo.op`."""
BLOCK_WRITE: int
"""The same: write ``data``."""
BLOCK_FLUSH: int
"""The same: what was written must survive."""
BLOCK_DISCARD: int
"""The same: the range need not be kept."""
BLOCK_ZERO: int
"""The same: the range reads as zeroes from now on."""
READ_ONLY: int
"""Flag of :func:`block_file` and :func:`block_memory`."""

NO_OFFLOADS: int
"""Flag of :func:`net_tap`, :func:`net_packet` and :func:`net_xdp`: plain frames only."""
XDP_GENERIC: int
"""Flag of :func:`net_xdp`: by the host's network stack, also if the driver could."""
CAPTURE_PCAPNG: int
"""Flag of :meth:`Device.capture`: in pcapng format."""
PACKETS_ANY: int
"""Format for :func:`net_pipe` to read: as the first bytes say."""
PACKETS_TEXT: int
"""Format of :func:`net_pipe`: a line of text for each packet."""
PACKETS_PCAP: int
PACKETS_PCAPNG: int
PACKETS_VIRTIO: int
"""Format of :func:`net_pipe`: frames with their virtio-net headers, between kernels."""
UNIX_LISTEN: int
"""Flag of :func:`net_unix`: take peers instead of connecting to one."""
TAP_PERSIST: int
"""Flag of :func:`tap_open`: the device stays when its descriptor is closed."""

def boot(
    image: str | bytes | PathLike[str],
    /,
    *,
    memory: int = 0,
    cmdline: str | None = None,
    clock: Clock | None = None,
    flags: int = 0,
    log_fd: int = 0,
    devices: Sequence[Device] = (),
    snapshot: str | None = None,
) -> Kernel:
    """Boot a kernel; the calling thread becomes the owner of its pid 1.

    Args:
        image: path of the kernel image.
        memory: bytes; 0 is 64 MiB.
        cmdline: added to the runtime's own command line.
        clock: None is the host's.
        flags: ``NO_HOUSEKEEPER`` or 0.
        log_fd: descriptor to which log records are also written; 0 is none.
        devices: belong to the kernel from then on.
        snapshot: files to start from or to make: see struct rumpel_config.

    Raises:
        BootError: the image cannot be opened, is none, or did not boot.
        ValueError: a device belongs to another kernel.
    """

@final
class Kernel:
    """A booted kernel. Freed when the last reference goes, halted or not."""

    @property
    def state(self) -> str:
        """``running``, ``halted``, ``panicked``, ``forked`` or ``closed``."""
    @property
    def release(self) -> str:
        """As ``uname -r``."""
    @property
    def now_ns(self) -> int:
        """The kernel's monotonic clock."""
    @property
    def load_address(self) -> int:
        """Where the image's text starts, for debuggers."""
    def halt(self) -> None:
        """Sync, unmount and power off. Other threads' calls end with KernelClosed."""
    def close(self) -> None:
        """Free all of it. Other threads' calls are interrupted and raise KernelClosed."""
    def bind(
        self,
        nr: int,
        name: str = ...,
        *,
        least: int = 0,
        most: int = 6,
        shape: int = 0,
        flags: int = 0,
        size: int = -1,
        paths: int = 0,
        wide: int = 0,
    ) -> Call:
        """Make a callable of a system call, made by the calling thread's task.

        Args:
            nr: its number.
            name: for error messages.
            least: arguments that it takes at least.
            most: and at most.
            shape: PLAIN, READ, WRITE or READINTO.
            flags: LONG, VOID, NUMBERS.
            size: which argument is a size in bytes; above 16 KiB the call counts as long.
            paths: bit i is set if argument i is a path, which then also may be bytes.
            wide: with NUMBERS, bit i is set if argument i has 64 bits; the others have 32.
        """
    def run(self, timeout_ns: int, fd: int = -1, /) -> list[Pending]:
        """Lend the thread to the kernel until asynchronous calls have ended: these.

        The list is empty if there are none in time (on the kernel's clock; below zero is
        for ever), if ``fd``, a descriptor of the host's, can be read, after a signal, and
        on a virtual clock now and then.
        """
    def fileno(self) -> int:
        """A descriptor of the host's: readable while :meth:`run` has something to report."""
    @property
    def deadline_ns(self) -> int | None:
        """When :meth:`run` is to be called if there is no housekeeper; None: no timer is set."""
    @property
    def clock(self) -> Clock | None:
        """The virtual clock it lives on."""
    @property
    def in_process(self) -> bool:
        """Is the calling thread in a with statement of a process's task?"""
    @property
    def panic_told(self) -> bool:
        """Has some call raised KernelPanic?"""
    @property
    def has_housekeeper(self) -> bool:
        """Does a thread run the kernel while no caller does?"""
    def task(self, *, process: bool = False) -> Task:
        """Make a task: a thread of pid 1, or a process of its own."""
    def plug(self, device: Device, /) -> None:
        """Take a device while the kernel runs. OSError with ENOSPC or ENODEV."""
    def unplug(self, device: Device, /) -> None:
        """Let go of a device of this kernel."""
    def log_read(self, position: int, /) -> tuple[bytes, int]:
        """Records in the format of /dev/kmsg from ``position`` on, and the next position."""
    def log_wait(self, position: int, timeout_ns: int, /) -> bool:
        """Wait until there is something behind ``position``; False if the time is over.

        Below zero it is for ever, or until :meth:`log_wake`.
        """
    def log_wake(self) -> None:
        """End the waits of other threads for the log."""

@final
class Task:
    """A kernel task. As a context manager: the calling thread's, meanwhile."""

    @property
    def id(self) -> int:
        """Its TID in the kernel's initial namespace."""
    def syscall(self, nr: int, /, *args: _Argument) -> int:
        """Make a system call by number; the interpreter's lock is always given up.

        Args:
            nr: its number.
            args: integers (signed or unsigned, 64 bits), None for 0 or NULL, buffers by
                address (zero-copy; the kernel writes to whatever you pass), str and
                os.PathLike as paths with a NUL behind them.

        Raises:
            OSError: with the kernel's errno, and the first path's name.
        """
    def submit(self, call: Call, /, *args: _Argument) -> Any:
        """Begin a system call: its result if it ends at once, else a :class:`Pending`.

        A task makes one call at a time.
        """
    def bind(
        self,
        nr: int,
        name: str = ...,
        *,
        least: int = 0,
        most: int = 6,
        shape: int = 0,
        flags: int = 0,
        size: int = -1,
        paths: int = 0,
        wide: int = 0,
    ) -> Call:
        """As :meth:`Kernel.bind`, always made by this task."""
    def close(self) -> None:
        """End the kernel task."""
    def __enter__(self) -> Task: ...
    def __exit__(self, *exc: object) -> None: ...

@final
class Call:
    """A system call as a callable, made by :meth:`Kernel.bind`."""

    @property
    def __name__(self) -> str: ...
    @property
    def nr(self) -> int:
        """The system call's number."""
    # What is returned depends on the shape: an int, bytes or None.
    def __call__(self, *args: _Argument) -> int: ...

@final
class Pending:
    """A system call in progress, made by :meth:`Task.submit`.

    Its arguments stay in place until it has ended, which :meth:`Kernel.run` reports.

    Attributes:
        owner: whatever the user wants to find here.
    """

    @property
    def owner(self) -> Any:
        """Whatever the user wants to find here."""
    @owner.setter
    def owner(self, value: Any) -> None:
        """Set it."""
    @property
    def call(self) -> Call:
        """Which system call it is."""
    def done(self) -> bool:
        """Has it ended, and been reported?"""
    def result(self) -> Any:
        """What it returned, once; raises what the call would have."""
    def cancel(self) -> None:
        """Interrupt it: it ends soon, with InterruptedError or what it had done."""

class Clock:
    """A virtual clock.

    Args:
        start_ns: what monotonic clocks read at first.
        epoch_ns: realtime at that moment, ns since 1970.
    """

    def __init__(self, start_ns: int = 0, epoch_ns: int = 0) -> None: ...
    @property
    def now_ns(self) -> int:
        """What monotonic clocks read."""
    def advance_to_ns(self, until_ns: int, /) -> None:
        """Run everything due up to then. ValueError if that is in the past."""

@final
class Vector:
    """An array of struct iovec over buffers, which are pinned as long as it lives.

    It is a buffer itself, to be an argument of readv, sendmsg and the like.

    Args:
        buffers: contiguous ones.
        writable: refuse buffers that may not be written to.
    """

    def __init__(self, buffers: Sequence[_Buffer], *, writable: bool = False) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def addresses(self) -> list[int]:
        """Where the buffers begin."""

@final
class Device:
    """A virtio device; a kernel takes it when it boots."""

    def stats(self) -> tuple[int, int, int, int, int, int]:
        """Requests or frames in, bytes in, the same out, errors, drops."""
    def capture(self, fd: int, flags: int = 0, name: str | None = None, /) -> None:
        """Write frames to a descriptor in pcap format; -1 stops."""
    def receive(self, frames: Sequence[_Buffer], /) -> int:
        """Hand frames to the kernel, of a device of :func:`net_callback`; how many it took."""
    def resize(self, size: int, /) -> None:
        """Make a disk longer or shorter."""
    def set_link(self, up: bool, /) -> None:
        """Plug a network interface's cable in or out."""
    @property
    def clock(self) -> Clock | None:
        """The virtual clock of the kernel that has it."""
    @property
    def taken(self) -> bool:
        """A kernel has it, or had it."""
    @property
    def gone(self) -> bool:
        """That kernel is closed, and the device with it."""

@final
class Overlay:
    """What is written to a disk, apart from it.

    Args:
        base: path of what is read; of ``below`` the file, or None.
        below: another overlay, or None.
        file: where it is kept; None is memory.
        served: of a base that a server of NBD has: descriptor, size, transmission flags, and the
            format that the file's header says.
    """

    def __init__(
        self,
        base: str | bytes | PathLike[str] | None,
        below: Overlay | None,
        file: str | bytes | PathLike[str] | None,
        served: tuple[int, int, int, str] = ...,
        /,
    ) -> None: ...
    def sync(self) -> None:
        """Put all that was written so far into the file."""
    def commit(self) -> None:
        """Put all into the base."""
    def discard(self) -> None:
        """Forget all."""
    def device(self) -> Device:
        """A disk, of which there may be one at a time."""

@final
class BlockIo:
    """A request for a disk that Python serves. If it is dropped it fails."""

    @property
    def op(self) -> int:
        """One of ``BLOCK_*``."""
    @property
    def offset(self) -> int:
        """Where on the disk."""
    @property
    def length(self) -> int:
        """How many bytes."""
    @property
    def data(self) -> bytes | None:
        """What is to be written."""
    def end(self, errno: int, data: _Buffer | None = None, /) -> None:
        """End it, with what was read."""

@final
class BlockServer:
    """Where the requests of such a disk come from."""

    def take(self, wait: bool, most: int = 64, /) -> list[BlockIo] | None:
        """Some requests; None once the kernel is gone."""
    def fail(self) -> None:
        """All requests fail from now on, also those that were taken."""

def block_file(path: str | bytes | PathLike[str], flags: int = 0, /) -> Device:
    """Make a disk of a file or a block device."""

def block_nbd(fd: int, size: int, flags: int, /) -> Device:
    """Make a disk of a connection to a server of NBD, after the handshake."""

def unshare(flags: int, /) -> None:
    """Leave namespaces, as the system call does."""

def drop_capabilities() -> None:
    """Give up all capabilities of the calling thread; see capset(2)."""

def landlock(rules: tuple[tuple[bytes, int], ...], /) -> bool:
    """Leave this thread, and what it executes, only these accesses below these paths.

    False: the host has no Landlock, and all is as it was.
    """

def seccomp(program: _Buffer, /) -> None:
    """Put all threads under a filter of system calls, for good."""

def list_names(where: Kernel | None, dir_fd: int, /) -> list[str]:
    """The names in a directory, from its descriptor's position on, without ``.`` and ``..``.

    Args:
        where: whose directory; None is the host.
        dir_fd: of the directory.

    Raises:
        OSError: as getdents64(2).
    """

def list_kinds(where: Kernel | None, path: str | bytes, /) -> tuple[list[str], list[str]]:
    """The names in a directory, and those of them that are directories themselves.

    Args:
        where: whose directory; None is the host.
        path: of the directory; it is no link.

    Raises:
        OSError: as openat(2) and getdents64(2).
    """

def look(
    where: Kernel | None, dir_fd: int, names: Sequence[str | bytes], buffer: _Buffer, /
) -> tuple[int, int, list[int]]:
    """Have a struct statx of each name, as far as there is room, and none fails.

    Args:
        where: whose directory; None is the host.
        dir_fd: of the directory.
        names: in it; links are not followed.
        buffer: where to, aligned as numbers of 64 bits are.

    Returns:
        How many, the errno of the next one or 0, and which are directories or symbolic links.
    """

def read_files(
    where: Kernel | None, dir_fd: int, names: Sequence[str | bytes], buffer: _Buffer, limit: int, /
) -> tuple[int, int]:
    """Read small files of a directory, as :data:`rumpel.copying.packed.RECORD` and content each.

    Args:
        where: whose files; None is the host, for which the interpreter's lock is given up.
        dir_fd: of the directory.
        names: of files.
        buffer: where to.
        limit: no file may be longer.

    Returns:
        How many of them, from the first on, and how much of the buffer they take. The next one
        is no regular file, has several names, extended attributes, holes or no room, or there is
        something wrong with it.
    """

def make_files(
    where: Kernel | None,
    dir_fd: int,
    names: Sequence[str | bytes],
    data: _Buffer,
    ids: tuple[int, int],
    umask: int,
    is_plain: bool,
    owner: tuple[int, int] | None,
    /,
) -> list[tuple[int, str, int]]:
    """Make files as :func:`read_files` has read them; those that are there are not touched.

    Args:
        where: whose files; None is the host, for which the interpreter's lock is given up.
        dir_fd: of the directory.
        names: which ones.
        data: what they are.
        ids: user and group of who makes them.
        umask: what modes do not get.
        is_plain: what is made in the directory gets that user, that group, and the mode that is
            asked for but for the umask.
        owner: of all of them, instead of those that they have.

    Returns:
        The index of a file, ``owner``, ``mode`` or ``file``, and an errno: what could not be kept,
        or that nothing is left of it.

    Raises:
        ValueError: if there are not as many as names; some may have been made.
    """

def end_after_hangup(fd: int, seconds: int, /) -> None:
    """End the process so many seconds after a socket's other end is gone, whatever it does.

    Called again it changes the seconds, for the same socket.
    """

def block_memory(size_or_buffer: int | _Buffer, flags: int = 0, /) -> Device:
    """Make a disk of new memory or of a buffer."""

def block_served(
    size: int, block_size: int, flags: int, ready: Callable[[], object], /
) -> tuple[BlockServer, Device]:
    """Make a disk that Python serves; with a virtual clock ``ready`` is called for it."""

def net_fd(fd: int, mac: bytes | None = None, mtu: int = 1500, /) -> Device:
    """Make an interface whose frames are a socket's messages, or go through its stream."""

def net_link(
    delay_ns: int = 0,
    mtu: int = 1500,
    mac0: bytes | None = None,
    mac1: bytes | None = None,
    /,
) -> tuple[Device, Device]:
    """Two interfaces joined by a cable."""

def net_callback(
    function: Callable[[list[bytes]], object], mac: bytes | None = None, mtu: int = 0, /
) -> Device:
    """Make an interface whose frames a function gets, in batches."""

def net_vde(
    path: str | bytes | PathLike[str],
    port: int = 0,
    description: str = "",
    mac: bytes | None = None,
    mtu: int = 0,
    /,
) -> Device:
    """Make an interface on a port of a VDE switch."""

def net_packet(interface: str, flags: int = 0, mac: bytes | None = None, mtu: int = 0, /) -> Device:
    """Make an interface on the network of one of the host's; MTU 0 is that one's."""

def net_xdp(
    interface: str, queue: int = 0, flags: int = 0, mac: bytes | None = None, mtu: int = 0, /
) -> tuple[Device, int]:
    """Make an interface that takes over a queue of one of the host's; MTU 0 is that one's.

    The number is how: 0 by the host's stack, 1 by the driver, 2 without a copy.
    """

def net_unix(
    path: str | bytes | PathLike[str],
    flags: int = 0,
    again_ns: int = 0,
    mac: bytes | None = None,
    mtu: int = 0,
    /,
) -> Device:
    """Make an interface whose frames go through a unix stream socket."""

def net_pipe(
    input: int,
    output: int,
    events: int,
    report: int,
    name: str,
    read: int,
    write: int,
    backward: bool,
    paused: bool,
    shared: int,
    mac: bytes | None,
    mtu: int,
    /,
) -> Device:
    """Make an interface between two streams of packets."""

def net_join(device: Device, other: Device, /) -> None:
    """Say of two cables or pipes that what comes in on one goes out on the other."""

def net_is_stalled(device: Device, /) -> bool:
    """Do frames wait at an interface for whoever is to take them?"""

def end_with_parent(signal: int, /) -> None:
    """Let this process get a signal when the thread that forked it ends."""

def net_pipe_resume(device: Device, /) -> None:
    """Let such an interface, made paused, read."""

def net_pipe_end(device: Device, /) -> None:
    """Close such an interface's output, once all is written."""

def packet_summary(frame: bytes | bytearray | memoryview, /) -> str:
    """Say in a line what an Ethernet frame is."""

@final
class Packet:
    """An Ethernet frame, with its headers as attributes; see :mod:`rumpel.packets`.

    Args:
        frame: its bytes, which are copied.
        time: in seconds.
        direction: ``>`` or ``<``.
    """

    def __new__(cls, frame: _Buffer, time: float = 0.0, direction: str = ">") -> Packet: ...
    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def copy(self) -> Packet:
        """Another one like this."""
    time: float
    """When it was seen, in seconds."""
    time_ns: int
    """The same in nanoseconds."""
    direction: str
    """``>`` or ``<``."""
    checksums: bool
    """Do checksums follow when fields are set? True at first."""
    frame: bytes
    """The whole frame; when it is set, nothing is corrected."""
    payload: bytes
    """What is behind the last header that is known; lengths and checksums follow."""
    @property
    def flow(self) -> bytes | None:
        """The protocol, and addresses and ports of both ends: the same in both directions.

        None of a packet that is not of IP.
        """
    @property
    def ether(self) -> Ether | None:
        """The Ethernet header."""
    @property
    def vlan(self) -> Vlan | None:
        """The first tag of IEEE 802.1Q."""
    @property
    def arp(self) -> Arp | None:
        """ARP, for IPv4 on Ethernet (RFC 826)."""
    @property
    def ip(self) -> Ip | None:
        """The IPv4 header (RFC 791)."""
    @property
    def ip6(self) -> Ip6 | None:
        """The IPv6 header (RFC 8200)."""
    @property
    def tcp(self) -> Tcp | None:
        """The TCP header (RFC 9293)."""
    @property
    def udp(self) -> Udp | None:
        """The UDP header (RFC 768)."""
    @property
    def icmp(self) -> Icmp | None:
        """The ICMP header (RFC 792)."""
    @property
    def icmpv6(self) -> Icmpv6 | None:
        """The ICMPv6 header (RFC 4443)."""

@final
class Ether:
    """The Ethernet header."""

    daddr: str
    """Destination; takes bytes too, as all addresses do."""
    saddr: str
    """Source."""
    type: int
    """Of what follows, behind tags of VLANs if there are any."""

@final
class Vlan:
    """The first tag of IEEE 802.1Q."""

    pcp: int
    """Priority."""
    dei: int
    """May be dropped before others."""
    id: int
    """The network."""
    type: int
    """Of what follows."""

@final
class Arp:
    """ARP, for IPv4 on Ethernet (RFC 826)."""

    htype: int
    """Kind of hardware address: 1."""
    ptype: int
    """Of protocol address: 0x0800."""
    hlen: int
    """Bytes of a hardware address."""
    plen: int
    """Of a protocol address."""
    operation: int
    """1 asks, 2 answers."""
    saddr_ether: str
    """The sender's MAC address."""
    saddr_ip: str
    """And its IPv4 address."""
    daddr_ether: str
    """The target's."""
    daddr_ip: str
    """And who is looked for."""

@final
class Ip:
    """The IPv4 header (RFC 791)."""

    version: int
    """4."""
    hdrlength: int
    """In units of four bytes."""
    dscp: int
    """Class of service."""
    ecn: int
    """Congestion: see RFC 3168."""
    length: int
    """Of header and payload."""
    id: int
    """Of the datagram that this is a fragment of."""
    frag_off: int
    """Flags and offset of a fragment."""
    ttl: int
    """Hops that are left."""
    protocol: int
    """Of the payload."""
    checksum: int
    """Of the header. It stays as it is set until another field is."""
    saddr: str
    """Source."""
    daddr: str
    """Destination."""

@final
class Ip6:
    """The IPv6 header (RFC 8200)."""

    version: int
    """6."""
    dscp: int
    """Class of service."""
    ecn: int
    """Congestion: see RFC 3168."""
    flowlabel: int
    """Of the flow."""
    length: int
    """Of the payload."""
    nexthdr: int
    """What follows."""
    hoplimit: int
    """Hops that are left."""
    saddr: str
    """Source."""
    daddr: str
    """Destination."""

@final
class Tcp:
    """The TCP header (RFC 9293)."""

    sport: int
    """Source port."""
    dport: int
    """Destination port."""
    sequence: int
    """Number of the first byte."""
    ackseq: int
    """Number of the byte that is expected."""
    doff: int
    """Length of the header, in units of four bytes."""
    flags: int
    """FIN is 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128."""
    window: int
    """Bytes that may be sent, unscaled."""
    checksum: int
    """It stays as it is set until another field is."""
    urgptr: int
    """Urgent pointer."""
    options: Any
    """A list of pairs: kind and data. May be set to such; no-ops are left out."""
    def option(self, kind: int, /) -> bytes | None:
        """The data of an option, or None."""
    def strip(self, *kinds: int) -> int:
        """Overwrite options of some kinds by no-ops, as firewalls do: how many."""

@final
class Udp:
    """The UDP header (RFC 768)."""

    sport: int
    """Source port."""
    dport: int
    """Destination port."""
    length: int
    """Of header and payload."""
    checksum: int
    """0: there is none. It stays as it is set until another field is."""

@final
class Icmp:
    """The ICMP header (RFC 792)."""

    type: int
    """Of the message."""
    code: int
    """What of that type."""
    checksum: int
    """It stays as it is set until another field is."""
    id: int
    """Of echo requests and replies."""
    sequence: int
    """The same."""

@final
class Icmpv6:
    """The ICMPv6 header (RFC 4443)."""

    type: int
    """Of the message."""
    code: int
    """What of that type."""
    checksum: int
    """It stays as it is set until another field is."""
    id: int
    """Of echo requests and replies."""
    sequence: int
    """The same."""

@final
class PacketReader:
    """Takes packets out of a stream of bytes.

    Args:
        direction: of all of them; None: as the stream says.
    """

    def __new__(cls, direction: str | None = None) -> PacketReader: ...
    @property
    def damaged(self) -> bool:
        """Nothing more can be read."""
    def feed(self, data: _Buffer, end: bool = False, /) -> tuple[list[Packet | bytes], list[str]]:
        """Packets, and lines that are none; and what is wrong with others."""

def packets_begin(format: int, /) -> bytes:
    """What a stream of packets begins with."""

def packets_encode(format: int, items: Sequence[Packet | bytes], /) -> bytes:
    """Packets in a format; lines are left out where it has no place for them."""

def net_datagram(
    local: str | bytes | PathLike[str],
    peer: str | bytes | PathLike[str],
    mac: bytes | None = None,
    mtu: int = 0,
    /,
) -> Device:
    """Make an interface whose frames are datagrams between unix sockets."""

def tap_open(name: str, flags: int = 0, /) -> tuple[int, str]:
    """Make a TAP device, or attach to one: a descriptor, and the device's name."""

def net_tap(fd: int, flags: int = 0, mac: bytes | None = None, mtu: int = 0, /) -> Device:
    """Make an interface on the descriptor of a TAP device; MTU 0 is the device's own."""

def host_directory(
    path: str | bytes | PathLike[str], tag: str, flags: int, valid_ns: int, /
) -> Device:
    """Make a directory of the host mountable, as virtiofs."""

def entropy() -> Device:
    """Make a source of random numbers."""

def vsock(path: str | bytes | PathLike[str], cid: int, /) -> Device:
    """Make an end of AF_VSOCK sockets, with a unix socket as the host's."""

def console(fd: int, /) -> Device:
    """Make a terminal, hvc0, of a descriptor."""

@final
class UserNet:
    """A user-mode network: a thread that drives libslirp.

    All arguments are positional.

    Args:
        addresses: of the network, the host, the name server, and who gets forwarded
            connections.
        mask: of the network.
        addresses6: the same for IPv6, of a network of 64 bits; None has none.
        mtu: of the interface.
        host_loopback: may the host's loopback be reached?

    Raises:
        DeviceError: libslirp is missing, or refuses the arguments.
    """

    def __init__(
        self,
        addresses: tuple[str, str, str, str],
        mask: str,
        addresses6: tuple[str, str, str, str] | None,
        mtu: int,
        host_loopback: bool,
        /,
    ) -> None: ...
    def fileno(self) -> int:
        """The socket for :func:`net_fd`."""
    def forward(self, udp: bool, host: str, host_port: int, guest_port: int, /) -> None:
        """Publish a port at an address of the host, or take that back: ``guest_port=-1``."""
    def close(self) -> None:
        """End the thread and all connections."""

class Mapping:
    """Memory that mmap() of a kernel returned, as a buffer; rumpel.mmap makes them."""

    def __init__(self, kernel: Kernel, address: int, length: int, readonly: bool, /) -> None: ...
    @property
    def closed(self) -> bool:
        """Has it been given back?"""
    @property
    def address(self) -> int:
        """Where it begins, for system calls that take addresses."""
    def _unused(self) -> None:
        """BufferError if somebody has a view of it."""
    def _release(self) -> tuple[int, int] | None:
        """Close it: address and length, for the one caller who unmaps it; None for others."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class FuseNode:
    """An inode that the host knows, and a name that leads to it."""

    @property
    def parent(self) -> FuseNode | None:
        """The directory that its name is in; None of the root."""
    @property
    def name(self) -> bytes:
        """What it is called there."""
    @property
    def fd(self) -> int:
        """Its descriptor of the kernel, once it has no name; -1 before."""

@final
class FuseServer:
    """What a host knows of a kernel's files by FUSE; answers what it asks most.

    Args:
        kernel: whose root directory is served.
        device: an open /dev/fuse that is mounted, not blocking.
        read_only: open no file for writing.

    Raises:
        OSError: if there is no root directory.
    """

    def __init__(self, kernel: Kernel, device: int, read_only: bool, /) -> None: ...
    @property
    def nameless(self) -> int:
        """How many nodes have a descriptor instead of a name, and take room all the same."""
    @property
    def served(self) -> int:
        """Requests so far."""
    def take(
        self, buffer: _Buffer, stop: int, patient: bool, most: int, /
    ) -> bool | tuple[int, int, int, int, int, int]:
        """Take requests, and answer them, up to one that is somebody else's to answer.

        Args:
            buffer: where requests are read to.
            stop: a pipe; when its other end is closed, there will be no more. -1: none is waited
                for.
            patient: look for more for a while, before they are waited for.
            most: requests, after which it comes back.

        Returns:
            False if there are no more; True after so many, and for signals to be handled; or the
            request that is not answered: opcode, unique, node, user, group, and how much of the
            buffer it takes.

        Raises:
            OSError: as reading or writing the device: ENODEV, if it is not mounted any more.
        """
    def answer(self, unique: int, error: int, data: _Buffer, /) -> None:
        """Answer a request that was somebody else's; nothing happens if nobody waits any more.

        Args:
            unique: of the request.
            error: an errno, or 0.
            data: what belongs to an answer that is none.

        Raises:
            OSError: as writing the device.
        """
    def changed(self) -> None:
        """Something is not as it was: to be called before the request is answered that did it."""
    def node(self, id: int, /) -> FuseNode:
        """The node that the host calls so.

        Raises:
            OSError: ESTALE, if there is none.
        """
    def path(self, node: FuseNode, name: bytes = ..., /) -> bytes:
        """Path of a node, or of a name in it.

        Raises:
            OSError: ESTALE, if it has no name any more; ENAMETOOLONG.
        """
    def look(self, node: FuseNode, name: bytes = ..., /) -> tuple[FuseNode | None, int]:
        """The node that a name in a node leads to, or the node itself, and the file's mode.

        Returns:
            None for the node, if the host does not know the file.

        Raises:
            OSError: as statx(2).
        """
    def entry(self, node: FuseNode, name: bytes, /) -> bytes:
        """What is told to the host of a name in a node: struct fuse_entry_out.

        Raises:
            OSError: as statx(2).
        """
    def attributes(self, node: FuseNode, /) -> bytes:
        """Attributes for the host: struct fuse_attr_out.

        Raises:
            OSError: as statx(2).
        """
    def file(self, node: FuseNode, writable: bool, /) -> int:
        """A descriptor of the kernel, which stays open for a while.

        Args:
            node: whose file.
            writable: for writing as well, if that is possible.

        Raises:
            OSError: as open(2).
        """
    def directory(self, node: FuseNode, /) -> int:
        """The same of a directory."""
    def hold(self, node: FuseNode, fd: int, /) -> None:
        """Use a descriptor from now on: its name will be removed."""
    def release(self, node: FuseNode, /) -> None:
        """Close what is open of it: it has a name after all."""
    def move(self, node: FuseNode, parent: FuseNode, name: bytes, /) -> None:
        """Another name leads to it."""
    def close(self) -> None:
        """Close all that is open."""
