# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that has an image's disks, in a sandbox or here."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref

from rumpel.errors import SandboxError
from rumpel.images.choose import choose, is_above
from rumpel.images.device import Device
from rumpel.images.errors import ImageError, LockedError
from rumpel.images.prestart import COPIES, JOBS, KERNEL, LOOKING, MEMORY, MODULES, PROFILE
from rumpel.images.room import no_room
from rumpel.images.sources import name_of, open_source
from rumpel.named import NamedTuple
from rumpel.sandbox.disks import DiskSpec
from rumpel.sandbox.spawn import FIRST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from rumpel.copying.pieces import Room
    from rumpel.images.layers.key import Key
    from rumpel.images.layers.stack import Stack, Verity
    from rumpel.images.served import Served
    from rumpel.kernel import Kernel
    from rumpel.sandbox import SandboxedKernel

__all__ = ["Options", "Service", "Session"]

_PIECE = 1 << 20
_MADE_OF = ("crypto_LUKS", "linux_raid_member", "LVM2_member")
"""What volumes are made of."""


class Options(NamedTuple):
    """How images are opened.

    Attributes:
        read_only: nothing is written to the image.
        overlay: True lets writes go to memory, a path to that file; None to the image.
        sandbox: run the kernel in a process without privileges.
        memory: of the kernel.
        version: of the kernel, or the path of its image.
        profile: of the kernel.
        timeout: how long a sandbox may take for an answer, in seconds; None is for ever.
        format: of the image, such as ``qcow2`` or ``raw``; None looks for itself.
        backing: may an image name files that are in other directories?
        key: opens what is encrypted.
        verity: what is read has to be checked by a tree of hashes with that root.
        mount_options: as those of mount(8), with commas between.
        copies: may trees be copied? A sandbox that needs not do that starts sooner.
    """

    read_only: bool = False
    overlay: str | bool | None = None
    sandbox: bool = True
    memory: int | str = MEMORY
    version: str = KERNEL
    profile: str = PROFILE
    timeout: float | None = 300.0
    format: str | None = None
    backing: bool = False
    key: Key | None = None
    verity: Verity | None = None
    mount_options: str = ""
    copies: bool = True


class Service(NamedTuple):
    """Something that goes on for long where the kernel is; see :meth:`Session.serve`.

    Attributes:
        module: has the function ``serve``.
        fds: descriptors of this process that it gets.
    """

    module: str
    fds: tuple[int, ...]


class Session:
    """A booted kernel with an image's disks, of which nothing is mounted yet.

    Args:
        paths: of the image, URLs or file objects; several are the disks of one file system or
            array.
        options: how.
        service: what :meth:`serve` shall run.

    Attributes:
        name: of the image, for messages.
        kernel: the kernel.
        options: how it was opened.
        room: where the bytes of the next item for :meth:`feed` may be made, if anywhere.

    Raises:
        ImageError: if there is no such image, or nothing in it.
        OSError: if it may not be opened, or somebody else has it open (EBUSY).
    """

    kernel: Kernel

    def __init__(
        self, paths: Sequence[Any], options: Options, service: Service | None = None
    ) -> None:
        self.name = name_of(paths[0])
        self._service = service
        self._stack: Stack | None = None
        self._series: weakref.WeakSet[Generator[tuple[Any, Any]]] = weakref.WeakSet()
        self.options = options
        self.room: Room | None = None
        self._paths = [path if isinstance(path, str) else None for path in paths]
        self._sizes: list[int] = []
        self._served: list[Served] = []
        self._failed = 0
        self._plain: os.stat_result | None = None
        try:
            specs = [self._spec(path) for path in paths]
            if options.sandbox:
                self.kernel = self._boot_apart(specs)
            else:
                self.kernel = self._boot_here(specs)
        except OSError as error:
            self._hang_up()
            raise _of_image(error, self.name) from None
        except BaseException:
            self._hang_up()
            raise

    def _spec(self, image: Any) -> DiskSpec:
        """What the kernel's side has to know of a disk."""
        options = self.options
        overlay = options.overlay not in (None, False)
        file = options.overlay if isinstance(options.overlay, str) else None
        read_only = options.read_only or overlay
        served = open_source(image, options.format, read_only, options.backing)
        if served is None:
            self._plain = os.stat(image)  # noqa: PTH116
            self._sizes.append(self._plain.st_size)
            return DiskSpec(image, options.read_only, overlay, file)
        self._sizes.append(0)
        self._served.append(served)
        fd = served.connection.fileno()
        if options.sandbox:
            fd = FIRST + len(self._served) - 1
        return served.spec(fd, overlay, file)

    def open_plain(self) -> tuple[int, int]:
        """The image, open to be read, and its size, if it is a file that is just the disk.

        Else the descriptor is -1.
        """
        path, plain, options = self._paths[0], self._plain, self.options
        if len(self._paths) > 1 or not path or not plain or options.overlay or self._served:
            return -1, 0
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        # As it was before the kernel's side opened it: so that has this file, too.
        if stat.S_ISREG(plain.st_mode) and os.path.samestat(plain, os.fstat(fd)):
            return fd, plain.st_size
        os.close(fd)
        return -1, 0

    def _hang_up(self) -> None:
        """After something failed, which is what the user hears of."""
        for served in self._served:
            with contextlib.suppress(ImageError):
                served.close()

    def trouble(self) -> str:
        """Why a disk has failed, if one has and that is known."""
        for path, size in zip(self._paths, self._sizes, strict=True):
            with contextlib.suppress(OSError):
                if path and size > (now := os.stat(path).st_size):  # noqa: PTH116
                    return f"has become shorter while it was open: {now} bytes of {size}"
        said = next(filter(None, (served.trouble() for served in self._served)), "")
        return said or self._failure()

    def _failure(self) -> str:
        """Whether anything could not be written that nobody may have been told of.

        What fails while a file system is unmounted is no error of any call.
        """
        if not self._failed or self.options.read_only:
            return ""
        written = self.options.overlay if isinstance(self.options.overlay, str) else None
        for path in filter(None, (written, *self._paths)):
            if why := no_room(path):
                return why
        return f"{self._failed} requests to the disk have failed"

    def _boot_apart(self, specs: list[DiskSpec]) -> SandboxedKernel:
        from rumpel.sandbox.kernel import boot

        options, service = self.options, self._service
        self._remote = boot(
            specs,
            name=self.name,
            memory=options.memory,
            image=options.version if "/" in options.version else None,
            version=options.version,
            profile=options.profile,
            modules=(
                *(MODULES if options.copies else LOOKING),
                *([service.module] if service else []),
            ),
            fds=[
                *(served.connection.fileno() for served in self._served),
                *(service.fds if service else ()),
            ],
            housekeeper=service is not None,
            timeout=options.timeout,
        )
        self.room = self._remote.remote.room
        return self._remote

    def _boot_here(self, specs: list[DiskSpec]) -> Kernel:
        from rumpel.booting import boot

        options = self.options
        self.disks: list[Any] = [spec.open() for spec in specs]
        return boot(
            image=options.version if "/" in options.version else None,
            memory=options.memory,
            version=options.version,
            profile=options.profile,
            disks=self.disks,
        )

    def run(
        self, function: str, *args: Any, lend: bool = False, module: str = JOBS
    ) -> Iterator[tuple[Any, Any]]:
        """Iterate over what a function of :mod:`rumpel.images.jobs` says.

        Args:
            function: its name.
            args: for it.
            module: which has the function, if it is another one.
            lend: bytes may change while they are looked at, and are gone when the next message
                comes: for who only passes them on.
        """
        if self.options.sandbox:
            series = self._remote.remote.stream("run", module, function, *args, lend=lend)
        else:
            series = getattr(__import__(module, fromlist=[function]), function)(self, *args)
        self._series.add(series)
        return series

    def ask(self, function: str, *args: Any) -> Any:
        """The last message of a function of :mod:`rumpel.images.jobs`.

        Raises:
            SandboxError: if there is none.
        """
        answers = [message for message, _ in self.run(function, *args)]
        if not answers:
            raise SandboxError(f"{self.name}: a sandbox sends nonsense")
        return answers[-1]

    def serve(self, *args: Any) -> None:
        """Run the service's function ``serve`` with its descriptors and these arguments.

        It may be silent for as long as it likes.
        """
        assert self._service
        module, fds = self._service
        if self.options.sandbox:
            first = FIRST + len(self._served)
            there = range(first, first + len(fds))
            request = "run", module, "serve", *there, *args
            series = self._remote.remote.stream(*request, patient=True)
        else:
            from importlib import import_module

            series = import_module(module).serve(self, *fds, *args)
        for _ in series:
            pass

    def stop(self) -> None:
        """End all series that somebody has left before their end, and may still hold.

        An exception's traceback does: those files are open, and the kernel is busy.
        """
        for series in list(self._series):
            with contextlib.suppress(ValueError):  # it goes on, in another thread
                series.close()

    def feed(self, items: Iterable[tuple[Any, Any]], function: str, *args: Any) -> Any:
        """Call a function of :mod:`rumpel.images.copies` that reads items."""
        if self.options.sandbox:
            return self._remote.remote.feed(items, "feed", COPIES, function, *args)
        from rumpel.images import copies

        return getattr(copies, function)(self, items, *args)

    def find(self, partition: str | int | None) -> tuple[Device, list[Device]]:
        """The device that is meant, and all there are; asks for passwords if it must.

        Raises:
            ImageError: as :func:`rumpel.images.choose.choose`.
        """
        devices = self.devices()
        while True:
            try:
                device = choose(self.name, devices, partition)
                if self.options.verity and not is_above(device, "verity", devices):
                    reason = "is not what the tree of hashes (dm-verity) is of"
                    raise ImageError(f"{self.name}{device.suffix}", reason)
                return device, devices
            except LockedError as error:
                if self._stack is None or not self._stack.unlock(error.devices):
                    raise
                devices = self.devices()

    def devices(self) -> list[Device]:
        """Disks, partitions, and the volumes that they are parts of, which are made if need be."""
        devices = self._listed()
        if self.options.verity or any(each.kind in _MADE_OF for each in devices):
            stack = self._stack = self._stack or self._new_stack()
            while stack.grow(devices):
                devices = self._listed()
        self._scan_btrfs(devices)
        return self._stack.named(devices) if self._stack else devices

    def _new_stack(self) -> Stack:
        from rumpel.images.layers.stack import Stack

        options = self.options
        read_only = options.read_only and not options.overlay
        return Stack(self.kernel, self.name, read_only, options.key, options.verity)

    def _listed(self) -> list[Device]:
        try:
            return [Device(**device) for device, _ in self.run("devices")]
        except TypeError as error:
            raise SandboxError(f"{self.name}: a sandbox sends nonsense") from error

    def _scan_btrfs(self, devices: Sequence[Device]) -> None:
        """Let the kernel know what belongs together."""
        found = [each for each in devices if each.kind == "btrfs"]
        if len(found) < 2:
            return
        from rumpel.images.layers.btrfs import scan_device

        for device in found:
            with contextlib.suppress(OSError):  # mounting will say what is wrong
                scan_device(self.kernel, device.path)

    def content(self, device: Device) -> Iterator[bytes]:
        """What is on a device, in pieces, from its beginning to its end."""
        fd = self.kernel.os.open(device.path, os.O_RDONLY)
        try:
            while piece := self.kernel.os.read(fd, _PIECE):
                yield piece
        finally:
            self.kernel.os.close(fd)

    def replace(self, device: Device, file: Path) -> None:
        """Make what is on a device that of a file, which is as long. What is the same stays.

        Raises:
            OSError: if something could not be written, or is not on the disk.
        """
        kernel_os = self.kernel.os
        fd = kernel_os.open(device.path, os.O_RDWR)
        try:
            at = 0
            with file.open("rb") as new:
                while wanted := new.read(_PIECE):
                    there = kernel_os.pread(fd, len(wanted), at)
                    done = 0 if there != wanted else len(wanted)
                    while done < len(wanted):
                        done += kernel_os.pwrite(fd, wanted[done:], at + done)
                    at += len(wanted)
            kernel_os.fsync(fd)
        finally:
            kernel_os.close(fd)

    def undo(self) -> None:
        """Take everything apart that :meth:`devices` has made. Nothing may be mounted.

        Raises:
            OSError: EBUSY if something is in use.
        """
        if self._stack:
            self._stack.close()

    def _failures(self) -> int:
        """How many requests to the disks have failed."""
        if self.options.sandbox:
            return self._remote.remote.failed
        return sum(disk.stats.errors for disk in self.disks)

    @property
    def is_lost_without_harm(self) -> bool:
        """Is there nothing that has to be written, and the kernel in a process of its own?"""
        options = self.options
        kept = not options.read_only and options.overlay is not True
        return options.sandbox and not kept and not isinstance(options.overlay, str)

    def close(self) -> None:
        """Halt the kernel, which writes all that is to be written."""
        self.stop()
        try:
            if self.is_lost_without_harm and self.kernel.state == "running":
                self._remote.remote.kill()
            elif self.kernel.state == "running":
                with contextlib.suppress(OSError):  # in use: the halt ends that
                    self.undo()
                self.kernel.halt()
                self._failed = self._failures()
            self.kernel.close()
            why = self.trouble()
        except BaseException:
            self._hang_up()
            raise
        for served in self._served:
            served.close()
        if why:
            raise ImageError(self.name, why)


def _of_image(error: OSError, name: str) -> OSError:
    if error.errno == errno.EBUSY:
        from rumpel.images.locks import in_use

        return OSError(errno.EBUSY, in_use(name), name)
    return error
