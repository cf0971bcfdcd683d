# SPDX-License-Identifier: GPL-2.0-only
"""Compressed images, file objects and URLs; images that become shorter."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zstandard

import rumpel
from rumpel.images import ImageError
from rumpel.images.commit import commit
from rumpel.images.compressed import PIECE, Compressed
from rumpel.images.locate import Location, parse
from rumpel.images.sources import name_of
from tests.conftest import VERSION
from tests.images.server import serving
from tests.images.tools import check, make

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ext4 image of 16 MB with two files. Not to be written to."""
    path = make(tmp_path_factory.mktemp("images") / "filled.img", "ext4", 16)
    with rumpel.boot(disks=[path], version=VERSION) as k:
        k.mount("/dev/vda", "/mnt", "ext4")
        k.Path("/mnt/noise").write_bytes(CONTENT)
        k.Path("/mnt/text").write_text("text\n" * 1000)
    return path.read_bytes()


def zstd_frames(data: bytes) -> bytes:
    """Frames of a megabyte, as the seekable format has them, with one to be skipped."""
    parts = (data[at : at + 1_000_000] for at in range(0, len(data), 1_000_000))
    return b"\x50\x2a\x4d\x18\x04\0\0\0skip" + b"".join(map(zstandard.compress, parts))


def zstd_stream(data: bytes) -> bytes:
    """One frame that does not say how long it is."""
    squeeze = zstandard.ZstdCompressor().compressobj()
    return squeeze.compress(data) + squeeze.flush()


def gzip_members(data: bytes) -> bytes:
    """Two, one after the other."""
    return gzip.compress(data[:5000], 1) + gzip.compress(data[5000:], 1)


def xz_blocks(data: bytes) -> bytes:
    """Two streams with padding between them."""
    half = len(data) // 2
    first, second = lzma.compress(data[:half], preset=0), lzma.compress(data[half:], preset=0)
    return first + b"\0" * 8 + second


COMPRESS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gz": ("gzip", lambda data: gzip.compress(data, 1)),
    "gz-members": ("gzip", gzip_members),
    "xz": ("xz", xz_blocks),
    "bz2": ("bzip2", bz2.compress),
    "zst": ("zstd", zstandard.compress),
    "zst-stream": ("zstd", zstd_stream),
    "zst-frames": ("zstd", zstd_frames),
}  # fmt: skip


def reader(data: bytes) -> Callable[[int, int], bytes]:
    """Reads it by offset and length."""
    return lambda at, size: data[at : at + size]


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("most", [0, 1 << 30])
def test_any_part(kind: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, whether the parts of the file are points to begin at or not."""
    monkeypatch.setattr("rumpel.images.compressed._MOST_PART", most)
    monkeypatch.setattr("rumpel.images.compressed._CACHED", PIECE)
    chance = random.Random(2)
    data = b"".join(
        chance.choice((bytes(PIECE), chance.randbytes(PIECE // 2), b"abc" * PIECE))
        for _ in range(9)
    )
    format, compress = COMPRESS[kind]
    packed = compress(data)
    with tempfile.TemporaryFile() as store:
        image = Compressed(reader(packed), len(packed), format, store)
        assert image.size == len(data)
        for _ in range(25):
            at = chance.randrange(len(data))
            size = chance.randrange(min(3 * PIECE, len(data) - at) + 1)
            assert image.pread(at, size) == data[at : at + size]
        assert image.pread(0, len(data)) == data
        # Nothing of the zeroes, and the rest compressed.
        assert os.fstat(store.fileno()).st_size < len(packed) * 1.5 + PIECE


@pytest.mark.parametrize("kind", COMPRESS)
def test_damage(kind: str) -> None:
    """Wherever it is: an error, or what was there; never anything else."""
    chance = random.Random(3)
    data = chance.randbytes(40_000) + bytes(200_000) + chance.randbytes(40_000)
    format, compress = COMPRESS[kind]
    packed = compress(data)
    for at in (0, 5, len(packed) // 2, len(packed) - 14, len(packed) - 5):
        for bad in (packed[:at], packed[:at] + bytes([packed[at] ^ 0x41]) + packed[at + 1 :]):
            with tempfile.TemporaryFile() as store:
                try:
                    image = Compressed(reader(bad), len(bad), format, store)
                    assert len(image.pread(0, image.size)) == image.size
                except ValueError as error:
                    assert str(error).startswith(f"damaged {format}")


@pytest.mark.kernel
@pytest.mark.once
@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst", "zst-frames"])
def test_compressed_images(filled: bytes, opened: Any, tmp_path: Path, kind: str) -> None:
    """They are read where they are, and can be written to only with an overlay."""
    path = tmp_path / "image"
    path.write_bytes(COMPRESS[kind][1](filled))
    before = path.read_bytes()
    with opened(path) as img:
        assert (img / "noise").read_bytes() == CONTENT
        assert (img / "text").read_text() == "text\n" * 1000
        with pytest.raises(OSError, match="Read-only file system"):
            (img / "new").touch()
    with opened(path, overlay=tmp_path / "over") as img:
        (img / "new").write_text("new")
    with opened(path, overlay=tmp_path / "over", read_only=True) as img:
        assert (img / "new").read_text() == "new"
    assert path.read_bytes() == before
    with pytest.raises(ImageError, match=r"is compressed \(.*\), and cannot be written to"):
        commit(str(path), str(tmp_path / "over"))


@pytest.mark.kernel
@pytest.mark.once
def test_the_decompressor_can_do_nothing_else(filled: bytes, opened: Any, tmp_path: Path) -> None:
    """It reads a stranger's file: under a filter of system calls, and little memory."""
    path = tmp_path / "image"
    path.write_bytes(gzip.compress(filled, 1))
    with opened(path):
        (status,) = (
            (directory / "status").read_text()
            for directory in Path("/proc").glob("[0-9]*")
            if b"rumpel.images.decompressor" in _read(directory / "cmdline")
            and path.samefile(directory / "fd" / "4")
        )
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Seccomp"] == "2"
    assert int(told["CapEff"], 16) == 0
    assert int(told["VmHWM"].split()[0]) < 100_000


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.kernel
@pytest.mark.once
def test_damaged_compressed_images(filled: bytes, opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "image"
    packed = gzip.compress(filled, 1)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ImageError, match="decompressor: damaged gzip: Compressed file ended"):
        opened(path)
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 600)
    with pytest.raises(ImageError, match="decompressor: damaged zstd"):
        opened(path)


@pytest.mark.kernel
@pytest.mark.once
@pytest.mark.parametrize("sandbox", [True, False])
def test_file_objects(filled: bytes, opened: Any, sandbox: bool, tmp_path: Path) -> None:
    """They are written to if they can be, and the file is in order afterwards."""
    file = io.BytesIO(filled)
    with opened(file, sandbox=sandbox) as img:
        (img / "new").write_bytes(CONTENT)
    assert file.getvalue() != filled
    (tmp_path / "image").write_bytes(file.getvalue())
    check(tmp_path / "image")
    with opened(file, read_only=True, sandbox=sandbox) as img:
        assert (img / "new").read_bytes() == CONTENT
    with (tmp_path / "image").open("rb") as opened_file, opened(opened_file) as img:
        assert (img / "new").read_bytes() == CONTENT
        with pytest.raises(OSError, match="Read-only file system"):
            (img / "more").touch()
    with opened(file, overlay=True, sandbox=sandbox) as img:
        (img / "over").touch()
        before = img.snapshot()
        (img / "more").touch()
        img.rollback(before)
        assert img.exists("/over")
        assert not img.exists("/more")


@pytest.mark.kernel
@pytest.mark.once
def test_what_a_file_object_raises(filled: bytes, opened: Any) -> None:
    """It is an I/O error where it happens, and told at the end."""

    class Broken(io.BytesIO):
        broken = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.broken:
                raise RuntimeError("the tape is torn")
            return super().read(size)

        def writable(self) -> bool:
            return False

    file = Broken(filled)
    img = opened(file)
    file.broken = True
    with pytest.raises(OSError, match="Input/output error"):
        (img / "noise").read_bytes()
    with pytest.raises(ImageError, match="<Broken>: RuntimeError: the tape is torn"):
        img.close()
    for bad, why in (
        (io.BytesIO(), "is empty"),
        (io.BytesIO(b"short"), "is too short for a disk"),
        (io.BytesIO(b"QFI\xfb\0\0\0\x03" + bytes(1000)), "qemu-nbd reads that from files only"),
    ):
        with pytest.raises(ImageError, match=why):
            opened(bad)


@pytest.mark.kernel
@pytest.mark.once
def test_a_file_object_that_has_less_than_it_said(filled: bytes, opened: Any) -> None:
    """What cannot be read is an I/O error, not zeroes."""
    file = io.BytesIO(filled)
    with pytest.raises(ImageError, match="bytes were read instead of"):  # noqa: SIM117
        with opened(file, read_only=True) as img:
            file.truncate(8192)
            with pytest.raises(OSError, match="Input/output error"):
                (img / "noise").read_bytes()


@pytest.mark.kernel
@pytest.mark.once
def test_a_forked_child_that_closes(filled: bytes, opened: Any) -> None:
    """It lets go of what it has, and the image stays with the process that opened it."""
    file = io.BytesIO(filled)
    with opened(file) as img:
        pid = os.fork()
        if not pid:
            try:
                img.close()
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        (img / "new").write_bytes(CONTENT)
        assert (img / "noise").read_bytes() == CONTENT
    with opened(file, read_only=True) as img:
        assert (img / "new").read_bytes() == CONTENT


@pytest.mark.kernel
@pytest.mark.once
def test_images_over_http(filled: bytes, opened: Any) -> None:
    """Only what is needed is fetched; compressed ones are read as well."""
    with serving() as server:
        server.files["/disk.img"] = filled + bytes(200 << 20)
        server.files["/disk.img.gz"] = gzip.compress(filled, 1)
        with opened(f"{server.url}/disk.img") as img:
            assert (img / "noise").read_bytes() == CONTENT
            with pytest.raises(OSError, match="Read-only file system"):
                (img / "new").touch()
        assert server.sent < 8 << 20
        with opened(f"{server.url}/disk.img.gz") as img:
            assert (img / "noise").read_bytes() == CONTENT
        with fsspec.open(f"rumpel://text::{server.url}/disk.img", "r") as file:
            assert file.read(5) == "text\n"
        with pytest.raises(ImageError, match="/none: no such image"):
            opened(f"{server.url}/none")
        img = opened(f"{server.url}/disk.img?signature=secret")
        server.failing = True
        with pytest.raises(OSError, match="Input/output error"):
            (img / "noise").read_bytes()
        with pytest.raises(ImageError, match="500") as raised:
            img.close()
        assert "secret" not in str(raised.value)


@pytest.mark.kernel
@pytest.mark.once
def test_a_server_without_ranges(filled: bytes, opened: Any) -> None:
    with serving(ranges=False) as server:
        server.files["/disk.img"] = filled
        with pytest.raises(ImageError, match=r"disk\.img: "):
            opened(f"{server.url}/disk.img")


@pytest.mark.kernel
@pytest.mark.once
def test_urls_of_other_file_systems(filled: bytes, opened: Any, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/test-images/disk.img", filled)
    try:
        with opened("memory://test-images/disk.img") as img:
            assert (img / "text").read_text(encoding="ascii") == "text\n" * 1000
    finally:
        memory.rm("/test-images", recursive=True)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("disk.img", filled)
    with opened(f"zip://disk.img::{tmp_path}/a.zip") as img:
        assert img.cat("/noise") == CONTENT


def test_names() -> None:
    """URLs with ports and chains, and what is behind them; passwords are not shown."""
    url = "http://host:80/a.img"
    assert parse(url) == Location(url)
    assert parse(f"{url}:2") == Location(url, "2")
    assert parse(f"{url}:LABEL=x:/etc") == Location(url, "LABEL=x", "/etc")
    assert parse(f"{url}:/etc") == Location(url, None, "/etc")
    assert parse("s3://bucket/a.img:1") == Location("s3://bucket/a.img", "1")
    chain = "zip://a.img::s3://bucket/a.zip"
    assert parse(f"{chain}:1:/etc") == Location(chain, "1", "/etc")
    assert name_of("https://me:word@host/a.img?X-Signature=1") == "https://host/a.img"


@pytest.mark.kernel
@pytest.mark.once
def test_an_image_that_becomes_shorter(filled: bytes, opened: Any, tmp_path: Path) -> None:
    """What is gone is an I/O error, and at the end the reason is told."""
    path = tmp_path / "disk.img"
    path.write_bytes(filled)
    img = opened(path, read_only=True)
    os.truncate(path, 1 << 20)
    with pytest.raises(OSError, match=r"Input/output error|Structure needs cleaning"):
        (img / "noise").read_bytes()
    message = f"{path}: has become shorter while it was open: 1048576 bytes of 16777216"
    with pytest.raises(ImageError, match=message):
        img.close()
