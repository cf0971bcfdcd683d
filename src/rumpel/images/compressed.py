# SPDX-License-Identifier: GPL-2.0-only
"""Compressed disks, read where they are.

Where a file has points to begin at, as those of ``xz -T0`` and ``pzstd``, the part that is wanted
is decompressed. Most have none: those are decompressed once, as far as they are read, and what
comes out is kept in small pieces in a temporary file, compressed again: about as much as the file
itself, and nothing for zeroes.

Source: xz-file-format.txt 1.1.0; RFC 8878.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import threading
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import zstandard

__all__ = ["Compressed"]

PIECE = 128 << 10
"""What is compressed as one in the temporary file."""
_MOST_PART = 32 << 20
"""A part that is longer is no point to begin at: all of it had to be kept in memory."""
_CACHED = 16 << 20
_WINDOW = 128 << 20
_LEVEL = -1
_BUFFER = 256 << 10
_HEAD = struct.Struct("<I")
_ZEROES = bytes(PIECE)

Read = Callable[[int, int], bytes]


class Part(NamedTuple):
    """A part of a file that can be decompressed without what is before it.

    Attributes:
        start, length: in the file.
        size: of what comes out; -1 if the file does not say.
    """

    start: int
    length: int
    size: int


class Compressed:
    """The content of a compressed file, as a backend of a disk.

    Args:
        read: reads the file: an offset, and how much.
        length: of the file.
        format: ``gzip``, ``xz``, ``zstd`` or ``bzip2``.
        store: an empty file to keep pieces in.

    Attributes:
        size: of the content. To know that all may have to be decompressed.

    Raises:
        ValueError: if the file is damaged.
    """

    def __init__(self, read: Read, length: int, format: str, store: IO[bytes]) -> None:
        self._read = read
        self._format = format
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        try:
            self._parts = list(_PARTS[format](read, length)) if format in _PARTS else []
            sizes = [part.size for part in self._parts]
            known = bool(sizes) and min(sizes) >= 0
            self._pass: _Pass | None = None
            if not known or max(sizes) > _MOST_PART:
                self._pass = _Pass(_OPEN[format](_File(read, length), self._parts), store)
            if known:
                self.size = sum(sizes)
            else:
                assert self._pass
                self._pass.advance(None)
                self.size = self._pass.done
        except _DAMAGE as error:
            raise _damage(format, error) from None
        self._starts = [0]
        for size in sizes:
            self._starts.append(self._starts[-1] + size)

    def pread(self, offset: int, length: int) -> bytes:
        """What is there.

        Raises:
            ValueError: if the file is damaged.
        """
        out = []
        with self._lock:
            try:
                while length:
                    start, data = self._around(offset)
                    piece = data[offset - start : offset - start + length]
                    if not piece:
                        raise EOFError("it ends too early")
                    out.append(piece)
                    offset += len(piece)
                    length -= len(piece)
            except _DAMAGE as error:
                raise _damage(self._format, error) from None
        return b"".join(out)

    def _around(self, offset: int) -> tuple[int, bytes]:
        """A piece, or a part, that has this byte; and where it begins."""
        if self._pass:
            index = offset // PIECE
            start = index * PIECE
        else:
            index = bisect_right(self._starts, offset) - 1
            start = self._starts[index]
        data = self._cache.get(index)
        if data is None:
            if self._pass:
                self._pass.advance(index)
                data = self._pass.piece(index)
            else:
                part = self._parts[index]
                raw = self._read(part.start, part.length)
                data = _WHOLE[self._format](self._read, raw, part.size)
            self._keep(index, data)
        else:
            self._cache.move_to_end(index)
        return start, data

    def _keep(self, index: int, data: bytes) -> None:
        self._cache[index] = data
        self._cached += len(data)
        while self._cached > _CACHED and len(self._cache) > 1:
            self._cached -= len(self._cache.popitem(last=False)[1])


class _Pass:
    """What was decompressed so far, in pieces.

    Attributes:
        done: bytes.
    """

    def __init__(self, reader: Any, store: IO[bytes]) -> None:
        self._reader = reader
        self._store = store
        self._squeeze = zstandard.ZstdCompressor(level=_LEVEL).compress
        self._expand = zstandard.ZstdDecompressor().decompress
        self._where = array("Q")  # in the store, and one more; 0 is for zeroes
        self._end = 0
        self._over = False
        self.done = 0

    def advance(self, index: int | None) -> None:
        """Decompress up to a piece, or all."""
        while not self._over and (index is None or index >= len(self._where)):
            data = self._next()
            self.done += len(data)
            self._over = len(data) < PIECE
            if not data:
                break
            if data == _ZEROES[: len(data)]:
                self._where.append(0)
                continue
            squeezed = self._squeeze(data)
            self._store.seek(self._end)
            self._store.write(_HEAD.pack(len(squeezed)) + squeezed)
            self._where.append(self._end + 1)
            self._end += _HEAD.size + len(squeezed)

    def _next(self) -> bytes:
        data = bytearray()
        while len(data) < PIECE and (more := self._reader.read(PIECE - len(data))):
            data += more
        return bytes(data)

    def piece(self, index: int) -> bytes:
        """One that was decompressed."""
        if index >= len(self._where):
            raise EOFError("it ends too early")
        where = self._where[index]
        if not where:
            return _ZEROES[: min(PIECE, self.done - index * PIECE)]
        self._store.seek(where - 1)
        (length,) = _HEAD.unpack(self._store.read(_HEAD.size))
        return self._expand(self._store.read(length), max_output_size=PIECE)


class _File(io.RawIOBase):
    """The file, for who reads it from its beginning to its end."""

    def __init__(self, read: Read, length: int) -> None:
        self.pread = read
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self.pread(self._at, min(len(view), self._length - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


# ---- zstd ----


def _zstd_parts(read: Read, length: int) -> Iterator[Part]:
    """Frames (RFC 8878, 3.1)."""
    at = 0
    while at < length:
        head = read(at, 18)
        (magic,) = struct.unpack_from("<I", head.ljust(4, b"\0"))
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # to be skipped
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
        told = zstandard.get_frame_parameters(head)
        end = _frame_end(read, at + zstandard.frame_header_size(head), told.has_checksum, length)
        size = told.content_size
        yield Part(at, end - at, -1 if size == zstandard.CONTENTSIZE_UNKNOWN else size)
        at = end


def _frame_end(read: Read, at: int, has_checksum: bool, length: int) -> int:
    """Each block says how long it is (3.1.1.2)."""
    while at < length:
        head = int.from_bytes(read(at, 3), "little")
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
        if head & 1:
            return at + 4 * has_checksum
    raise EOFError("it ends too early")


def _zstd_whole(read: Read, raw: bytes, size: int) -> bytes:
    expand = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    return expand.decompress(raw, max_output_size=size)


def _zstd_open(file: Any, parts: list[Part]) -> Any:
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    return reader.stream_reader(file, read_across_frames=True)


# ---- xz ----


def _xz_parts(read: Read, length: int) -> Iterator[Part]:
    """Blocks of all streams, by the indexes at their ends (xz-file-format, 2 and 4)."""
    streams: list[list[Part]] = []
    while length:
        while length >= 4 and read(length - 4, 4) == b"\0\0\0\0":
            length -= 4
        footer = read(length - 12, 12)
        if footer[10:] != b"YZ":
            raise EOFError("there is no footer")
        index_size = (int.from_bytes(footer[4:8], "little") + 1) * 4
        if index_size > length - 24:
            raise EOFError("its index is too long")
        sizes = list(_xz_index(read(length - 12 - index_size, index_size)))
        at = length - 12 - index_size - sum(raw for raw, _ in sizes)
        if at < 12:
            raise EOFError("its index is wrong")
        length = at - 12
        stream = []
        for raw, size in sizes:
            stream.append(Part(at, raw, size))
            at += raw
        streams.append(stream)
    for stream in reversed(streams):
        yield from stream


def _xz_index(data: bytes) -> Iterator[tuple[int, int]]:
    """Sizes of blocks: in the file, with their padding, and of what comes out."""
    at = 1
    count, at = _xz_number(data, at)
    for _ in range(count):
        raw, at = _xz_number(data, at)
        size, at = _xz_number(data, at)
        yield (raw + 3) // 4 * 4, size


def _xz_number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length (1.2)."""
    number = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
    raise EOFError("its index is wrong")


def _xz_block(read: Read) -> lzma.LZMADecompressor:
    """What decompresses a block, as if it were the first."""
    expand = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    # The header says which check there is; the streams of a file have the same.
    expand.decompress(read(0, 12))
    return expand


def _xz_whole(read: Read, raw: bytes, size: int) -> bytes:
    return _xz_block(read).decompress(raw, size)


class _Xz:
    """All blocks, one after the other; there may be padding between streams."""

    def __init__(self, file: _File, parts: list[Part]) -> None:
        self._pread = file.pread
        self._parts = iter(parts)
        self._at = self._end = self._left = 0
        self._expand: lzma.LZMADecompressor | None = None

    def read(self, size: int) -> bytes:
        while size:
            while not self._left:
                part = next(self._parts, None)
                if part is None:
                    return b""
                self._at, self._end, self._left = part.start, part.start + part.length, part.size
                self._expand = _xz_block(self._pread)
            assert self._expand
            raw = b""
            if self._expand.needs_input:
                raw = self._pread(self._at, min(_BUFFER, self._end - self._at))
                self._at += len(raw)
                if not raw:
                    raise EOFError("it ends too early")
            data = self._expand.decompress(raw, min(size, self._left))
            self._left -= len(data)
            if data:
                return data
        return b""


_PARTS: dict[str, Callable[[Read, int], Iterator[Part]]] = {"zstd": _zstd_parts, "xz": _xz_parts}
_WHOLE: dict[str, Callable[[Read, bytes, int], bytes]] = {"zstd": _zstd_whole, "xz": _xz_whole}
_OPEN: dict[str, Callable[[_File, list[Part]], Any]] = {
    "gzip": lambda file, _: gzip.GzipFile(fileobj=io.BufferedReader(file, _BUFFER)),
    "xz": _Xz,
    "bzip2": lambda file, _: bz2.BZ2File(io.BufferedReader(file, _BUFFER)),
    "zstd": _zstd_open,
}
_DAMAGE = (
    EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, IndexError,
    struct.error, OSError,
)  # fmt: skip


def _damage(format: str, error: Exception) -> Exception:
    """What a decompressor says of its input; an error of who reads the file stays what it is."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return ValueError(f"damaged {format}: {error}")
