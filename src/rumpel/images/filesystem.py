# SPDX-License-Identifier: GPL-2.0-only
"""Images as file systems of fsspec, and as paths.

Source: fsspec's documentation, "Developing with fsspec".
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem

from rumpel.copying import Copied
from rumpel.images.errors import ImageError
from rumpel.images.locate import parse
from rumpel.images.mounting import split_options
from rumpel.images.pending import Pending
from rumpel.images.session import Options
from rumpel.images.sources import open_url
from rumpel.images.volume import open_volume

if TYPE_CHECKING:
    import pathlib

    from rumpel.copying import Progress

__all__ = ["Image", "open_image"]

_BUFFER = 256 << 10
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


def open_image(
    image: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | list[str],
    partition: str | int | None = None,
    *,
    read_only: bool = False,
    overlay: str | os.PathLike[str] | bool | None = None,
    disks: Sequence[str | os.PathLike[str]] = (),
    sandbox: bool = True,
    memory: int | str = "64M",
    version: str = "6.12",
    profile: str = "default",
    timeout: float | None = 300.0,
    format: str | None = None,
    backing: bool = False,
    storage_options: dict[str, Any] | None = None,
    password: str | bytes | None = None,
    keyfile: str | os.PathLike[str] | None = None,
    verity: str | None = None,
    verity_offset: int | None = None,
    mount_options: str = "",
) -> Image:
    """Open a disk image and mount a file system of it.

    Args:
        image: its path, which may name the partition as well (``disk.img:2``); a URL that
            fsspec knows, of which only what is needed is fetched; a seekable binary file object,
            which is written to if it is writable; its bytes, of which the file system gets a
            copy; or the paths of several disks.
        partition: a number, ``LABEL=``, ``UUID=``, ``PARTLABEL=`` or ``PARTUUID=`` and a value;
            ``vg/lv`` or another volume; 0 is the whole disk, None the only file system there is.
        read_only: write nothing, not even what a journal holds.
        overlay: True: what is written stays in memory; a path: it goes to that file, which is
            made if it is not there.
        disks: more disks of the same file system or array.
        sandbox: run the kernel in a child process without privileges. False is faster, for
            images that you have made yourself; those of strangers could do what you can.
        memory: of the kernel.
        version: of the kernel.
        profile: of the kernel.
        timeout: how long a sandbox may take for an answer, in seconds; then it is killed, and
            the image is as if its plug had been pulled. None is for ever.
        format: of the image, such as ``qcow2`` or ``raw``; None finds out by its content.
        backing: may the image name files in other directories that it lies over? That is for
            images that you trust: they could name any file that you may read.
        storage_options: of a URL, for fsspec.
        password: of what is encrypted (LUKS).
        keyfile: a file whose contents are the password.
        verity: what is read has to be checked by the tree of hashes (dm-verity) that has this
            root, in hexadecimal; the tree is on one of the disks.
        verity_offset: where the tree begins on the disk that has the data as well.
        mount_options: as those of mount(8), with commas between: ``subvol=home,compress=zstd``.

    Raises:
        LockedError: if it is encrypted, and there is no password.
        ValueError: if a mount option is refused here.
        ImageError: if there is no such image or partition, or it cannot be mounted.
        OSError: if it may not be opened, or somebody else has it open (EBUSY).

    Example:
        >>> with open_image("disk.img") as img:  # doctest: +SKIP
        ...     (img / "etc" / "hostname").read_text()
    """
    options = {
        "partition": partition,
        "read_only": read_only,
        "overlay": overlay,
        "disks": disks,
        "sandbox": sandbox,
        "memory": memory,
        "version": version,
        "profile": profile,
        "timeout": timeout,
        "format": format,
        "backing": backing,
        "target_options": storage_options,
        "password": password,
        "keyfile": keyfile,
        "verity": verity,
        "verity_offset": verity_offset,
        "mount_options": mount_options,
    }
    # fsspec keeps what was given, and makes no JSON of None.
    given = {k: v for k, v in options.items() if v is not None or k == "timeout"}
    return Image(image, **given)  # type: ignore[arg-type]


class Image(AbstractFileSystem):  # type: ignore[misc]
    """A file system of an image: fsspec's interface, and ``image / "name"`` for pathlib's.

    It is unmounted by :meth:`close`, at the end of ``with``, when nobody has it any more, or
    when the interpreter ends; whichever is first.

    Attributes:
        volume: what is below: the kernel, and copies of whole trees.
        Path: :class:`pathlib.Path` in the image.
    """

    protocol = "rumpel"
    root_marker = "/"
    cachable = False

    def __init__(
        self,
        fo: str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | list[str] = "",
        partition: str | int | None = None,
        *,
        read_only: bool = False,
        overlay: str | os.PathLike[str] | bool | None = None,
        disks: Sequence[str | os.PathLike[str]] = (),
        sandbox: bool = True,
        memory: int | str = "64M",
        version: str = "6.12",
        profile: str = "default",
        timeout: float | None = 300.0,
        format: str | None = None,
        backing: bool = False,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        password: str | bytes | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        verity: str | None = None,
        verity_offset: int | None = None,
        mount_options: str = "",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        fd = -1
        if isinstance(fo, list):
            if not fo:
                raise ValueError("no image is named")
            fo, *more = fo
            disks = [*more, *disks]
        image: Any = fo
        if isinstance(fo, bytes | bytearray | memoryview):
            fd = _copy(fo)
            image = f"/proc/{os.getpid()}/fd/{fd}"
        elif isinstance(fo, str | os.PathLike):
            location = parse(os.fspath(fo))
            image = location.image
            partition = location.partition if partition is None else partition
            if target_protocol not in (None, "file", "local"):
                image = open_url(os.fspath(fo), target_options, target_protocol)
            elif target_options:
                image = open_url(image, target_options)
        elif not hasattr(fo, "read"):
            raise TypeError(f"an image is a path, bytes or a file, not {type(fo).__name__}")
        over = overlay if isinstance(overlay, bool) or overlay is None else os.fspath(overlay)
        key = root = None
        if password is not None or keyfile is not None:
            from rumpel.images.layers.key import Key

            key = Key(password, None if keyfile is None else os.fspath(keyfile))
        if verity is not None:
            from rumpel.images.layers.stack import parse_root

            root = parse_root(verity, verity_offset)
        split_options(mount_options)
        how = Options(
            read_only, over, sandbox, memory, version, profile, timeout, format, backing, key, root,
            mount_options,
        )  # fmt: skip
        try:
            self.volume = open_volume([image, *(os.fspath(disk) for disk in disks)], partition, how)
        except ImageError as error:
            if fd >= 0:  # nobody knows what is there by that name
                error.name = "<bytes>"
                error.args = (f"{error.name}: {error.reason}",)
            raise
        finally:
            if fd >= 0:
                os.close(fd)
        self._close = weakref.finalize(self, self.volume.close)

    def close(self) -> None:
        """Write all, unmount, and let the image go.

        Raises:
            OSError: if something could not be written.
        """
        self._close()

    def __enter__(self) -> Image:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Paths

    @property
    def Path(self) -> type[pathlib.Path]:  # noqa: N802
        """The class of paths in the image."""
        return self.volume.kernel.Path

    def __truediv__(self, name: str | pathlib.PurePath) -> pathlib.Path:
        return self.Path("/") / str(name).lstrip("/")

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        stripped = str(super()._strip_protocol(str(path)))
        return stripped if stripped.startswith("/") else f"/{stripped}"

    @property
    def aio(self) -> Any:
        """The same for coroutines, as fsspec's asynchronous file systems have it.

        The kernel is asked by threads, so the event loop goes on; one call follows the other.

        Example:
            >>> async def read(image):
            ...     return await image.aio._cat_file("/etc/hostname")
        """
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        return AsyncFileSystemWrapper(self, asynchronous=True)

    # Whole trees, and time

    def copy_in(
        self,
        source: str | os.PathLike[str],
        target: str,
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree from the host, with all attributes.

        See :meth:`rumpel.Kernel.copy_in`.
        """
        source = os.fspath(source)
        options: dict[str, Any] = {"exclude": exclude, "owner": owner, "progress": progress}
        return self.volume.copy_in(source, target, **options)

    def copy_out(
        self,
        source: str,
        target: str | os.PathLike[str],
        *,
        exclude: Sequence[str] = (),
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> Copied:
        """Copy a file or a tree to the host, with all attributes.

        See :meth:`rumpel.Kernel.copy_out`.
        """
        target = os.fspath(target)
        options: dict[str, Any] = {"exclude": exclude, "owner": owner, "progress": progress}
        return self.volume.copy_out(source, target, **options)

    def snapshot(self) -> int:
        """Freeze the state, in no time; for images with an overlay. No file may be open.

        Returns:
            What :meth:`rollback` takes.
        """
        return self.volume.snapshot()

    def rollback(self, snapshot: int | None = None) -> None:
        """Forget what was written since a snapshot, by default the last. No file may be open.

        Raises:
            ValueError: if there is no such snapshot.
        """
        self.volume.rollback(snapshot)

    # fsspec

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        """List a directory."""
        path = self._strip_protocol(path)
        top = path.rstrip("/")
        found = list(self.volume.walk(path, 1, follow=True))
        if stat.S_ISDIR(found[0].mode):
            infos = [_info(f"{top}/{each.path}", each) for each in found[1:]]
        else:
            infos = [_info(path, found[0])]
        return infos if detail else [info["name"] for info in infos]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Look at a file; of a symbolic link, where it leads as well."""
        path = self._strip_protocol(path)
        return _info(path, next(self.volume.walk(path, 0)))

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if not autocommit and mode != "rb":
            return Pending(self, path, mode)
        file: Any = self.volume.kernel.open(path, mode, buffering=_BUFFER)
        # Who has the file alone, as pandas has, has the image as well.
        file.raw.keeps = self
        if mode == "rb":
            # fsspec counts from the end with it.
            file.size = self.volume.kernel.os.fstat(file.fileno()).st_size
        return file

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Read a file, or a part of it."""
        if start is None and end is None:
            return b"".join(self.volume.content(self._strip_protocol(path)))
        return bytes(super().cat_file(path, start, end, **kwargs))  # pyright: ignore

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Make a directory."""
        path, os_ = self._strip_protocol(path), self.volume.kernel.os
        (os_.makedirs if create_parents else os_.mkdir)(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        self.volume.kernel.os.makedirs(self._strip_protocol(path), exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self.volume.kernel.os.rmdir(self._strip_protocol(path))

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self.volume.kernel.os.unlink(self._strip_protocol(path))

    _rm = rm_file

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files and, with ``recursive``, trees."""
        for each in [path] if isinstance(path, str) else path:
            plain = self._strip_protocol(each)
            if recursive and maxdepth is None and not set(plain) & set("*?["):
                self.volume.remove(plain)
            else:
                super().rm(plain, recursive=recursive, maxdepth=maxdepth)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy a file within the image."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            self.makedirs(target, exist_ok=True)
        else:
            self.volume.kernel.shutil.copyfile(source, target)

    def mv(self, path1: str, path2: str, *args: Any, **kwargs: Any) -> None:
        """Rename."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        self.volume.kernel.shutil.move(source, target)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file, or empty one; without ``truncate`` only set its times."""
        path = self._strip_protocol(path)
        with self.volume.kernel.open(path, "wb" if truncate else "ab"):
            pass
        self.volume.kernel.os.utime(path)

    def created(self, path: str) -> datetime:
        """When its inode was changed last: Linux knows nothing better of every file system."""
        return datetime.fromtimestamp(self.info(path)["created"], UTC)

    def modified(self, path: str) -> datetime:
        """When it was written to."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)


def _info(name: str, found: Any) -> dict[str, Any]:
    kind = _KINDS.get(stat.S_IFMT(found.mode), "other")
    info = {
        "name": name,
        "size": found.size,
        "type": kind,
        "created": found.ctime / 1e9,
        "islink": kind == "link",
        "mode": found.mode,
        "uid": found.uid,
        "gid": found.gid,
        "mtime": found.mtime / 1e9,
        "ino": found.inode,
        "nlink": found.links,
    }
    if kind == "link":
        info["destination"] = found.target
    return info


def _copy(data: bytes | bytearray | memoryview) -> int:
    fd = os.memfd_create("rumpel-image", os.MFD_CLOEXEC)
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view) :]
    return fd
