# SPDX-License-Identifier: GPL-2.0-only
"""A file system of an image, mounted."""

from __future__ import annotations

import contextlib
import errno
import os as host

from rumpel.copying import Copied
from rumpel.copying.placed import Placed
from rumpel.errors import KernelClosed, KernelPanic, SandboxError
from rumpel.images.choose import choose
from rumpel.images.copied import copied, counted
from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.found import Found, entries, paths
from rumpel.images.mounting import TOP, attach, go_in, go_out, mount_device
from rumpel.images.prestart import COPIES
from rumpel.images.session import Options, Service, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any

    from rumpel.copying import Progress
    from rumpel.kernel import Kernel

__all__ = ["OTHER", "Volume", "open_volume"]

_PLACED = ("ext2", "ext3", "ext4", "xfs")
"""Where FIEMAP tells places on the device."""
OTHER = "/other"
"""Where another partition is while it is copied from."""


def open_volume(
    paths: Sequence[Any],
    partition: str | int | None = None,
    options: Options | None = None,
    service: Service | None = None,
) -> Volume:
    """Open an image and mount a file system of it.

    Args:
        paths: of the image's disks, or what else :class:`Session` takes.
        partition: see :func:`rumpel.images.choose.choose`.
        options: how.
        service: what its session shall serve.

    Raises:
        ImageError: if there is no such image or no such partition, or it cannot be mounted.
        OSError: if the image cannot be opened.
    """
    options = options or Options()
    try:
        return _open(paths, partition, options, service)
    except _NeedsRecovery:
        # The journal has to be replayed: in memory, then, and nothing but that.
        return _open(paths, partition, options._replace(overlay=True, read_only=True), service)


class _NeedsRecovery(Exception):
    """A file system that was not unmounted, on a disk that may not be written to."""


def _open(
    paths: Sequence[Any], partition: str | int | None, options: Options, service: Service | None
) -> Volume:
    session = Session(paths, options, service)
    try:
        device, devices = session.find(partition)
        return Volume(session, device, devices)
    except BaseException:
        with contextlib.suppress(KernelPanic, KernelClosed, SandboxError):
            session.close()
        raise


class Volume:
    """A mounted file system, whose root is the kernel's root.

    Attributes:
        name: of the image and the partition, for messages.
        session: the kernel with the image's disks.
        device: what is mounted.
        devices: all there are.
        kernel: ``kernel.os``, ``kernel.open``, ``kernel.Path`` ... work in the file system.
    """

    def __init__(self, session: Session, device: Device, devices: Sequence[Device]) -> None:
        self.session = session
        self.device = device
        self.devices = devices
        self.kernel: Kernel = session.kernel
        self.name = f"{session.name}{device.suffix}"
        self._outside = -1
        self._mount()

    @property
    def read_only(self) -> bool:
        """Was it opened so?"""
        return self.session.options.read_only

    def _mount(self) -> None:
        options = self.session.options
        device, read_only = self.device, options.read_only
        try:
            if device.kind:
                args = "attach", device.path, device.kind, read_only, options.mount_options
                self._outside = int(self.session.ask(*args))
            else:
                # To try all that there are is not for who can import nothing more.
                words = device.path, "", read_only, options.mount_options
                ((self._outside, _),) = attach(self.session, *words)
        except (TypeError, ValueError):
            raise SandboxError(f"{self.name}: a sandbox sends nonsense") from None
        except OSError as error:
            if error.errno == errno.EROFS and not options.overlay:
                raise _NeedsRecovery from None
            raise ImageError(self.name, self._why(error)) from None

    def _why(self, error: OSError) -> str:
        kind, text = self.device.kind, error.strerror
        if error.errno == errno.ENODEV and kind:
            return f"{kind}: Linux {self.kernel.release} has no driver for it here"
        if not kind:
            # What each driver says of bytes that are not its own is noise.
            said = "" if error.errno == errno.EINVAL else f" ({text})"
            return f"no file system that Linux {self.kernel.release} knows{said}"
        return f"cannot mount {kind}: {text}"

    # Bulk work

    def walk(self, path: str, depth: int = -1, follow: bool = False) -> Iterator[Found]:
        """The entries of a tree, each before what is in it, in the order of their names.

        Args:
            path: of its top.
            depth: how far down; 0 is the top alone, below 0 all.
            follow: if the top is a symbolic link, take what it leads to.

        Raises:
            OSError: if there is no such tree; at the end, if parts of it cannot be read.
            SandboxError: if the kernel's process sends nonsense.
        """
        return entries(self.session.run("walk", path, depth, follow), path)

    def walk_paths(self, path: str, depth: int = -1) -> Iterator[list[str]]:
        """Only the paths, some at a time, for people to read; see :meth:`walk`."""
        return paths(self.session.run("walk_names", path, depth), path)

    def content(self, path: str, lend: bool = False) -> Iterator[bytes]:
        """What is in a file, in pieces.

        Args:
            path: of the file.
            lend: each piece may change while it is looked at, and is gone when the next one
                comes: for who only passes them on.
        """
        for _, data in self.session.run("content", path, lend=lend):
            yield data

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        for _ in self.session.run("remove", path):
            pass

    def items(
        self,
        path: str,
        *,
        exclude: Sequence[str] = (),
        follow: bool = False,
        one_file_system: bool = False,
        jobs: int = 1,
        lend: bool = False,
        packed: bool = False,
        placed: bool = False,
    ) -> Iterator[tuple[list[Any], Any]]:
        """A tree as items of :mod:`rumpel.copying.source`; ``lend`` as for :meth:`content`."""
        args = path, list(exclude), follow, one_file_system, jobs, packed, placed
        return self.session.run("read", *args, lend=lend, module=COPIES)

    def copy_out(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        follow: bool = False,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> Copied:
        """Copy a file or a tree to the host; see :meth:`rumpel.Kernel.copy_out`.

        Args:
            source: in the file system.
            target: of the host.
            exclude: patterns of what is left out.
            follow: if the source is a symbolic link, copy what it leads to.
            owner: user and group of all of it.
            progress: called with what was copied so far.
            jobs: how many files are looked at ahead, at once.
        """
        from rumpel.copying.target import Writer

        how: dict[str, Any] = {"exclude": exclude, "follow": follow, "jobs": jobs}
        with self._placed() as placed:
            items = self.items(source, **how, lend=True, packed=True, placed=placed is not None)
            writer = Writer(host, target, source, owner=owner, progress=progress, placed=placed)
            try:
                return writer.run(items)
            except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                raise SandboxError(f"{self.name}: a sandbox sends nonsense") from error

    @contextlib.contextmanager
    def _placed(self) -> Iterator[Placed | None]:
        """The image, if what is in a file lies in it as it is, and stays there."""
        device, fd, size = self.device, -1, 0
        # Files with a tree of hashes are read through the kernel, which checks them.
        is_whole = not (device.volume or device.below or "verity" in device.features.split())
        if self.read_only and device.kind in _PLACED and is_whole:
            fd, size = self.session.open_plain()
        try:
            start = device.start
            yield Placed(fd, start, size - start) if fd >= 0 and start >= 0 else None
        finally:
            if fd >= 0:
                host.close(fd)

    def copy_in(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        follow: bool = False,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> Copied:
        """Copy a file or a tree from the host; see :meth:`copy_out`."""
        from rumpel.copying.source import read_tree

        room = self.session.room
        how: dict[str, Any] = {"exclude": exclude, "follow": follow, "jobs": jobs}
        items = read_tree(host, source, **how, room=room, packed=True)
        return self.write(items, target, source, owner=owner, progress=progress)

    def write(
        self,
        items: Iterable[tuple[list[Any], Any]],
        target: str,
        source: str = "",
        *,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Make a tree of items.

        Raises:
            shutil.Error: at the end, with what could not be made.
        """
        if progress:
            items = counted(items, progress)
        to = list(owner) if owner else None
        return copied(self.session.feed(items, "write", target, source, to))

    def copy_within(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> Copied:
        """Copy a file or a tree within the file system."""
        args = source, target, list(exclude), list(owner) if owner else None, bool(progress), jobs
        answer: Any = None
        for answer, _ in self.session.run("duplicate", *args, module=COPIES):
            if progress and isinstance(answer, dict) and "errors" not in answer:
                progress(copied({"errors": (), **answer}))
        return copied(answer)

    def copy_from(
        self,
        partition: str | None,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
        jobs: int = 1,
    ) -> Copied:
        """Copy a file or a tree from another partition of the image."""
        other = choose(self.session.name, self.devices, partition)
        options: dict[str, Any] = {"exclude": exclude, "owner": owner, "progress": progress}
        options["jobs"] = jobs
        if other == self.device:
            return self.copy_within(source, target, **options)
        with self._beside(other):
            # Links lead where they lead in their own file system, not in the kernel's.
            source = f"{OTHER}{self._real(OTHER, source)}"
            target = f"{TOP}{self._real(TOP, target)}"
            return self.copy_within(source, target, **options)

    def find_from(self, partition: str | None, pattern: str) -> list[str]:
        """What a pattern names in another partition of the image; or a path that is there."""
        other = choose(self.session.name, self.devices, partition)
        if other == self.device:
            return self._find(pattern)
        os = self.kernel.os
        with self._beside(other):
            os.chroot(OTHER)
            os.chdir("/")
            try:
                return self._find(pattern)
            finally:
                go_out(self.kernel, self._outside)

    def _find(self, pattern: str) -> list[str]:
        if self.kernel.os.path.lexists(pattern):
            return [pattern]
        return sorted(self.kernel.glob.glob(pattern, recursive=True))

    @contextlib.contextmanager
    def _beside(self, other: Device) -> Iterator[None]:
        """Have the kernel's own root, and another partition in it as well."""
        go_out(self.kernel, self._outside)
        try:
            mount_device(self.kernel, other.path, OTHER, other.kind, True)
            try:
                yield
            finally:
                self.kernel.umount(OTHER)
        finally:
            go_in(self.kernel)

    def _real(self, top: str, path: str) -> str:
        """A path without links in a file system that is mounted; the last name may be one."""
        os = self.kernel.os
        os.chroot(top)
        os.chdir("/")
        try:
            path = f"/{path}"
            parent, name = os.path.split(path)
            if name in ("", ".", "..") or (top == TOP and os.path.isdir(path)):
                return str(os.path.realpath(path))
            return str(os.path.join(os.path.realpath(parent), name))
        finally:
            go_out(self.kernel, self._outside)

    # Snapshots

    def snapshot(self) -> int:
        """Freeze the state: :meth:`rollback` comes back to it. No file may be open.

        Raises:
            OSError: EOPNOTSUPP, if the image has no overlay; EBUSY, if a file is open.
        """
        if self.session.options.overlay in (None, False):
            raise OSError(errno.EOPNOTSUPP, "snapshots need an overlay", self.name)
        self._unmounted("snapshot")
        self._depth += 1
        return self._depth

    def rollback(self, snapshot: int | None = None) -> None:
        """Forget what was written since a snapshot; by default the last. No file may be open."""
        depth = self._depth if snapshot is None else snapshot
        if not 0 < depth <= self._depth:
            raise ValueError("there is no such snapshot")
        self._unmounted("rollback", depth)
        self._depth = depth

    def _unmounted(self, function: str, *args: Any) -> None:
        """Run a function while nothing is mounted."""
        self._unmount()
        try:
            self.session.undo()
            for _ in self.session.run(function, *args):
                pass
        finally:
            try:
                self.device, self.devices = self.session.find(self.device.title)
                self._mount()
            except BaseException:
                # What would be written now would go to the kernel's own root, and be lost.
                self.session.close()
                raise

    _depth = 0

    # The end

    def _unmount(self) -> None:
        if self._outside < 0:
            return
        self.session.ask("detach", self._outside, not self.read_only)
        self._outside = -1

    def close(self) -> None:
        """Write all, unmount, and let the image go.

        Raises:
            OSError: if something could not be written.
        """
        if self.kernel.state != "running":
            self.kernel.close()
            return
        self.session.stop()
        try:
            if not self.session.is_lost_without_harm:
                self._unmount()
        except OSError as error:
            # A file is open, of which all is written by now: the halt ends its users.
            if error.errno != errno.EBUSY:
                raise
        finally:
            self.session.close()

    def __enter__(self) -> Volume:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
