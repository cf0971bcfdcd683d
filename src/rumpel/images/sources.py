# SPDX-License-Identifier: GPL-2.0-only
"""Where images come from: files of whatever format, URLs, and file objects of Python."""

from __future__ import annotations

import contextlib
import os
import stat

from rumpel.images.errors import ImageError, redacted
from rumpel.images.formats import COMPRESSED, QEMU, Header, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from rumpel.images.served import Served, ServedByThread

__all__ = ["check", "check_raw", "header_of", "is_url", "name_of", "open_source", "open_url"]

_URL = r"[A-Za-z][A-Za-z0-9+.-]+://"
_BLOCK, _BLOCKS = 512 << 10, 64
"""Of what is fetched: how much at once, and how much is kept."""


def is_url(image: object) -> bool:
    """Is it a name for fsspec, not the path of a file?"""
    if not isinstance(image, str) or "://" not in image:
        return False
    import re

    return bool(re.match(_URL, image))


def name_of(image: Any) -> str:
    """What messages call an image: a URL without the passwords and signatures that it may have."""
    if isinstance(image, str):
        return redacted(image) if is_url(image) else image
    name = getattr(image, "name", None) or getattr(image, "path", None)
    return name if isinstance(name, str) else f"<{type(image).__name__}>"


def open_source(image: Any, format: str | None, read_only: bool, backing: bool) -> Served | None:
    """Have an image served, if the kernel cannot read its file itself.

    Args:
        image: a path, a URL, or a seekable binary file object.
        format: what it is; None looks for itself.
        read_only: write nothing to it.
        backing: may it name files that are in other directories?

    Raises:
        ImageError: if there is no such image, or nothing that could read it.
        OSError: if it may not be opened, or somebody else has it open (EBUSY).
    """
    if is_url(image):
        image = open_url(image)
    if not isinstance(image, str):
        return _open_file_object(image, format, read_only)
    check(image)
    header = header_of(image, format)
    if header.format in QEMU:
        from rumpel.images.qemu import open_with_qemu

        return open_with_qemu(image, header, read_only, backing)
    if header.format in COMPRESSED:
        from rumpel.images.decompressor import open_compressed

        return open_compressed(image, header.format)
    return None


def check(path: str) -> None:
    """Refuse what can be no image, in words that say why.

    Raises:
        ImageError: if it is none.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        raise ImageError(path, "no such image") from None
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(path, "is a directory, not a disk image")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise ImageError(path, "is no disk image")
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise ImageError(path, "is empty")


def header_of(path: str, format: str | None = None) -> Header:
    """What a file says that it is.

    Args:
        path: of the file.
        format: what it is; None looks for itself.

    Raises:
        ImageError: if it is not of that format, or too short for a disk.
        OSError: if it may not be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        header = look(path, lambda at, length: os.pread(fd, length, at), size, format)
    finally:
        os.close(fd)
    if header.format == "raw" and size < 512:
        raise ImageError(path, "is too short for a disk")
    return header


def check_raw(image: str, format: str | None = None) -> None:
    """Refuse what a program of the host would take for a disk, and is none.

    Args:
        image: its name.
        format: what it is; None looks for itself.

    Raises:
        ImageError: if its bytes are not those of the disk.
    """
    if is_url(image):
        raise ImageError(name_of(image), "is no file: fetch it first")
    check(image)
    found = header_of(image, format).format
    if found != "raw":
        how = "qemu-img convert -O raw" if found in QEMU else "decompress it"
        raise ImageError(image, f"is {found}, and this works on raw images only: {how}")


def open_url(url: str, options: dict[str, Any] | None = None, protocol: str | None = None) -> Any:
    """Open a file by fsspec, whose parts are fetched when they are read.

    Args:
        url: such as ``https://...``, ``s3://...`` or ``zip://disk.img::archive.zip``.
        options: of its file system.
        protocol: of the file system, if ``url`` is only a path.

    Raises:
        ImageError: if fsspec is not there, or cannot open it.
    """
    name = name_of(url)
    try:
        import fsspec
    except ImportError:
        raise ImageError(name, "URLs need fsspec: pip install rumpel[images]") from None
    try:
        if protocol:
            files, path = fsspec.filesystem(protocol, **(options or {})), url
        else:
            files, path = fsspec.core.url_to_fs(url, **(options or {}))
        file = files.open(
            path, "rb", block_size=_BLOCK, cache_type="blockcache",
            cache_options={"maxblocks": _BLOCKS},
        )  # fmt: skip
    except FileNotFoundError:
        raise ImageError(name, "no such image") from None
    except Exception as error:
        # Each file system has its own.
        raise ImageError(name, redacted(str(error)) or type(error).__name__) from error
    return UrlFile(name, file, files)


class UrlFile:
    """A file of fsspec, which is ours to close.

    Attributes:
        name: for messages.
    """

    def __init__(self, name: str, file: Any, files: Any) -> None:
        self.name = name
        self.read, self.seek, self.seekable = file.read, file.seek, file.seekable
        self.close = file.close
        # Some close their files when nobody has them any more.
        self._files = files

    def writable(self) -> bool:
        """Nothing is ever written there."""
        return False


def _open_file_object(file: Any, format: str | None, read_only: bool) -> ServedByThread:
    import tempfile

    from rumpel.devices.served import FileBackend
    from rumpel.images.served import ServedByThread

    name = name_of(file)
    with contextlib.ExitStack() as ours:
        if isinstance(file, UrlFile):
            ours.callback(file.close)
        try:
            if not file.seekable():
                raise ImageError(
                    name, "cannot be read from the middle (no seek, no range requests)"
                )
            backend: Any = FileBackend(file, fixed=True)
            if backend.size < 512:
                raise ImageError(name, "is too short for a disk" if backend.size else "is empty")
            # A file's end may read as zeroes; here what is not there must not.
            header = look(name, backend.pread_some, backend.size, format)
            if header.format in QEMU:
                raise ImageError(name, f"is {header.format}: qemu-nbd reads that from files only")
            size, read_only = backend.size, read_only or backend.read_only
            if header.format in COMPRESSED:
                store = ours.enter_context(tempfile.TemporaryFile(prefix="rumpel-"))
                backend, read_only = _decompressed(name, backend, header.format, store), True
                size = backend.size
        except (ImageError, MemoryError):
            raise
        except Exception as error:
            # Each object has its own.
            raise ImageError(name, redacted(str(error)) or type(error).__name__) from error
        return ServedByThread(name, backend, size, read_only, ours.pop_all())


def _decompressed(name: str, backend: Any, format: str, store: IO[bytes]) -> Any:
    try:
        from rumpel.images.compressed import Compressed
    except ImportError:
        raise ImageError(name, f"{format} needs zstandard: pip install rumpel[images]") from None
    return Compressed(backend.pread_some, backend.size, format, store)
