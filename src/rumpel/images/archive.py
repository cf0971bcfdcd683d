# SPDX-License-Identifier: GPL-2.0-only
"""Items of trees as tar archives, and back.

Archives are in the pax format, with extended attributes as GNU tar and bsdtar write them
(``SCHILY.xattr.``).
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import IO, Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.copying.source import Item

__all__ = ["read_tar", "write_tar"]

_XATTR = "SCHILY.xattr."
_BUFFER = 256 << 10
_NS = 1_000_000_000
_ZSTD = b"\x28\xb5\x2f\xfd"
_WINDOW = 1 << 27
"""As much as ``zstd --long`` has."""
_TYPES = {
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
_MODES = {kind: mode for mode, kind in _TYPES.items()}


def write_tar(
    items: Iterable[Item], file: IO[bytes], compression: str = "", name: str = ""
) -> list[tuple[str, str]]:
    """Write a tree as an archive.

    Args:
        items: of :mod:`rumpel.copying.source`.
        file: that is written to; it need not be seekable.
        compression: ``gz``, ``bz2``, ``xz``, ``zst`` or none.
        name: of the tree's top in the archive, if that is no directory.

    Returns:
        What could not be read: path and reason of each.
    """
    if compression == "zst":
        with _zstandard().ZstdCompressor().stream_writer(file, closefd=False) as squeezed:
            return write_tar(items, squeezed, "", name)
    failed: list[tuple[str, str]] = []
    mode: Any = f"w|{compression}"
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        series = iter(items)
        for item, data in series:
            if item[0] == "x":
                failed.append((str(item[1]), str(item[2])))
                continue
            member = _member(item, name)
            if item[0] != "f":
                tar.addfile(member)
            elif item[3]:
                tar.addfile(member, _Pieces(iter([data])))
            else:
                pieces = _Pieces(_whole(series, member.size, failed))
                tar.addfile(member, pieces)
                pieces.finish()
    return failed


def _member(item: list[Any], name: str) -> tarfile.TarInfo:
    kind, path = item[0], item[1]
    member = tarfile.TarInfo(f"./{path}" if path or kind == "d" else name)
    if kind == "h":
        member.type, member.linkname = tarfile.LNKTYPE, f"./{item[2]}"
        return member
    mode, member.uid, member.gid, _, mtime, _, xattrs = item[2]
    member.mode = stat.S_IMODE(mode)
    member.mtime = mtime // _NS
    member.pax_headers = {f"{_XATTR}{key}": _as_text(value) for key, value in xattrs}
    if mtime % _NS:
        # As a float it would lose its last digits.
        seconds, ns = divmod(abs(mtime), _NS)
        member.pax_headers["mtime"] = f"{'-' if mtime < 0 else ''}{seconds}.{ns:09d}"
    if kind == "d":
        member.type = tarfile.DIRTYPE
    elif kind == "l":
        member.type, member.linkname = tarfile.SYMTYPE, item[3]
    elif kind == "s":
        from os import major, minor

        # A socket cannot be in an archive; tar leaves it out, we make a pipe of it visible.
        member.type = _TYPES.get(stat.S_IFMT(mode), tarfile.FIFOTYPE)
        member.devmajor, member.devminor = major(item[3]), minor(item[3])
    else:
        member.size = item[4]
    return member


def _as_text(value: str) -> str:
    """Bytes as text that a pax header holds as these bytes."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def _whole(series: Iterator[Item], size: int, failed: list[tuple[str, str]]) -> Iterator[bytes]:
    """The pieces of a large file, with zeroes for its holes, exactly as long as it was."""
    at = 0
    for item, data in series:
        if item[0] == "x":
            failed.append((str(item[1]), str(item[2])))
        if item[0] != "c" or at >= size:
            if item[0] != "c":
                break
            continue
        yield from _zeroes(item[1] - at)
        data = data[: size - item[1]]
        at = item[1] + len(data)
        yield data
    yield from _zeroes(size - at)


def _zeroes(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _BUFFER))
        count -= _BUFFER


class _Pieces:
    """What tarfile reads a member's content from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int = -1, /) -> bytes:
        """So many bytes."""
        parts = []
        while size:
            if not self._left:
                self._left = next(self._pieces, b"")
                if not self._left:
                    break
            parts.append(self._left[:size])
            self._left = self._left[size:]
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """Go to the end, so that what follows is the next item."""
        for _ in self._pieces:
            pass


def read_tar(file: IO[bytes]) -> Iterator[Item]:
    """Read an archive, compressed (gzip, bzip2, xz, zstd) or not, as the items of a tree.

    Args:
        file: that is read from; it need not be seekable.

    Raises:
        tarfile.TarError: if it is no archive.
    """
    begin = io.BufferedReader(_Raw(file), _BUFFER)
    if begin.peek(4)[:4] != _ZSTD:
        yield from _read_tar(begin)
        return
    zstandard = _zstandard()
    expand = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with expand.stream_reader(begin, read_across_frames=True, closefd=False) as expanded:
            yield from _read_tar(expanded)
    except zstandard.ZstdError as error:
        raise tarfile.ReadError(str(error)) from None


class _Raw(io.RawIOBase):
    """A stream that may be looked into before it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As much as there is, up to the buffer's size."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise tarfile.CompressionError("zstd wants: pip install 'rumpel[images]'") from None
    return zstandard


def _read_tar(file: Any) -> Iterator[Item]:
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        first = True
        for member in tar:
            # The top, which an archive need not have, makes sense only as the first.
            if first or _clean(member.name):
                yield from _items(tar, member)
            first = False


def _items(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Item]:
    path = _clean(member.name)
    mtime = _mtime(member)
    xattrs = [
        [key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape").decode("latin-1")]
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    ]
    # Any of them may have a hard link later on.
    rest = [member.uid, member.gid, mtime, mtime, 2, xattrs]
    mode = member.mode & 0o7777
    if member.isdir():
        yield ["d", path, [stat.S_IFDIR | mode, *rest]], b""
    elif member.issym():
        yield ["l", path, [stat.S_IFLNK | mode, *rest], member.linkname], b""
    elif member.islnk():
        yield ["h", path, _clean(member.linkname)], b""
    elif member.type in _MODES:
        from os import makedev

        device = makedev(member.devmajor, member.devminor)
        yield ["s", path, [_MODES[member.type] | mode, *rest], device], b""
    elif member.isreg():
        yield from _file(tar, member, path, [stat.S_IFREG | mode, *rest])
    else:
        yield ["x", path, "unknown kind of member"], b""


def _mtime(member: tarfile.TarInfo) -> int:
    """In ns, to the last digit that is written."""
    try:
        return int(Decimal(member.pax_headers.get("mtime") or member.mtime) * _NS)
    except (ArithmeticError, ValueError):  # NaN, infinite or no number
        raise tarfile.ReadError(f"{member.name}: its time is no number") from None


def _file(
    tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, attributes: list[Any]
) -> Iterator[Item]:
    if member.issparse():
        yield ["f", path, attributes, False, member.size], b""
        yield from _data(tar, member)
        yield ["e", member.size], b""
        return
    content = tar.extractfile(member)
    assert content
    data = content.read(_BUFFER)
    if len(data) == member.size:
        yield ["f", path, attributes, True, member.size], data
        return
    yield ["f", path, attributes, False, member.size], b""
    at = 0
    while data:
        if data.count(0) < len(data):  # else it can be a hole, as it may have been
            yield ["c", at], data
        at += len(data)
        data = content.read(_BUFFER)
    yield ["e", at], b""


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Item]:
    """What is between the holes, which lies in the archive one piece after the other."""
    file: Any = tar.fileobj
    file.seek(member.offset_data)
    sparse: Any = member.sparse
    for start, length in sparse:
        if not 0 <= start <= start + length <= member.size:
            raise tarfile.ReadError(f"{member.name}: its holes make no sense")
        done = 0
        while done < length:
            data = file.read(min(_BUFFER, length - done))
            if not data:
                raise tarfile.ReadError("unexpected end of data")
            yield ["c", start + done], data
            done += len(data)


def _clean(name: str) -> str:
    """A path as items have it; what leads out of the tree is refused where it is made."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
