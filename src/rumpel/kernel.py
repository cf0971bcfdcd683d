# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel: what it offers, how it ends."""

from __future__ import annotations

import os
from _thread import _local as thread_local
from _warnings import warn

from rumpel import _native, syscalls
from rumpel.arguments import check_claims, check_kind
from rumpel.clock import HostClock, VirtualClock
from rumpel.errors import KernelClosed, KernelPanic
from rumpel.log import Log
from rumpel.parts import PARTS

TYPE_CHECKING = False  # all starts wait for this module, which imports next to nothing
if TYPE_CHECKING:
    import builtins
    import pathlib as host_pathlib
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, TypeVar

    from rumpel.aio import Aio
    from rumpel.copying import Copied
    from rumpel.devicemapper import DeviceMapper
    from rumpel.devices import Device, HostDirectory
    from rumpel.fcntl import FcntlModule
    from rumpel.forwarding import Forwarder
    from rumpel.imports import Modules
    from rumpel.log import LogHandler
    from rumpel.mmap import MmapModule
    from rumpel.net import Net
    from rumpel.net.module import Pyroute2
    from rumpel.os import Os
    from rumpel.select import SelectModule
    from rumpel.socket import SocketModule
    from rumpel.ssl import SslModule
    from rumpel.sysctl import Sysctl

    T = TypeVar("T")

__all__ = ["Kernel"]

AnyPath = str | os.PathLike[str]


class Kernel:
    """A Linux kernel inside this process; :func:`rumpel.boot` makes them.

    Any thread may use it: each is a kernel thread of pid 1 of its own, so that all
    share descriptors and the working directory. :meth:`process` makes a process
    that shares neither.

    As a context manager it is halted at the end, which raises :class:`rumpel.KernelPanic` if
    it has panicked and no call has said so. A kernel that is neither halted nor
    closed is like a machine whose plug is pulled: memory is given back, but what was
    not written to disks is lost; a ResourceWarning says so.

    Attributes:
        aio: system calls as awaitables, files and an event loop for :mod:`asyncio`.
        os: what makes sense of the module :mod:`os`, on this kernel.
        open: the built-in function :func:`open`, on this kernel's files.
        io, fcntl: the modules of these names, for this kernel's files.
        Path: :class:`pathlib.Path`, on this kernel; pathlib is its module.
        shutil, tempfile, glob, tarfile, zipfile, gzip, bz2, lzma: the standard library's
            modules, on this kernel's files only. See :meth:`copy_in` and :meth:`copy_out`.
        pwd, grp: the users and groups of this kernel's /etc.
        socket: the module :mod:`socket`, on this kernel's network.
        select: the module :mod:`select`, for this kernel's descriptors.
        selectors: the module :mod:`selectors` on top of it.
        net: interfaces, addresses, routes, queueing disciplines, namespaces and so on.
        pyroute2: the module pyroute2, for this kernel's netlink.
        ssl: the module :mod:`ssl`, for this kernel's sockets.
        mmap: the module :mod:`mmap`, for this kernel's files and memory.
        sysctl: a mapping of the names under /proc/sys to their values.
        dm: the device mapper: block devices that are made of others.
        log: what the kernel said so far, also when it is gone.
        clock: its time.
    """

    aio: Aio
    os: Os
    fcntl: FcntlModule
    Path: type[host_pathlib.Path]
    socket: SocketModule
    select: SelectModule
    net: Net
    pyroute2: Pyroute2
    ssl: SslModule
    _modules: Modules
    mmap: MmapModule
    sysctl: Sysctl
    dm: DeviceMapper

    if TYPE_CHECKING:
        # The names of these are of modules: who completes and checks them knows what is inside.
        import bz2
        import glob
        import grp
        import gzip
        import io
        import lzma
        import pathlib
        import pwd
        import selectors
        import shutil
        import tarfile
        import tempfile
        import zipfile

    def __init__(
        self,
        native: _native.Kernel,
        clock: VirtualClock | None,
        devices: Iterable[Device],
        log: LogHandler | None,
    ) -> None:
        self._native = native
        self._state = ""
        self._devices = list(devices)
        self._calls: dict[str, _native.Call] = {}
        # How many namespaces the calling thread has entered.
        self._place = thread_local()
        self._forwarder: Forwarder | None = None
        self.release = native.release
        if TYPE_CHECKING:
            self.open = builtins.open  # in a class it would be a method
        self.log = Log(native)
        self.clock: VirtualClock | HostClock = clock or HostClock(native)
        if log is not None:
            from rumpel.forwarding import Forwarder

            self._forwarder = Forwarder(native, log)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make the parts when they are first used: they are attributes from then on."""
            maker = PARTS.get(name)
            if maker is None:
                from rumpel.meant import hint

                what = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(what + hint(name), name=name, obj=self)
            # Of two threads that are first, both get the same.
            return self.__dict__.setdefault(name, maker(self))

    def __dir__(self) -> list[str]:
        """All attributes, also those that nobody has used yet."""
        return sorted({*super().__dir__(), *(name for name in PARTS if name[0] != "_")})

    @property
    def state(self) -> str:
        """``running``, ``halted``, ``panicked``, ``closed`` (without a halt), or ``forked``.

        The child of a fork has a copy of each kernel, which is ``running`` as the parent's
        is. It is ``forked``, and cannot be used, if the fork found it in the middle of
        something, such as its halt.
        """
        return self._state or self._native.state

    def syscall(self, name: str, *args: Any) -> int:
        """Make any system call.

        Args:
            name: as the kernel calls it.
            args: integers, signed or unsigned; buffers, which the kernel reads or writes
                in place; str and os.PathLike as paths; None for 0 or NULL.

        Returns:
            What the kernel returned.

        Raises:
            OSError: with the kernel's errno if that is an error.
            ValueError: if there is no such system call; the message names near ones.
            TypeError: if it takes another number of arguments.

        Example:
            >>> k.syscall("openat", -100, "/etc/motd", os.O_RDONLY)  # doctest: +SKIP
            Traceback (most recent call last):
            FileNotFoundError: [Errno 2] No such file or directory: '/etc/motd'
        """
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = syscalls.bind(self._native, name)
        return call(*args)

    def import_module(self, name: str) -> Any:
        """Import a module that uses the network, for this kernel's.

        It is a copy of the module, and of those that it imports, as far as they lead to
        socket, select, selectors or ssl. What others import stays as it is.

        Args:
            name: of the standard library or any other, such as ``urllib.request``.

        Raises:
            ModuleNotFoundError: if there is none.

        Example:
            >>> request = k.import_module("urllib.request")  # doctest: +SKIP
            >>> page = request.urlopen("http://10.0.2.2:8000/").read()  # doctest: +SKIP
        """
        return self._modules.load(name)

    def process(self) -> _native.Task:
        """Make a process with descriptors, directory and credentials of its own.

        As a context manager it makes the calls of the calling thread.

        Example:
            >>> with k.process() as p:  # doctest: +SKIP
            ...     k.os.chdir("/tmp")  # of this process, not of pid 1
        """
        return self._native.task(process=True)

    def mount(
        self,
        source: AnyPath | HostDirectory,
        target: AnyPath,
        fstype: str | None = None,
        *,
        flags: int = 0,
        data: str = "",
        read_only: bool = False,
    ) -> None:
        """Mount a file system; the target is made if it does not exist.

        Args:
            source: a device, such as /dev/vda, or what the file system takes instead; or a
                directory of the host that the kernel was booted with.
            target: a directory.
            fstype: None tries all that the kernel knows.
            flags: MS_* of mount(2).
            data: the file system's options.
            read_only: adds MS_RDONLY.

        Raises:
            OSError: with what the kernel logged about it, if it did.
            ValueError: if the kernel has no such directory of the host.
        """
        from rumpel.mounts import mount

        mount(self, source, target, fstype, flags | bool(read_only), data)

    def umount(self, target: AnyPath, flags: int = 0) -> None:
        """Unmount a file system: all is on its disk afterwards.

        Args:
            target: where it is mounted.
            flags: MNT_* of umount2(2).
        """
        self.syscall("umount2", target, flags)

    def copy_in(
        self,
        source: AnyPath,
        target: AnyPath,
        *,
        one_file_system: bool = False,
        progress: Callable[[Copied], object] | None = None,
    ) -> Copied:
        """Copy a file or a tree from the host into the kernel.

        Kept are modes, owners, times to the nanosecond, extended attributes (access control
        lists and capabilities among them), holes, symbolic and hard links, devices, named
        pipes and sockets. Existing directories are merged, other existing files replaced;
        links in the target are not followed.

        Args:
            source: a path of the host.
            target: the copy's path in the kernel; if it is a directory and the source is
                not, the copy is made in there, under the source's name.
            one_file_system: leave directories empty on which something is mounted.
            progress: called after each entry, and every now and then within large files,
                with what was copied so far.

        Returns:
            What was copied; ``lost`` tells what the target could not keep (owners without
            privilege, extended attributes of a file system that has none, ...).

        Raises:
            OSError: if there is no such source.
            shutil.Error: when all else is copied, with a list of (source, target, reason)
                of what could not be.

        Example:
            >>> k.copy_in("/usr/share/zoneinfo", "/mnt/zoneinfo").files  # doctest: +SKIP
            1783
        """
        from rumpel.copying import copy

        args = os, os.fspath(source), self.os, self.os.fspath(target)
        return copy(*args, one_file_system=one_file_system, progress=progress)

    def copy_out(
        self,
        source: AnyPath,
        target: AnyPath,
        *,
        one_file_system: bool = False,
        progress: Callable[[Copied], object] | None = None,
    ) -> Copied:
        """Copy a file or a tree from the kernel to the host; as :meth:`copy_in`.

        Only root can make devices and give files away on the host. For others owners are
        ``lost``, and devices are errors.
        """
        from rumpel.copying import copy

        args = self.os, self.os.fspath(source), os, os.fspath(target)
        return copy(*args, one_file_system=one_file_system, progress=progress)

    def ifup(
        self,
        name: str,
        address: str | None = None,
        gateway: str | None = None,
        mtu: int | None = None,
    ) -> None:
        """Configure a network interface and set it up.

        Args:
            name: such as ``eth0``.
            address: with the length of the network's prefix, such as ``"10.0.2.15/24"`` or
                ``"fd00::2/64"``.
            gateway: the way to everywhere else.
            mtu: in bytes.

        Raises:
            OSError: as the kernel says, ENODEV if there is no such interface.
            ValueError: if an address is none.
        """
        from rumpel.netlink import Calls, ifup

        ifup(Calls(self), name, address, gateway, mtu)

    def iproute(self, **options: Any) -> Any:
        """Make a ``pyroute2.IPRoute`` that speaks to this kernel; close it, or use ``with``.

        Args:
            options: what pyroute2's class takes.

        Example:
            >>> with k.iproute() as ipr:  # doctest: +SKIP
            ...     [link.get("ifname") for link in ipr.link("dump")]
            ['lo', 'eth0']
        """
        return self.pyroute2.IPRoute(**options)

    def ndb(self, **options: Any) -> Any:
        """Make a ``pyroute2.NDB``, a database of this kernel's network that follows its events.

        It has threads of its own, so the kernel must not be on a virtual clock.

        Args:
            options: what pyroute2's class takes.

        Example:
            >>> with k.ndb() as ndb:  # doctest: +SKIP
            ...     ndb.interfaces.create(ifname="br0", kind="bridge").commit()
        """
        return self.pyroute2.NDB(**options)

    def plug(self, device: Device) -> None:
        """Add a device while the kernel runs; on return its driver has it.

        A disk gets the next free name (/dev/vdb, ...), an interface the next of eth1, ...

        Args:
            device: one that no kernel has.

        Raises:
            ValueError: if it belongs to a kernel, or is one that a kernel has once.
            TypeError: if it is no device.
            OSError: ENODEV if the kernel has no driver for it, ENOSPC if it has 48 devices.

        Example:
            >>> k.plug(rumpel.MemoryDisk("16M"))  # doctest: +SKIP
            >>> k.os.stat("/dev/vdb")  # doctest: +SKIP
        """
        check_kind("plug() takes a device", device)
        check_claims([*self._devices, device])
        self._native.plug(device._native)
        self._devices.append(device)

    def unplug(self, device: Device) -> None:
        """Take a device away, whatever uses it; then it may be plugged in again, anywhere.

        The driver finishes what is under way and writes what it can. After that calls
        on the device, and on files of a file system that is still mounted from it, fail
        with EIO or the like.

        Args:
            device: one of this kernel's.

        Raises:
            ValueError: if it is not.
            TypeError: if it is no device.
        """
        check_kind("unplug() takes a device", device)
        self._native.unplug(device._native)
        self._devices = [other for other in self._devices if other is not device]

    def clone(self, function: Callable[..., T], /, *args: Any, timeout: float | None = None) -> T:
        """Run a function with a private copy of this kernel, and return its value.

        The copy, made by a fork of the process in one to three milliseconds, is as this kernel
        is: booted, configured, its files and sockets open. Nothing that is done to it
        is seen here: a template for one test after the other. The copy ends with the
        function. Threads may run clones side by side.

        The function runs in a child process. There, variables are copies too; neither
        other threads nor handlers at exit run; what is printed appears at once. Disks
        in memory and those that are only read come along, as do links between kernels.
        What only one of two can use stays with the parent: files that are written to,
        of which the copy gets input/output errors, and networks of the host.

        Args:
            function: called with the copy and ``args``. Need not be picklable, but what
                it returns or raises must be.
            args: more arguments.
            timeout: in seconds, after which the child is killed.

        Returns:
            What the function returned.

        Raises:
            CloneError: if the child died, or its exception cannot be pickled.
            KernelClosed: if the kernel does not run any more.
            TimeoutError: if it was still running.
            BaseException: whatever the function raised, with the child's traceback as a
                note; :class:`rumpel.KernelPanic` if it was told of the copy's panic.

        Example:
            >>> def forget(k):  # doctest: +SKIP
            ...     k.os.unlink("/etc/hostname")
            ...     return k.os.listdir("/etc")
            >>> with rumpel.boot() as k:  # doctest: +SKIP
            ...     with k.open("/etc/hostname", "w") as file:
            ...         _ = file.write("template")
            ...     print(k.clone(forget), k.os.listdir("/etc"))
            [] ['hostname']
        """
        from rumpel.clone import run

        self._check_running()
        if not callable(function):
            raise TypeError(f"clone() takes a function, not {type(function).__name__}")
        return run(self, function, args, timeout)

    def sleep(self, seconds: float) -> None:
        """Sleep on the kernel's clock."""
        self.os._sleep(seconds)

    def halt(self) -> None:
        """Sync, unmount, power off, and give all memory back.

        Other threads' calls raise :class:`rumpel.KernelClosed`. The log can still be read.
        A kernel that was halted or closed before stays as it is.

        Raises:
            KernelPanic: if it has panicked: then nothing was synced. Its memory is given back
                all the same; :meth:`close` does so without a word.
        """
        if self._state:
            return
        try:
            self._native.halt()
            self._end("halted")
        finally:
            if self._native.state == "panicked":
                self._end("panicked")

    def close(self) -> None:
        """Pull the plug: give all memory back without a halt."""
        state = self._native.state
        self._end(state if state in ("halted", "panicked") else "closed")

    def _end_log(self) -> None:
        if self._forwarder:
            self._forwarder.close()

    def _end(self, state: str) -> None:
        if self._state:
            return
        self._state = state
        self._end_log()
        self.log._keep()
        for device in self._devices:
            device._count()
        self._native.close()
        self._close_devices()

    def _close_devices(self) -> None:
        """All of them, even if one fails."""
        while self._devices:
            try:
                self._devices.pop().close()
            finally:
                self._close_devices()

    def _check_running(self) -> None:
        if self.state != "running":
            raise KernelClosed(f"the kernel does not run any more: it is {self.state}")

    def __enter__(self) -> Kernel:
        self._check_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._state:
            return
        state = self._native.state
        try:
            if state == "running" or (state == "panicked" and not self._native.panic_told):
                self.halt()
        except KernelPanic as panic:
            if error is None:
                raise
            # Whatever went wrong in the block, this may be why.
            error.add_note(f"The kernel has panicked meanwhile: {panic}")
        finally:
            self.close()

    def __del__(self) -> None:
        # Boot may have failed before there was anything to close.
        if getattr(self, "_state", "closed"):
            return
        warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def __repr__(self) -> str:
        return f"<Linux {self.release}, {self.state}>"
