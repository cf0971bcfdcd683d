# SPDX-License-Identifier: GPL-2.0-only
"""A file system of an image, mounted."""

from __future__ import annotations

import contextlib
import errno
import os as host
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from rumpel.copying import Copied, Lost, Progress
from rumpel.errors import KernelClosed, KernelPanic, SandboxError
from rumpel.images.errors import ImageError
from rumpel.images.session import Device, Options, Session

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Found", "Volume", "choose", "open_volume"]

_TOP, _OTHER = "/mnt", "/other"
_NOSUID, _NODEV, _NOATIME = 2, 4, 1024
_MOUNTED_AS = {"ntfs": "ntfs3"}
"""Where the kernel has another name for what is there."""


class Found(NamedTuple):
    """An entry of a tree; see :func:`rumpel.images.jobs.walk`.

    Attributes:
        path: relative to where the walk began, which is "".
        mode, inode, device, links, uid, gid, size: as of :class:`os.stat_result`.
        atime, mtime, ctime: in ns.
        blocks: of 512 bytes.
        rdev: of a device.
        target: of a symbolic link.
    """

    path: str
    mode: int
    inode: int
    device: int
    links: int
    uid: int
    gid: int
    size: int
    atime: int
    mtime: int
    ctime: int
    blocks: int
    rdev: int
    target: str | None


def open_volume(
    paths: Sequence[str], partition: str | int | None = None, options: Options | None = None
) -> Volume:
    """Open an image and mount a file system of it.

    Args:
        paths: of the image's disks.
        partition: see :func:`choose`.
        options: how.

    Raises:
        ImageError: if there is no such image or no such partition, or it cannot be mounted.
        OSError: if the image cannot be opened.
    """
    options = options or Options()
    try:
        return _open(paths, partition, options)
    except _NeedsRecovery:
        # The journal has to be replayed: in memory, then.
        return _open(paths, partition, options._replace(overlay=True))


class _NeedsRecovery(Exception):
    """A file system that was not unmounted, on a disk that may not be written to."""


def _open(paths: Sequence[str], partition: str | int | None, options: Options) -> Volume:
    session = Session(paths, options)
    try:
        devices = session.devices()
        return Volume(session, choose(session.name, devices, partition), devices)
    except BaseException:
        with contextlib.suppress(KernelPanic, KernelClosed, SandboxError):
            session.close()
        raise


def choose(name: str, devices: Sequence[Device], partition: str | int | None) -> Device:
    """Find a partition.

    Args:
        name: of the image, for messages.
        devices: all there are.
        partition: its number (0 is the whole disk), or LABEL=, UUID=, PARTLABEL= or PARTUUID=
            and a value; None is the only file system there is.

    Raises:
        ImageError: if there is none such, or more than one.
    """
    if partition is None:
        return _only(name, devices)
    text = str(partition)
    key, equals, value = text.partition("=")
    if equals and key in ("LABEL", "UUID", "PARTLABEL", "PARTUUID"):
        field = {"PARTLABEL": "part_label", "PARTUUID": "part_uuid"}.get(key, key.lower())
        same = str.__eq__ if "LABEL" in key else lambda a, b: a.lower() == b.lower()
        found = [each for each in devices if same(getattr(each, field), value)]
        if len(found) > 1:
            raise ImageError(name, f"has more than one {text}: {_listed(found)}")
    elif text.isdecimal():
        found = [each for each in devices if each.number == int(text)][:1]
    else:
        raise ImageError(name, f"{text!r} names no partition: a number, LABEL=, UUID=, ...")
    if found:
        return found[0]
    raise ImageError(name, f"has no partition {text}; there is {_listed(devices)}")


def _only(name: str, devices: Sequence[Device]) -> Device:
    partitions = [each for each in devices if each.number]
    whole = devices[0]
    if whole.mountable and not any(each.mountable for each in partitions):
        return whole
    if not partitions:
        if whole.kind:
            raise ImageError(name, f"holds no file system, but {whole.kind}")
        return whole  # whatever it is, the kernel may know it
    mountable = [each for each in partitions if each.mountable]
    if len(mountable) == 1:
        return mountable[0]
    what = "several file systems, name one" if mountable else "no file system in its partitions"
    raise ImageError(name, f"has {what}: {_listed(partitions)}")


def _listed(devices: Sequence[Device]) -> str:
    return ", ".join(
        f"{each.number} ({' '.join(filter(None, (each.kind or 'unknown', each.label)))})"
        for each in devices
    )


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
        self.name = f"{session.name}:{device.number}" if device.number else session.name
        self._outside = -1
        self._mount()

    @property
    def read_only(self) -> bool:
        """Was it opened so?"""
        return self.session.options.read_only

    def _mount(self) -> None:
        options = self.session.options
        try:
            self._mount_device(self.device, _TOP, options.read_only)
        except OSError as error:
            if error.errno == errno.EROFS and options.read_only and not options.overlay:
                raise _NeedsRecovery from None
            raise ImageError(self.name, self._why(error)) from None
        self._outside = self.kernel.os.open("/", host.O_RDONLY | host.O_DIRECTORY)
        self._go_in()

    def _mount_device(self, device: Device, top: str, read_only: bool) -> None:
        kind = _MOUNTED_AS.get(device.kind, device.kind) or None
        flags = _NOSUID | _NODEV | _NOATIME
        try:
            self.kernel.mount(device.path, top, kind, flags=flags, read_only=read_only)
        except OSError as error:
            # As mount(8): of what can only be read, nobody has to say so.
            if read_only or error.errno not in (errno.EROFS, errno.EACCES):
                raise
            self.kernel.mount(device.path, top, kind, flags=flags, read_only=True)

    def _go_in(self) -> None:
        """Make it the root, so that absolute symbolic links lead where they should."""
        self.kernel.os.chroot(_TOP)
        self.kernel.os.chdir("/")

    def _go_out(self) -> None:
        self.kernel.os.fchdir(self._outside)
        self.kernel.os.chroot(".")

    def _why(self, error: OSError) -> str:
        kind, text = self.device.kind, error.strerror
        if error.errno == errno.ENODEV and kind:
            return f"{kind}: Linux {self.kernel.release} has no driver for it here"
        if not kind:
            return f"no file system that Linux {self.kernel.release} knows ({text})"
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
        """
        failed: OSError | None = None
        for (rel, numbers, target), _ in self.session.run("walk", path, depth, follow):
            if numbers is None:
                failed = failed or OSError(errno.EIO, str(target), f"{path.rstrip('/')}/{rel}")
            else:
                yield Found._make([str(rel), *numbers, target])
        if failed:
            raise failed

    def content(self, path: str) -> Iterator[bytes]:
        """What is in a file, in pieces."""
        for _, data in self.session.run("content", path):
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
    ) -> Iterator[tuple[list[Any], Any]]:
        """A tree as items of :mod:`rumpel.copying.source`."""
        args = path, list(exclude), follow, one_file_system
        return self.session.run("read", *args)

    def copy_out(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        follow: bool = False,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree to the host; see :meth:`rumpel.Kernel.copy_out`."""
        from rumpel.copying.target import Writer

        items = self.items(source, exclude=exclude, follow=follow)
        writer = Writer(host, target, source, owner=owner, progress=progress)
        try:
            return writer.run(items)
        except (TypeError, ValueError, IndexError) as error:
            raise SandboxError(f"{self.name}: a sandbox sends nonsense") from error

    def copy_in(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        follow: bool = False,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree from the host; see :meth:`rumpel.Kernel.copy_in`."""
        from rumpel.copying.source import read_tree

        items = read_tree(host, source, exclude=exclude, follow=follow)
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
            items = _counted(items, progress)
        to = list(owner) if owner else None
        return _copied(self.session.feed(items, "write", target, source, to))

    def copy_within(
        self,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree within the file system."""
        args = source, target, list(exclude), list(owner) if owner else None
        ((answer, _),) = self.session.run("duplicate", *args)
        return _copied(answer)

    def copy_from(
        self,
        partition: str | None,
        source: str,
        target: str,
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree from another partition of the image."""
        other = choose(self.session.name, self.devices, partition)
        options: dict[str, Any] = {"exclude": exclude, "owner": owner, "progress": progress}
        if other == self.device:
            return self.copy_within(source, target, **options)
        self._go_out()
        try:
            self._mount_device(other, _OTHER, True)
            try:
                return self.copy_within(f"{_OTHER}{source}", f"{_TOP}{target}", **options)
            finally:
                self.kernel.umount(_OTHER)
        finally:
            self._go_in()

    # Snapshots

    def snapshot(self) -> int:
        """Freeze the state: :meth:`rollback` comes back to it. No file may be open."""
        self._unmount()
        for _ in self.session.run("snapshot"):
            pass
        self._mount()
        self._depth += 1
        return self._depth

    def rollback(self, snapshot: int | None = None) -> None:
        """Forget what was written since a snapshot; by default the last. No file may be open."""
        depth = self._depth if snapshot is None else snapshot
        if not 0 < depth <= self._depth:
            raise ValueError("there is no such snapshot")
        self._unmount()
        for _ in self.session.run("rollback", depth):
            pass
        self._depth = depth
        self._mount()

    _depth = 0

    # The end

    def _unmount(self) -> None:
        os = self.kernel.os
        if self._outside < 0:
            return
        if not self.read_only:
            # What could not be written is an error here and nowhere else.
            top = os.open("/", host.O_RDONLY | host.O_DIRECTORY)
            try:
                self.kernel.syscall("syncfs", top)
            finally:
                os.close(top)
        self._go_out()
        os.close(self._outside)
        self._outside = -1
        self.kernel.umount(_TOP)

    def close(self) -> None:
        """Write all, unmount, and let the image go.

        Raises:
            OSError: if something could not be written.
        """
        if self.kernel.state != "running":
            self.kernel.close()
            return
        try:
            self._unmount()
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


def _copied(answer: Any) -> Copied:
    """What a writer in the sandbox says."""
    try:
        copied = Copied()
        vars(copied).update(answer["copied"])
        copied.lost = [Lost(path, what, OSError(*why)) for path, what, *why in copied.lost]
        errors = [(str(source), str(to), str(why)) for source, to, why in answer["errors"]]
    except (TypeError, ValueError, KeyError) as error:
        raise SandboxError("a sandbox sends nonsense") from error
    if errors:
        from shutil import Error

        raise Error(errors)
    return copied


def _counted(
    items: Iterable[tuple[list[Any], Any]], progress: Progress
) -> Iterator[tuple[list[Any], Any]]:
    """What goes by, as progress."""
    seen = Copied()
    for item, data in items:
        kind = item[0]
        if kind in ("d", "f", "l", "h", "s"):
            seen.path = item[1]
        seen.bytes += len(data)
        seen.files += kind == "f"
        seen.directories += kind == "d"
        seen.links += kind in ("l", "h")
        seen.specials += kind == "s"
        yield item, data
        progress(seen)
